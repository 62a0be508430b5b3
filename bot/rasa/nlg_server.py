"""An nlg server (`nlg:` of endpoints.yml), asked over HTTP for each response as Rasa's callback generator asks it.

Invariant: whatever the server does, the turn gets a value and the domain's response can be said in its place. A server
that gives no answer costs one deadline, and the responses right after it nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import httpx

from bot.assistant.loader import Assistant
from bot.assistant.nlg import NlgEndpoint
from bot.dialogue.effects import AskNlg, NlgAnswer, NlgFailed
from bot.rasa.action_server import MAX_ANSWER_BYTES, post_json, storable_json

log = logging.getLogger("kefu.nlg")

# A server that gave no answer is left alone so long: each response of each conversation would wait for it otherwise.
PAUSE_S = 10.0

_SHAPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "image": (str,),
    "attachment": (dict, str),
    "custom": (dict,),
    "buttons": (list,),
    "quick_replies": (list,),
    "elements": (list,),
}
"""What of a message can be shown, as Rasa demands it; beyond Rasa an attachment may be an address."""


class NlgServer:
    """One server. `close` it at the end."""

    def __init__(self, endpoint: NlgEndpoint, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._endpoint = endpoint
        self._client = httpx.AsyncClient(headers=dict(endpoint.headers), auth=endpoint.basic_auth)
        self._clock = clock
        self._ask_from = -float("inf")

    async def ask(self, effect: AskNlg, deadline_s: float) -> NlgAnswer | NlgFailed:
        """The message the server words; what goes wrong, or takes longer than `deadline_s`, is an answer too."""
        if self._clock() < self._ask_from:
            return NlgFailed(why=f"it gave no answer before and is left alone for {PAUSE_S:g} s")
        answer = await self._ask(effect, deadline_s)
        if isinstance(answer, NlgFailed):
            extra = {"response": effect.response, "problem": answer.why, "instead": "the domain's response"}
            log.warning("nlg.failed", extra=extra)
        return answer

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, effect: AskNlg, deadline_s: float) -> NlgAnswer | NlgFailed:
        try:
            url = httpx.URL(self._endpoint.url).copy_merge_params(self._endpoint.params)
            async with asyncio.timeout(deadline_s):
                status, content = await post_json(self._client, url, _request(effect), deadline_s)
        except (httpx.TimeoutException, TimeoutError):
            return self._away(f"no answer within {deadline_s:g} s")
        except httpx.HTTPError as error:
            return self._away(f"it cannot be reached ({type(error).__name__})")
        # No address, a tracker that cannot be sent (the error's words may be a customer's), a client that was closed.
        except (httpx.InvalidURL, TypeError, ValueError, RuntimeError) as error:
            return NlgFailed(why=f"it cannot be asked ({type(error).__name__})")
        return _answer(status, content)

    def _away(self, why: str) -> NlgFailed:
        self._ask_from = self._clock() + PAUSE_S
        return NlgFailed(why=why)


def nlg_server_of(assistant: Assistant) -> NlgServer | None:
    """The server that endpoints.yml names; None where the domain words the responses, or a Rasa server asks itself."""
    return NlgServer(assistant.nlg) if assistant.nlg and not assistant.config.rasa else None


def _request(effect: AskNlg) -> dict[str, Any]:
    """What Rasa sends to an nlg server."""
    return {
        "response": effect.response,
        "id": effect.response_id,
        "arguments": dict(effect.arguments),
        "tracker": effect.tracker,
        "channel": {"name": effect.channel},
    }


def _answer(status: int, content: bytes) -> NlgAnswer | NlgFailed:
    """The server's message, if it is one and says something."""
    if status != httpx.codes.OK:
        return NlgFailed(why=f"it answered {status}")
    if len(content) > MAX_ANSWER_BYTES:
        return NlgFailed(why=f"its answer is larger than {MAX_ANSWER_BYTES // 1024**2} MB")
    try:
        message = storable_json(content)
    except (ValueError, RecursionError):
        return NlgFailed(why="its answer is not JSON")
    if not isinstance(message, dict):
        return NlgFailed(why="its answer is not an object")
    for key in _SHAPES:
        if not _fits(key, message.get(key)):
            return NlgFailed(why=f"its answer's `{key}` is not of the kind that Rasa knows")
    if not any(message.get(key) for key in _SHAPES):
        return NlgFailed(why="its answer has neither text nor data")
    return NlgAnswer(message=message)


def _fits(key: str, value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, list):
        return list in _SHAPES[key] and all(isinstance(item, dict) for item in value)
    return isinstance(value, _SHAPES[key])
