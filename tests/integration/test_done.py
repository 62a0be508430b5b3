"""The whole loop over real parts: a phrase falls back in an open chat, is labelled, retrained, understood in the same
chat without a restart, rolled back, and falls back again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.faults.webclient import Say, WebClient
from tests.server import STARTER, Server, kefu

PHRASE = "has the stork come round with my bundle yet?"
LABEL = "order_status"


async def until_version(server: Server, is_it: Callable[[str], bool]) -> str:
    """Wait for the running server to serve another version; the server follows CURRENT by itself."""
    async with asyncio.timeout(30), httpx.AsyncClient() as http:
        while True:
            version: str = (await http.get(f"{server.url}/readyz")).json()["model"]["version"]
            if is_it(version):
                return version
            await asyncio.sleep(0.1)  # a poll of another process, bounded above; nothing to wait on


async def read_as(server: Server, visitor: WebClient, phrase: str) -> dict[str, object]:
    """Say it, wait for the answer, and look at what the bot made of it."""
    said = visitor.say(Say(text=phrase))

    def is_answered() -> bool:
        entries = visitor.received()
        own = next((entry.seq for entry in entries if entry.message_id == said), None)
        return own is not None and any(entry.seq > own and entry.author == "bot" for entry in entries)

    assert await visitor.until(is_answered)
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{server.url}/demo/debug", headers={"X-Kefu-Visitor": visitor.token})
    turns = answer.json()["turns"]
    last: dict[str, object] = turns[-1]
    assert last["text"] == phrase
    return last


async def test_a_phrase_is_learned_in_an_open_chat_and_taken_back(
    serve: Callable[..., Server], home: Path, tmp_path: Path
) -> None:
    server = serve("--debug")
    first_version = await until_version(server, bool)
    async with WebClient(server.url, "learner") as visitor:
        assert await visitor.until(lambda: visitor.is_connected)
        before = await read_as(server, visitor, PHRASE)
        assert (before["intent"], before["model_version"]) == ("nlu_fallback", first_version)

        todo = tmp_path / "todo.jsonl"
        await asyncio.to_thread(kefu, "review", "export", str(STARTER), "--out", str(todo), home=home)
        lines = [json.loads(line) for line in todo.read_text(encoding="utf-8").splitlines()]
        [line] = [line for line in lines if line["text"] == PHRASE]
        assert line["reason"] == "fallback"
        line["label"] = LABEL
        todo.write_text(json.dumps(line, ensure_ascii=False) + "\n", encoding="utf-8")
        await asyncio.to_thread(kefu, "review", "import", str(todo), "--assistant", str(STARTER), home=home)

        retrained = await asyncio.to_thread(kefu, "retrain", str(STARTER), home=home)
        assert "serves now" in retrained.stdout, retrained.stdout
        second_version = await until_version(server, lambda version: version != first_version)
        learned = await read_as(server, visitor, PHRASE)
        assert (learned["intent"], learned["model_version"]) == (LABEL, second_version)
        await read_as(server, visitor, "/cancel")

        await asyncio.to_thread(kefu, "models", "rollback", "--assistant", str(STARTER), home=home)
        await until_version(server, lambda version: version == first_version)
        again = await read_as(server, visitor, PHRASE)
        assert (again["intent"], again["model_version"]) == ("nlu_fallback", first_version)
        assert visitor.connections == 1
