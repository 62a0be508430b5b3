"""A Duckling server, asked over HTTP as Rasa's DucklingEntityExtractor asks it; what it finds, in Rasa's shape.

Values that are found without a server are `models/values.py`'s. Invariant: a server that is slow, away or talks
nonsense costs a message at most the extractor's `timeout`, and the messages right after it nothing.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

import httpx

from bot.assistant.config import DucklingExtractor
from models.value_options import EXTRACTOR

log = logging.getLogger("kefu.duckling")

# A server that failed is left alone so long: every message would wait for its time-out otherwise.
PAUSE_S = 10.0
WARN_EVERY_S = 60.0


class DucklingServer:
    """One server, with the settings of the pipeline's DucklingEntityExtractor. `close` it at the end."""

    def __init__(
        self,
        extractor: DucklingExtractor,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`extractor.url` must be given. `now` is what "tomorrow" counts from, in seconds since the epoch."""
        self._extractor = extractor
        self._url = f"{(extractor.url or '').rstrip('/')}/parse"
        self._client = httpx.AsyncClient(timeout=extractor.timeout_s)
        self._clock, self._now = clock, now
        self._ask_from = self._warn_from = -float("inf")

    async def find(self, text: str) -> list[dict[str, Any]] | None:
        """The entities of one text as Rasa's parse data have them; None where the server gave no proper answer."""
        if self._clock() < self._ask_from:
            return None
        try:
            answer = await self._client.post(self._url, data=self._form(text))
            answer.raise_for_status()
            found = [_entity(match) for match in answer.json()]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._failed(str(error) or type(error).__name__)
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._failed(f"its answer is none of Duckling's ({type(error).__name__})")
            return None
        wanted = self._extractor.dimensions
        return [entity for entity in found if not wanted or entity["entity"] in wanted]

    async def close(self) -> None:
        await self._client.aclose()

    def _form(self, text: str) -> dict[str, str]:
        extractor = self._extractor
        dimensions = None if extractor.dimensions is None else list(extractor.dimensions)
        form = {"text": text, "dims": json.dumps(dimensions), "reftime": str(int(self._now()) * 1000)}
        if extractor.locale is not None:
            form["locale"] = extractor.locale
        if extractor.timezone is not None:
            form["tz"] = extractor.timezone
        return form

    def _failed(self, why: str) -> None:
        now = self._clock()
        self._ask_from = now + PAUSE_S
        if now >= self._warn_from:
            self._warn_from = now + WARN_EVERY_S
            log.warning("duckling.no_answer", extra={"url": self._url, "problem": why, "instead": "found offline"})


def duckling_of(extractor: DucklingExtractor | None) -> DucklingServer | None:
    """The server that the pipeline or the environment names; None where nobody names one."""
    return DucklingServer(extractor) if extractor is not None and extractor.url else None


def _entity(match: dict[str, Any]) -> dict[str, Any]:
    value = match["value"]
    is_interval = value.get("type") == "interval"
    ends = {end: (value.get(end) or {}).get("value") for end in ("to", "from")}
    return {
        "start": int(match["start"]),
        "end": int(match["end"]),
        "text": match.get("body", match.get("text")),
        "value": ends if is_interval else value.get("value"),
        "confidence": 1.0,
        "additional_info": value,
        "entity": str(match["dim"]),
        "extractor": EXTRACTOR,
    }
