"""Socket Mode: the same payloads over a websocket that we open, for bots that Slack cannot reach over HTTP.

Source: https://docs.slack.dev/apis/events-api/using-socket-mode

Invariant: an envelope is acknowledged after its payload was stored, or when it can never be; and where Slack announces
that a connection ends, the next one is open before.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Mapping
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from connectors.base import BadRequest, ConnectorError
from connectors.inbound import parse_json_object
from connectors.slack_api import Refused, SlackApi, SlackCallFailed
from connectors.slack_intake import Intake

log = logging.getLogger("kefu.slack")

MAX_FRAME_BYTES = 4 * 1_048_576
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
REFUSED_PAUSE_S = 60.0
"""A wrong token, or Socket Mode switched off: a person has to act first."""


class SocketMode:
    """One connection at a time, and two while one takes over from the other. Slack allows ten in all."""

    def __init__(self, api: SlackApi, app_token: str, intake: Intake, proxy: str | None = None) -> None:
        self._api, self._app_token, self._intake = api, app_token, intake
        self._proxy = proxy
        self._open: list[ClientConnection] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = 0

    async def run(self) -> None:
        """Listen until cancelled."""
        try:
            while True:
                connection = await self._connection()
                if connection.done():
                    await asyncio.sleep(self._pause_s(connection.exception()))
        finally:
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self) -> asyncio.Task[None]:
        """Listen on a new connection; returns when it has ended, or will and needs a successor."""
        is_successor_due = asyncio.Event()

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            is_successor_due.set()
            if not task.cancelled():
                task.exception()  # looked at, also where nobody waits for this connection any more

        task = asyncio.create_task(self._listen(is_successor_due), name="slack socket")
        self._tasks.add(task)
        task.add_done_callback(ended)
        await is_successor_due.wait()
        return task

    def _pause_s(self, error: BaseException | None) -> float:
        """How long to wait after a connection that ended unannounced."""
        self._failures += 1
        if isinstance(error, Refused):
            log.error("slack.socket_refused", extra={"reason": error.reason})
            return REFUSED_PAUSE_S
        if error is not None:
            # By its name only: what websockets says may hold the address, and that is a ticket.
            reason = error.reason if isinstance(error, SlackCallFailed) else type(error).__name__
            is_expected = isinstance(error, SlackCallFailed | WebSocketException | OSError | TimeoutError)
            log.warning("slack.socket_lost", extra={"reason": reason}, exc_info=None if is_expected else error)
        full = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 10))
        return full * (1 - 0.5 * random.random())  # what broke together does not come back together

    async def _listen(self, is_successor_due: asyncio.Event) -> None:
        answer = await self._api.call("apps.connections.open", self._app_token)
        async with connect(
            str(answer.get("url")), max_size=MAX_FRAME_BYTES, proxy=self._proxy or True, open_timeout=10
        ) as socket:
            self._open.append(socket)
            try:
                async for frame in socket:
                    await self._take(frame, socket, is_successor_due)
            finally:
                self._open.remove(socket)

    async def _take(self, frame: str | bytes, socket: ClientConnection, is_successor_due: asyncio.Event) -> None:
        try:
            message = parse_json_object(frame)
        except BadRequest:
            log.warning("slack.socket_frame")
            return
        match message.get("type"):
            case "hello":
                self._failures = 0
                self._close_older(socket)
            case "disconnect" if message.get("reason") == "link_disabled":
                raise Refused("apps.connections.open", "link_disabled", "(Socket Mode is switched off in the app)")
            case "disconnect":
                is_successor_due.set()
            case "events_api" | "interactive" | "slash_commands" as kind:
                await self._handle(kind, message, socket)

    def _close_older(self, socket: ClientConnection) -> None:
        """The successor listens now. What the older one did not acknowledge comes again, here."""
        for older in self._open[: self._open.index(socket)]:
            task = asyncio.create_task(older.close())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _handle(self, kind: str, envelope: Mapping[str, Any], socket: ClientConnection) -> None:
        payload = envelope.get("payload")
        answer: dict[str, Any] | None = None
        try:
            if not isinstance(payload, Mapping):
                raise BadRequest("`payload` must be an object")
            answer = await self._stored(kind, payload)
        except ConnectorError as error:
            log.warning("slack.refused", extra={"reason": type(error).__name__, "status": error.http_status})
            if error.http_status >= 500:
                return  # too much waits: Slack sends it again
        except Exception:  # the platform failed; not acknowledged, so that Slack sends it again
            log.exception("slack.receive_failed")
            return
        more = {} if answer is None else {"payload": answer}
        await socket.send(json.dumps({"envelope_id": envelope.get("envelope_id"), **more}))

    async def _stored(self, kind: str, payload: Mapping[str, Any]) -> dict[str, Any] | None:
        match kind:
            case "events_api":
                await self._intake.take_event(payload)
            case "interactive":
                await self._intake.take_interaction(payload)
            case _:
                return await self._intake.take_command(payload)
        return None
