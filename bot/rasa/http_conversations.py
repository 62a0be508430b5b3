"""Rasa's HTTP API about conversations: read a tracker, log a message, run an action, trigger an intent, rewrite events.

Reads fold the stored log. What changes a conversation goes through the inbox as a command, in its order with what the
customer writes, and is answered when it is committed. Invariant: a request that reads writes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from bot.rasa.http_models import next_action
from bot.rasa.http_platform import Api
from bot.rasa.http_requests import (
    ApiError,
    Verbosity,
    bad_request,
    body_bytes,
    events_of,
    flag,
    json_object,
    number,
    parse_json,
    verbosity_of,
)
from bot.rasa.stories import sessions_of, story_file
from bot.rasa.tracker_views import TrackerView
from bot.storage import conversations
from bot.storage.owners import Owner, owner_of
from connectors.base import InboundMessage, OutboundMessage, storable_text
from connectors.rendering import rasa_messages

_OWN_CHANNEL = "rest"
"""Where a conversation that the API begins belongs, so that `/webhooks/rest/webhook` goes on with it, as in Rasa."""
_NO_MESSAGE = "No message defined in request body. Add a message to the request body in order to add it to the tracker."


class Conversations:
    """The handlers; each takes a request that is allowed already."""

    def __init__(self, api: Api) -> None:
        self._api = api

    # ---- reading ----

    async def tracker(self, request: Request) -> Response:
        """An unknown conversation is answered as one whose session just began; nothing is stored."""
        verbosity = verbosity_of(request)
        view = await self._view(_conversation_id(request))
        view = await asyncio.to_thread(view.until, number(request, "until"))
        return JSONResponse(view.as_json(verbosity))

    async def story(self, request: Request) -> Response:
        sender_id, moment = _conversation_id(request), number(request, "until")
        view = await self._known(sender_id)
        sessions = sessions_of(view.events)
        if not flag(request, "all_sessions"):
            sessions = sessions[-1:]
        if moment is not None:
            sessions = [[event for event in events if event.timestamp <= moment] for events in sessions]
        return PlainTextResponse(story_file(sender_id, [events for events in sessions if events]))

    async def predict(self, request: Request) -> Response:
        view = await self._known(_conversation_id(request))
        predicted = await asyncio.to_thread(next_action, self._api.bot().dialogue, view)
        predicted["scores"].sort(key=lambda scored: (-scored["score"], scored["action"]))
        return JSONResponse({**predicted, "tracker": view.as_json("AFTER_RESTART")})

    # ---- changing ----

    async def append(self, request: Request) -> Response:
        events, verbosity = await _events(request), verbosity_of(request)
        if not events:
            raise bad_request("Couldn't extract a proper event from the request body.", "")
        # Rasa's default: what bot messages say in appended events is known to the customer already.
        command = {"append": events, "send": flag(request, "execute_side_effects")}
        return await self._changed(request, command, verbosity)

    async def replace(self, request: Request) -> Response:
        events, verbosity = await _events(request), verbosity_of(request)
        return await self._changed(request, {"replace": events}, verbosity)

    async def log(self, request: Request) -> Response:
        """Log what a customer said, with the slots it fills; the bot does not answer."""
        body = await json_object(request, _NO_MESSAGE)
        verbosity = verbosity_of(request)
        if body.get("sender") != "user":
            raise bad_request(
                "Currently, only user messages can be passed to this endpoint. "
                f"Messages of sender '{body.get('sender')}' cannot be handled.",
                "sender",
            )
        text, parse_data = body.get("text"), body.get("parse_data")
        if not isinstance(text, str) or not text.strip():
            raise bad_request("The message has no `text`.", "text")
        logged: dict[str, Any] = {"text": text.strip()}
        if parse_data:
            logged["parse_data"] = _parse_data(parse_data)
        return await self._changed(request, {"log": logged}, verbosity)

    async def execute(self, request: Request) -> Response:
        sender_id = _conversation_id(request)
        body, verbosity = await json_object(request), verbosity_of(request)
        await self._known(sender_id)
        name = _name(body, "action")
        if name not in self._api.bot().assistant.domain.action_names:
            raise _failed(f"Cannot access action '{name}', as that is not a registered action for this bot.")
        command: dict[str, Any] = {"name": name}
        for key, kind in (("policy", str), ("confidence", (int, float))):
            if body.get(key) is not None and not isinstance(body[key], kind):
                raise bad_request(f"`{key}` has a wrong type.", key)
            command[key] = body.get(key)
        return await self._answered(request, {"execute": command}, verbosity)

    async def trigger(self, request: Request) -> Response:
        body, verbosity = await json_object(request), verbosity_of(request)
        name = _name(body, "intent")
        if name not in self._api.bot().assistant.domain.intents:
            raise ApiError(404, "NotFound", f"The intent {name} does not exist in the domain.")
        return await self._answered(
            request, {"trigger": {"name": name, "entities": _entities(body.get("entities"))}}, verbosity
        )

    # ---- inside ----

    async def _changed(self, request: Request, command: dict[str, Any], verbosity: Verbosity) -> Response:
        """Carry the command out and answer the tracker as it is then."""
        sender_id = _conversation_id(request)
        await self._carry_out(request, sender_id, command)
        return JSONResponse((await self._view(sender_id)).as_json(verbosity))

    async def _answered(self, request: Request, command: dict[str, Any], verbosity: Verbosity) -> Response:
        """Carry the command out and answer the tracker with what the bot said; the customer's channel gets it too."""
        sender_id = _conversation_id(request)
        said = await self._carry_out(request, sender_id, command)
        messages = [message for reply in said for message in rasa_messages(reply.body, sender_id)]
        tracker = (await self._view(sender_id)).as_json(verbosity)
        return JSONResponse({"tracker": tracker, "messages": messages})

    async def _carry_out(self, request: Request, sender_id: str, command: dict[str, Any]) -> Sequence[OutboundMessage]:
        """Put the command into the conversation's inbox and wait until it is committed.

        Raises:
            ApiError: 504 where that took too long; it is stored, and will be carried out once.
        """
        assistant_id = self._api.bot().assistant.assistant_id
        owner = await self._api.db.read(lambda conn: owner_of(conn, assistant_id, sender_id))
        owner = owner or Owner(channel=_OWN_CHANNEL, account="", thread="", customer=sender_id)
        message = InboundMessage(
            channel=owner.channel,
            account=owner.account,
            thread=owner.thread,
            customer=owner.customer,
            sender_id=sender_id,
            external_id=_external_id(request, sender_id),
            text="",
            received_at=datetime.now(UTC),
            command=command,
        )
        receipt = (await self._api.ports.receive([message]))[0]
        said = await self._api.ports.wait_for_reply(receipt.inbound_id, self._api.deadline_s)
        if said is None:
            raise ApiError(
                504,
                "NoAnswerInTime",
                f"The request is stored and will be carried out, but not within {self._api.deadline_s:g} s; send it "
                "again with the same Idempotency-Key to get the answer.",
                retry_after_s=5.0,
            )
        return said

    async def _view(self, sender_id: str) -> TrackerView:
        domain = self._api.bot().assistant.domain
        bodies = await self._events(sender_id)
        if not bodies:
            return TrackerView.begun(domain, sender_id, time.time())
        return await asyncio.to_thread(TrackerView.of, domain, sender_id, bodies)

    async def _known(self, sender_id: str) -> TrackerView:
        bodies = await self._events(sender_id)
        if not bodies:
            raise ApiError(404, "Not found", "Conversation ID not found.")
        return await asyncio.to_thread(TrackerView.of, self._api.bot().assistant.domain, sender_id, bodies)

    async def _events(self, sender_id: str) -> list[dict[str, Any]]:
        assistant_id = self._api.bot().assistant.assistant_id
        return await self._api.db.read(lambda conn: conversations.events(conn, assistant_id, sender_id))


def _conversation_id(request: Request) -> str:
    found: str = request.path_params["conversation_id"]
    if storable_text(found) != found:
        raise bad_request("The conversation ID is not valid text.", "conversation_id", "path")
    return found or "default"


def _external_id(request: Request, sender_id: str) -> str:
    """A request with an Idempotency-Key is carried out once, however often it is sent."""
    key = request.headers.get("idempotency-key")
    return hashlib.sha256(f"api:{sender_id}:{key}".encode()).hexdigest() if key else uuid4().hex


async def _events(request: Request) -> list[dict[str, Any]]:
    return events_of(parse_json(await body_bytes(request)), time.time())


def _name(body: Mapping[str, Any], what: str) -> str:
    name = body.get("name")
    if not name:
        raise bad_request(f"Name of the {what} not provided in request body.", "name")
    if not isinstance(name, str):
        raise bad_request(f"The name of the {what} must be a string.", "name")
    return name


def _entities(given: object) -> list[dict[str, Any]]:
    """Rasa's two ways: a list of entities, or `{"name": value}`; anything else is none."""
    if isinstance(given, dict):
        return [{"entity": name, "value": value} for name, value in given.items()]
    if not isinstance(given, list):
        return []
    for entity in given:
        if not isinstance(entity, dict) or not isinstance(entity.get("entity"), str):
            raise bad_request("Each of `entities` must be an object with `entity` and `value`.", "entities")
    return given


def _parse_data(given: object) -> dict[str, Any]:
    """What NLU elsewhere read; checked as in an event, which it becomes."""
    if not isinstance(given, dict) or not isinstance(given.get("intent"), dict):
        raise _failed("`parse_data` has no `intent`")
    events_of({"event": "user", "parse_data": given}, 0.0)
    return {**given, "entities": given.get("entities") or []}


def _failed(why: str) -> ApiError:
    return ApiError(500, "ConversationError", f"An unexpected error occurred. Error: {why}")
