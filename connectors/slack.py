"""The Slack channel: Events API, interactivity, slash commands and Socket Mode in; `chat.postMessage` out.

What a payload says is read in slack_events.py, stored by slack_intake.py; slack_blocks.py and slack_posting.py answer.
How to set it up is docs/slack.md.

Invariant: Slack is acknowledged after `receive` returned, over HTTP and over Socket Mode alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.base import InboundMessage, OutboundMessage, Ports, SendResult
from connectors.fetching import PlatformFile
from connectors.slack_api import SlackApi
from connectors.slack_blocks import LIMITS
from connectors.slack_events import Place
from connectors.slack_files import SlackFiles
from connectors.slack_http import SlackRequests
from connectors.slack_intake import CHANNEL, Intake
from connectors.slack_oauth import Install
from connectors.slack_options import SlackOptions
from connectors.slack_posting import Poster
from connectors.slack_socket import SocketMode
from connectors.slack_workspaces import Workspaces


class Slack:
    """One Slack app, in one workspace or in many.

    Args:
        secret: signs what the bot posts, and encrypts the workspaces' tokens; the same on every server.
    """

    name = CHANNEL
    limits = LIMITS
    can_repeat = True
    hold_s = 0.0

    def __init__(self, options: SlackOptions, secret: bytes) -> None:
        self.options = options
        self._api = SlackApi(options.api_url, options.proxy)
        self._workspaces = Workspaces(options, self._api, secret)
        self._files = SlackFiles(options.api_url, self._api, self._workspaces, has_proxy=options.proxy is not None)
        self._poster = Poster(options, self._api, self._workspaces, secret)
        self._statuses: set[asyncio.Task[None]] = set()

    def routes(self, ports: Ports) -> list[BaseRoute]:
        """Every path takes everything, so that no address in the app's configuration can be the wrong one."""
        self._workspaces.watch(ports.state)
        routes: list[BaseRoute] = [Route("/webhooks/slack/", _health, methods=["GET"])]
        if self.options.has_oauth:
            routes += Install(self.options, self._api, self._workspaces, ports.state).routes()
        if self.options.signing_secret:
            intake = self._intake(ports)
            requests = SlackRequests(
                self.options.signing_secret,
                on_event=intake.take_event,
                on_interaction=intake.take_interaction,
                on_command=intake.take_command,
            )
            routes += [
                Route(f"/webhooks/slack/{path}", requests.answer, methods=["POST"])
                for path in ("events", "webhook", "interactivity", "commands")
            ]
        return routes

    async def run(self, ports: Ports) -> None:
        """Listen in Socket Mode where there is an app token; every process may, and Slack shares out among them."""
        self._workspaces.watch(ports.state)
        if self.options.app_token:
            await SocketMode(self._api, self.options.app_token, self._intake(ports), self.options.proxy).run()
        await asyncio.Event().wait()  # nothing to do, until cancelled

    async def send(self, message: OutboundMessage, *, is_repeat: bool) -> SendResult:
        """Post a message; a repeat is looked for first."""
        return await self._poster.send(message, is_repeat=is_repeat)

    async def fetch_file(
        self, message: InboundMessage, attachment: Mapping[str, Any], max_bytes: int
    ) -> PlatformFile | None:
        """A file that a person posted."""
        return await self._files.fetch(message, attachment, max_bytes)

    def _intake(self, ports: Ports) -> Intake:
        return Intake(self.options, ports, self._api, self._workspaces, self._show_status)

    def _show_status(self, place: Place) -> None:
        """Beside the acknowledgement: Slack is not kept waiting for it."""
        task = asyncio.create_task(self._poster.show_status(place))
        self._statuses.add(task)
        task.add_done_callback(self._statuses.discard)


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})
