"""An nlg server asked as Rasa asks it: the request it gets, what becomes of its answer, and what a bad one costs.

The server here is real HTTP; whole turns are played with the bot that `kefu serve` loads.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bot.app import load_bot
from bot.assistant.loader import load_assistant, load_tests
from bot.assistant.nlg import NlgEndpoint
from bot.dialogue.effects import AskNlg, NlgAnswer, NlgFailed
from bot.dialogue.manager import Turn, UserMessage, turn
from bot.dialogue.parsing import parse_payload
from bot.dialogue.tracker import Tracker
from bot.rasa.nlg_server import PAUSE_S, NlgServer, nlg_server_of
from bot.rehearsal import play_conversations
from bot.settings import load_settings
from bot.telemetry import JsonLines
from bot.turns import Bot, drive
from tests.dialogue import words
from tests.lab import Reader, running

FILES = {
    "domain.yml": """
intents: [greet, order, price]
slots:
  name: {type: text, initial_value: Ann, influence_conversation: false, mappings: [{type: custom}]}
  size:
    type: text
    influence_conversation: false
    mappings: [{type: from_text, conditions: [{active_loop: shoe, requested_slot: size}]}]
forms:
  shoe: {required_slots: [size]}
actions: [action_price]
responses:
  utter_greet:
  - {text: "hello {name}", id: greet-1}
  utter_ask_size:
  - text: Which size?
  utter_price:
  - text: "{amount} euros"
  utter_default:
  - text: sorry
""",
    "data/rules.yml": """
rules:
- {rule: greet, steps: [{intent: greet}, {action: utter_greet}]}
- {rule: order, steps: [{intent: order}, {action: shoe}, {active_loop: shoe}]}
- {rule: price, steps: [{intent: price}, {action: action_price}]}
""",
    "config.yml": "assistant_id: nlg\npolicies: [{name: RulePolicy}]\n",
    "brand.yml": "disclosure: {enabled: false}\n",
    "actions.py": """
from rasa_sdk import Action

class Price(Action):
    def name(self):
        return "action_price"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(response="utter_price", amount=3, buttons=[{"title": "more", "payload": "/greet"}])
        return []
""",
    "tests/conversations.yml": """
conversations:
- name: greet
  steps: [{user: /greet, actions: [utter_greet]}]
""",
}
DATA = {
    "buttons": [{"title": "buy", "payload": "/order"}],
    "image": "https://x.org/a.png",
    "custom": {"n": 1},
    "elements": [{"title": "shoe"}],
    "quick_replies": [{"title": "q", "payload": "/greet"}],
    "attachment": {"type": "file", "payload": {"url": "https://x.org/a.pdf"}},
}


@dataclass(kw_only=True)
class Peer:
    """What the server answers with, and what it was sent."""

    url: str = ""
    body: bytes = b'{"text": "served {name}"}'
    status: int = 200
    wait_s: float = 0.0
    asked: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Peer]:
    peer = Peer()
    given_up = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            peer.paths.append(self.path)
            peer.headers.append({name.lower(): value for name, value in self.headers.items()})
            peer.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            given_up.wait(peer.wait_s)
            with suppress(OSError):  # whoever asked has given up
                self.send_response(peer.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(peer.body)))
                self.end_headers()
                self.wfile.write(peer.body)

        def log_message(self, *_: object) -> None:
            """Nothing on the console."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    peer.url = f"http://127.0.0.1:{server.server_port}/nlg"
    try:
        yield peer
    finally:
        given_up.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    with listening() as found:
        yield found


def project(folder: Path, endpoints: str) -> Path:
    for name, text in {**FILES, "endpoints.yml": endpoints}.items():
        file = folder / "bot" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder / "bot"


def bot_of(folder: Path, endpoints: str) -> Bot:
    """The bot that `kefu serve` would load."""
    return load_bot(project(folder, endpoints), load_settings(home=folder / "home"))


async def say(bot: Bot, text: str, deadline_s: float = 5.0) -> Turn:
    domain = bot.assistant.domain
    message = UserMessage(
        text=text, parse_data=parse_payload(text, domain) or {}, input_channel="socketio", message_id="1"
    )
    steps = turn(Tracker.empty(domain, "ann"), message, bot.dialogue, 1_700_000_000.0, random.Random(1))
    return await drive(steps, bot.actions, deadline_s, bot.nlg)


def failures(outcome: Turn) -> list[str]:
    return [decision.why for decision in outcome.decisions if not decision.action]


# ---- the request ----


async def test_a_message_over_rest_is_answered_in_the_server_s_words(peer: Peer, tmp_path: Path) -> None:
    bot = bot_of(tmp_path, f"nlg:\n  url: {peer.url}\n")
    async with running(tmp_path, bot, Reader()) as lab:
        assert await lab.say("/greet") == ["served {name}"]
        events = (await lab.tracker())["events"]
    [said] = [event for event in events if event["event"] == "bot"]
    assert (said["text"], said["metadata"]["utter_action"]) == ("served {name}", "utter_greet")
    [request] = peer.asked
    assert sorted(request) == ["arguments", "channel", "id", "response", "tracker"]
    assert (request["response"], request["id"], request["arguments"]) == ("utter_greet", "greet-1", {})
    assert request["channel"] == {"name": "collector"}
    tracker = request["tracker"]
    assert (tracker["sender_id"], tracker["slots"]["name"]) == ("anna", "Ann")
    assert tracker["latest_message"]["intent"]["name"] == "greet"
    assert [event["event"] for event in tracker["events"]][-2:] == ["user", "user_featurization"]


async def test_form_s_question_and_channel(peer: Peer, tmp_path: Path) -> None:
    bot = bot_of(tmp_path, f"nlg:\n  url: {peer.url}\n  type: callback\n")
    assert words(await say(bot, "/order")) == ["served {name}"]
    [request] = peer.asked
    assert (request["response"], request["id"]) == ("utter_ask_size", None)
    assert request["channel"] == {"name": "socketio"}
    assert request["tracker"]["active_loop"]["name"] == "shoe"
    await bot.close()


async def test_custom_action_s_response_keeps_its_own_buttons(peer: Peer, tmp_path: Path) -> None:
    peer.body = json.dumps({"text": "three", "buttons": DATA["buttons"]}).encode()
    bot = bot_of(tmp_path, f"nlg:\n  url: {peer.url}\n")
    [message] = (await say(bot, "/price")).messages
    assert message.body["text"] == "three"
    assert [button["title"] for button in message.body["buttons"]] == ["buy", "more"]
    assert (message.metadata["utter_action"], message.metadata["amount"]) == ("utter_price", 3)
    [request] = peer.asked
    assert (request["response"], request["id"]) == ("utter_price", None)
    assert request["arguments"]["amount"] == 3
    assert request["arguments"]["buttons"] == [{"title": "more", "payload": "/greet"}]
    assert "response" not in request["arguments"]
    await bot.close()


async def test_all_that_rasa_can_show_is_taken(peer: Peer, tmp_path: Path) -> None:
    peer.body = json.dumps({"text": "all", **DATA, "mood": "calm"}).encode()
    bot = bot_of(tmp_path, f"nlg:\n  url: {peer.url}\n")
    [message] = (await say(bot, "/greet")).messages
    assert message.body == {"text": "all", **DATA}
    assert message.metadata == {"mood": "calm", "utter_action": "utter_greet"}
    await bot.close()


async def test_token_parameters_headers_and_login_are_rasa_s(peer: Peer, tmp_path: Path) -> None:
    section = f"""nlg:
  url: {peer.url}?lang=en
  token: s3cret
  token_name: key
  params: {{v: 2}}
  headers: {{x-team: shop}}
  basic_auth: {{username: ann, password: pw}}
"""
    bot = bot_of(tmp_path, section)
    assert words(await say(bot, "/greet")) == ["served {name}"]
    assert peer.paths == ["/nlg?lang=en&v=2&key=s3cret"]
    [headers] = peer.headers
    assert headers["x-team"] == "shop"
    assert headers["authorization"] == f"Basic {b64encode(b'ann:pw').decode()}"
    assert headers["content-type"] == "application/json"
    assert "s3cret" not in repr(bot.assistant.nlg)
    await bot.close()


# ---- who is not asked ----


@pytest.mark.parametrize(
    "endpoints",
    ["", "nlg:\n", "nlg: {{type: response, url: '{url}'}}\n", "nlg: {{type: my.own.Nlg, url: '{url}'}}\n"],
)
async def test_without_a_server_of_its_own_the_domain_words_the_responses(
    peer: Peer, tmp_path: Path, endpoints: str
) -> None:
    bot = bot_of(tmp_path, endpoints.format(url=peer.url))
    outcome = await say(bot, "/greet")
    assert words(outcome) == ["hello Ann"]
    assert failures(outcome) == []
    assert peer.asked == []
    await bot.close()


def test_where_a_rasa_server_decides_it_asks_itself(peer: Peer, tmp_path: Path) -> None:
    root = project(tmp_path, f"nlg: {{url: '{peer.url}'}}\n")
    assert nlg_server_of(load_assistant(root, {})) is not None
    (root / "kefu.yml").write_text("dialogue: rasa\nrasa_url: http://127.0.0.1:5005\n")
    assert nlg_server_of(load_assistant(root, {})) is None


async def test_a_rehearsal_asks_nobody(peer: Peer, tmp_path: Path) -> None:
    bot = bot_of(tmp_path, f"nlg: {{url: '{peer.url}'}}\n")
    [played] = await play_conversations(bot, Reader(), load_tests(bot.assistant.root).conversations)
    assert played.passed
    assert peer.asked == []
    assert words(await say(bot, "/greet")) == ["served {name}"]
    await bot.close()


# ---- what goes wrong ----


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (500, b"trace of Ann", "it answered 500"),
        (404, b'{"text": "x"}', "it answered 404"),
        (204, b"", "it answered 204"),
        (200, b"<html>", "its answer is not JSON"),
        (200, b"\xff\xfe{", "its answer is not JSON"),
        (200, b"[" * 200_000, "its answer is not JSON"),
        (200, b"", "its answer is not JSON"),
        (200, b'{"text": "x", "custom": {"n": NaN}}', "its answer is not JSON"),
        (200, b'{"text": "x", "mood": 1e999}', "its answer is not JSON"),
        (200, b'{"text": "\\ud83d"}', "its answer is not JSON"),
        (200, b"null", "its answer is not an object"),
        (200, b'["x"]', "its answer is not an object"),
        (200, b"{}", "its answer has neither text nor data"),
        (200, b'{"text": "", "buttons": [], "image": null}', "its answer has neither text nor data"),
        (200, b'{"mood": "calm"}', "its answer has neither text nor data"),
        (200, b'{"text": 3}', "its answer's `text` is not of the kind that Rasa knows"),
        (200, b'{"text": ["x"]}', "its answer's `text` is not of the kind that Rasa knows"),
        (200, b'{"text": "x", "buttons": {"title": "a"}}', "its answer's `buttons` is not of the kind that Rasa knows"),
        (200, b'{"text": "x", "buttons": ["a"]}', "its answer's `buttons` is not of the kind that Rasa knows"),
        (200, b'{"text": "x", "custom": [{}]}', "its answer's `custom` is not of the kind that Rasa knows"),
        (200, b'{"text": "' + b"x" * 5_000_000 + b'"}', "its answer is larger than 4 MB"),
    ],
)
async def test_a_bad_answer_is_the_domain_s_response_and_is_noted(
    peer: Peer, tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int, body: bytes, why: str
) -> None:
    peer.status, peer.body = status, body
    bot = bot_of(tmp_path, f"nlg: {{url: '{peer.url}', token: s3cret}}\n")
    with caplog.at_level(logging.DEBUG, "kefu.nlg"):
        outcome = await say(bot, "/greet")
    assert words(outcome) == ["hello Ann"]
    assert failures(outcome) == [f"the nlg server did not word 'utter_greet': {why}"]
    [record] = [record for record in caplog.records if record.name == "kefu.nlg"]
    line = json.loads(JsonLines().format(record))
    assert (line["event"], line["response"], line["problem"]) == ("nlg.failed", "utter_greet", why)
    assert not any(private in json.dumps(line) for private in ("Ann", "s3cret"))
    # One bad answer says nothing about the next.
    peer.status, peer.body = 200, b'{"text": "served"}'
    assert words(await say(bot, "/greet")) == ["served"]
    await bot.close()


EFFECT = AskNlg(response="utter_x", response_id=None, arguments={}, tracker={"sender_id": "a"}, channel="rest")


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


async def test_a_slow_server_costs_its_deadline_once_and_is_left_alone_for_a_while(peer: Peer) -> None:
    peer.wait_s = 30.0
    clock = Clock()
    server = NlgServer(NlgEndpoint(url=peer.url), clock=clock)
    started = time.monotonic()
    answers = [await server.ask(EFFECT, 0.5) for _ in range(20)]
    assert time.monotonic() - started < 5
    assert answers[0] == NlgFailed(why="no answer within 0.5 s")
    assert answers[1:] == [NlgFailed(why="it gave no answer before and is left alone for 10 s")] * 19
    assert len(peer.asked) == 1
    peer.wait_s, clock.at = 0.0, clock.at + PAUSE_S
    assert await server.ask(EFFECT, 5) == NlgAnswer(message={"text": "served {name}"})
    await server.close()


async def test_a_slow_server_s_turn_is_answered_by_the_domain(peer: Peer, tmp_path: Path) -> None:
    peer.wait_s = 30.0
    bot = bot_of(tmp_path, f"nlg: {{url: '{peer.url}'}}\n")
    outcome = await say(bot, "/price", deadline_s=0.5)
    assert words(outcome) == ["3 euros"]
    assert failures(outcome) == ["the nlg server did not word 'utter_price': no answer within 0.5 s"]
    await bot.close()


async def test_a_server_that_is_away_is_answered_for_by_the_domain(tmp_path: Path) -> None:
    bot = bot_of(tmp_path, "nlg: {url: 'http://127.0.0.1:9/nlg'}\n")
    outcome = await say(bot, "/greet")
    assert words(outcome) == ["hello Ann"]
    assert failures(outcome) == ["the nlg server did not word 'utter_greet': it cannot be reached (ConnectError)"]
    await bot.close()


@pytest.mark.parametrize(
    ("url", "tracker", "error"),
    [
        ("http://[::1/nlg", {}, "InvalidURL"),
        ("http://127.0.0.1:9/nlg", {"slots": {"x": float("nan")}}, "ValueError"),
        ("http://127.0.0.1:9/nlg", {"slots": {"x": object()}}, "TypeError"),
    ],
)
async def test_what_cannot_be_sent_is_no_crash(url: str, tracker: dict[str, Any], error: str) -> None:
    server = NlgServer(NlgEndpoint(url=url))
    effect = AskNlg(response="utter_x", response_id=None, arguments={}, tracker=tracker, channel="rest")
    assert await server.ask(effect, 5) == NlgFailed(why=f"it cannot be asked ({error})")
    await server.close()


async def test_a_bot_that_was_closed_in_a_reload_still_answers(peer: Peer) -> None:
    server = NlgServer(NlgEndpoint(url=peer.url))
    await server.close()
    assert await server.ask(EFFECT, 5) == NlgFailed(why="it cannot be asked (RuntimeError)")
