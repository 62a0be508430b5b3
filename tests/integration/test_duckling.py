"""A Duckling server asked as Rasa asks it: the form it gets, what becomes of its answer, and what a bad one costs.

The server here is real HTTP and answers with Duckling's own JSON, written down; Duckling itself did not run.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from bot.assistant.config import DucklingExtractor
from bot.assistant.loader import load_assistant
from bot.rasa.action_server import InProcessActions
from bot.rasa.duckling import PAUSE_S, DucklingServer, duckling_of
from bot.turns import Bot, read_message
from models.base import Entity, IntentScore, Understanding

TIME = {
    "body": "tomorrow",
    "start": 8,
    "end": 16,
    "dim": "time",
    "latent": False,
    "value": {"values": [], "value": "2026-11-25T00:00:00.000+01:00", "grain": "day", "type": "value"},
}
WEEKEND = {
    "body": "this weekend",
    "start": 0,
    "end": 12,
    "dim": "time",
    "latent": False,
    "value": {
        "values": [],
        "to": {"value": "2026-11-30T00:00:00.000+01:00", "grain": "hour"},
        "from": {"value": "2026-11-27T18:00:00.000+01:00", "grain": "hour"},
        "type": "interval",
    },
}
KILOMETRES = {"value": 3, "unit": "kilometre", "type": "value"}
DISTANCE = {"body": "3 km", "start": 0, "end": 4, "dim": "distance", "value": KILOMETRES}


@dataclass(kw_only=True)
class Peer:
    """What the server answers with, and the forms it was sent."""

    url: str = ""
    body: bytes = b"[]"
    status: int = 200
    wait_s: float = 0.0
    forms: list[dict[str, list[str]]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@contextmanager
def duckling() -> Iterator[Peer]:
    peer = Peer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            peer.paths.append(self.path)
            peer.forms.append(parse_qs(self.rfile.read(length).decode()))
            time.sleep(peer.wait_s)
            self.send_response(peer.status)
            self.send_header("content-length", str(len(peer.body)))
            self.end_headers()
            with suppress(BrokenPipeError):  # whoever asked has given up
                self.wfile.write(peer.body)

        def log_message(self, *_: object) -> None:
            """Nothing on the console."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    peer.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield peer
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    with duckling() as found:
        yield found


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


async def test_the_form_is_rasas(peer: Peer) -> None:
    """Held against what Rasa 3.6.21's own component sends to a recording server."""
    plain = DucklingServer(DucklingExtractor(url=peer.url), now=lambda: 1_795_479_224.9)
    assert await plain.find("call me tomorrow é") == []
    full = DucklingExtractor(url=f"{peer.url}/", dimensions=("time",), locale="de_DE", timezone="Europe/Berlin")
    assert await DucklingServer(full, now=lambda: 1_795_479_224.9).find("x") == []
    common = {"reftime": ["1795479224000"]}
    assert peer.forms == [
        {"text": ["call me tomorrow é"], "dims": ["null"], **common},
        {"text": ["x"], "dims": ['["time"]'], "locale": ["de_DE"], "tz": ["Europe/Berlin"], **common},
    ]
    assert peer.paths == ["/parse", "/parse"]


async def test_the_answer_becomes_rasas_entities(peer: Peer) -> None:
    peer.body = json.dumps([TIME, WEEKEND, DISTANCE]).encode()
    server = DucklingServer(DucklingExtractor(url=peer.url, dimensions=("time",)))
    found = await server.find("call me tomorrow")
    assert found == [
        {
            "start": 8,
            "end": 16,
            "text": "tomorrow",
            "value": "2026-11-25T00:00:00.000+01:00",
            "confidence": 1.0,
            "additional_info": TIME["value"],
            "entity": "time",
            "extractor": "DucklingEntityExtractor",
        },
        {
            "start": 0,
            "end": 12,
            "text": "this weekend",
            "value": {"to": "2026-11-30T00:00:00.000+01:00", "from": "2026-11-27T18:00:00.000+01:00"},
            "confidence": 1.0,
            "additional_info": WEEKEND["value"],
            "entity": "time",
            "extractor": "DucklingEntityExtractor",
        },
    ]
    assert len(await DucklingServer(DucklingExtractor(url=peer.url)).find("x") or ()) == 3


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b"[]"), (404, b"[]"), (200, b"<html>"), (200, b"[1]"), (200, b'[{"dim": "time"}]'), (200, b"7")],
)  # fmt: skip
async def test_a_bad_answer_is_none(peer: Peer, status: int, body: bytes) -> None:
    peer.status, peer.body = status, body
    assert await DucklingServer(DucklingExtractor(url=peer.url)).find("x") is None


async def test_a_slow_server_costs_its_timeout_once_and_is_left_alone_for_a_while(peer: Peer) -> None:
    peer.wait_s = 5.0
    clock = Clock()
    server = DucklingServer(DucklingExtractor(url=peer.url, timeout_s=0.5), clock=clock)
    started = time.monotonic()
    assert [await server.find("x") for _ in range(20)] == [None] * 20
    assert time.monotonic() - started < 5
    assert len(peer.forms) == 1
    peer.wait_s, clock.at = 0.0, clock.at + PAUSE_S
    assert await server.find("x") == []


async def test_a_server_that_is_away_is_warned_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    server = DucklingServer(DucklingExtractor(url="http://127.0.0.1:9"), clock=clock)
    with caplog.at_level(logging.WARNING, "kefu.duckling"):
        for _ in range(12):  # two minutes
            clock.at += PAUSE_S
            assert await server.find("tomorrow in Ulm") is None
    assert [record.message for record in caplog.records] == ["duckling.no_answer"] * 2
    assert all("Ulm" not in str(vars(record)) for record in caplog.records)


class Scripted:
    """An offline reading: a value, a value under a name of the assistant's own, and a pattern."""

    version = "scripted"

    async def understand(self, texts: Sequence[str]) -> list[Understanding]:
        def value(entity: str) -> Entity:
            return Entity(entity=entity, value=1, start=0, end=1, extractor="DucklingEntityExtractor", confidence=1.0)

        return [
            Understanding(
                text=text,
                ranking=(IntentScore(name="book", confidence=1.0),),
                out_of_scope_score=0.0,
                is_out_of_scope=False,
                sentiment="neutral",
                sentiment_confidence=1.0,
                language="en",
                model_version="scripted",
                entities=(value("time"), value("day"), Entity(entity="code", value="A", start=0, end=1)),
            )
            for text in texts
        ]


CONFIG = "pipeline:\n- name: DucklingEntityExtractor\n  url: {url}\n"


async def entities_of(folder: Path, url: str) -> list[str]:
    (folder / "domain.yml").write_text("intents: [book]\n")
    (folder / "config.yml").write_text(CONFIG.format(url=url))
    assistant = load_assistant(folder, {})
    bot = replace(Bot.of(assistant, InProcessActions({})), values=duckling_of(assistant.duckling))
    reading = await read_message("call me tomorrow", bot, Scripted())
    await bot.close()
    return [f"{one['entity']} {one['value']}" for one in reading.parse_data["entities"]]


async def test_the_server_takes_the_place_of_what_was_found_offline(peer: Peer, tmp_path: Path) -> None:
    peer.body = json.dumps([TIME]).encode()
    assert await entities_of(tmp_path, peer.url) == ["day 1", "code A", "time 2026-11-25T00:00:00.000+01:00"]


async def test_what_was_found_offline_stays_where_the_server_is_away(tmp_path: Path) -> None:
    assert await entities_of(tmp_path, "http://127.0.0.1:9") == ["time 1", "day 1", "code A"]


def test_the_environment_comes_before_the_pipeline_as_in_rasa(tmp_path: Path) -> None:
    (tmp_path / "domain.yml").write_text("intents: [book]\n")
    (tmp_path / "config.yml").write_text(CONFIG.format(url="http://a:8000"))
    asked = [load_assistant(tmp_path, env).duckling for env in ({}, {"RASA_DUCKLING_HTTP_URL": "http://b:8000"})]
    assert [one.url if one else None for one in asked] == ["http://a:8000", "http://b:8000"]
    (tmp_path / "config.yml").write_text("pipeline:\n- name: DucklingEntityExtractor\n")
    assert duckling_of(load_assistant(tmp_path, {}).duckling) is None


def test_which_server_is_asked_needs_no_new_training(tmp_path: Path) -> None:
    (tmp_path / "domain.yml").write_text("intents: [book]\n")
    (tmp_path / "config.yml").write_text(CONFIG.format(url="http://a:8000"))
    first = load_assistant(tmp_path, {}).nlu_fingerprint
    assert load_assistant(tmp_path, {"RASA_DUCKLING_HTTP_URL": "http://b:8000"}).nlu_fingerprint == first
