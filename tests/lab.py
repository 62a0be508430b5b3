"""labbot on a real platform without a trained model: a reader that takes a text at its word, and an HTTP client."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from bot.app import Platform, actions_of, build_app
from bot.assistant.loader import Assistant, load_assistant
from bot.settings import load_settings
from bot.turns import Bot
from bot.worker import Worker, WorkerLimits
from models.base import Entity, IntentScore, Understanding

LABBOT = Path(__file__).parent / "bots" / "labbot"


@dataclass(frozen=True, kw_only=True)
class Read:
    """What the reader is told to find in one text. `runner_up` is the intent behind a fallback."""

    intent: str
    entities: Sequence[Mapping[str, Any]] = ()
    runner_up: str = "deny"


class Reader:
    """Reads the texts it was told about; any other is nothing in particular, and so a fallback."""

    version = "told"

    def __init__(self, told: Mapping[str, Read] | None = None) -> None:
        self._told = dict(told or {})

    async def understand(self, texts: Sequence[str]) -> list[Understanding]:
        return [self._read(text) for text in texts]

    def _read(self, text: str) -> Understanding:
        told = self._told.get(text, Read(intent="nlu_fallback"))
        is_fallback = told.intent == "nlu_fallback"
        best = told.runner_up if is_fallback else told.intent
        return Understanding(
            text=text,
            ranking=(
                IntentScore(name=best, confidence=0.2 if is_fallback else 0.98),
                IntentScore(name="goodbye", confidence=0.01),
            ),
            out_of_scope_score=0.0,
            is_out_of_scope=False,
            sentiment="neutral",
            sentiment_confidence=0.9,
            language="en",
            model_version=self.version,
            entities=tuple(_entity(entity) for entity in told.entities),
        )


def _entity(told: Mapping[str, Any]) -> Entity:
    return Entity(
        entity=told["entity"],
        value=told["value"],
        start=told.get("start", 0),
        end=told.get("end", 1),
        role=told.get("role"),
        group=told.get("group"),
    )


def labbot(**changes: Any) -> Bot:
    """labbot as Rasa runs it: without the words that say that a machine speaks. `changes` are the assistant's."""
    assistant: Assistant = load_assistant(LABBOT, {})
    brand = replace(assistant.brand, disclosure_enabled=False)
    assistant = replace(assistant, brand=brand, **changes)
    return Bot.of(assistant, actions_of(assistant))


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A running platform, its ASGI application, and a client of it on this machine."""

    platform: Platform
    app: FastAPI
    http: httpx.AsyncClient

    async def say(self, text: str, sender: str = "anna") -> list[str]:
        """One message over the REST channel; what the bot says."""
        answer = await self.http.post("/webhooks/rest/webhook", json={"sender": sender, "message": text})
        assert answer.status_code == 200, answer.text
        return [message.get("text", "") for message in answer.json()]

    async def tracker(self, sender: str = "anna", include: str = "ALL") -> dict[str, Any]:
        answer = await self.http.get(f"/conversations/{sender}/tracker", params={"include_events": include})
        assert answer.status_code == 200, answer.text
        state: dict[str, Any] = answer.json()
        return state


def limit(platform: Platform, limits: WorkerLimits) -> None:
    """Replace a platform's worker, before it starts, by one with these limits."""
    platform.worker = Worker(
        db=platform.db,
        hub=platform.hub,
        bot=platform.bot,
        understander=platform.understander,
        connectors=platform.connectors,
        metrics=platform.metrics,
        worker_id=f"{os.uname().nodename}:{os.getpid()}:limited",
        limits=limits,
    )


@asynccontextmanager
async def running(
    home: Path,
    bot: Bot | None = None,
    reader: Reader | None = None,
    *,
    url: str = "http://localhost",
    limits: WorkerLimits | None = None,
    **settings: Any,
) -> AsyncIterator[Lab]:
    """A platform over an empty database in `home`, started and stopped; nothing listens on a port.

    `limits` replaces the worker by one that has them. Without a `reader` and with KEFU_MODELS in `settings`, what
    serves there reads.
    """
    given = load_settings(home=home, **settings)
    understander = reader or (None if given.models else Reader())
    platform = Platform.build(given, bot or labbot(), understander=understander)
    if limits is not None:
        limit(platform, limits)
    app = build_app(platform)
    await platform.start()
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=url, timeout=60) as http:
            yield Lab(platform=platform, app=app, http=http)
    finally:
        await platform.stop()
