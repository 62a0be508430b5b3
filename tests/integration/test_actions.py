"""Custom actions: rasa-sdk classes in this process, and an action server over HTTP. What goes wrong is an answer."""

from __future__ import annotations

import asyncio
import http.server
import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.dialogue.effects import ActionCrashed, ActionRejected, ActionResult, RunAction
from bot.errors import AssistantError
from bot.rasa.action_server import InProcessActions, RemoteActions
from bot.telemetry import JsonLines

HEADER = """
import asyncio, threading, time
from rasa_sdk import Action, ActionExecutionRejection
from rasa_sdk.events import SlotSet

class Named(Action):
    def name(self):
        return self.action_name
    action_name = ""
"""

ACTIONS = (
    HEADER
    + """
class Sync(Named):
    action_name = "action_sync"
    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text=f"hello {tracker.sender_id}", buttons=[{"title": "a", "payload": "/a"}])
        return [SlotSet("seen", tracker.get_slot("seen"))]

class Async(Named):
    action_name = "action_async"
    async def run(self, dispatcher, tracker, domain):
        await asyncio.sleep(0)
        return [SlotSet("intents", list(domain["intents"]))]

class Silent(Named):
    action_name = "action_silent"
    def run(self, dispatcher, tracker, domain):
        pass

class Rejects(Named):
    action_name = "action_rejects"
    def run(self, dispatcher, tracker, domain):
        raise ActionExecutionRejection(self.name(), "not today")

class Counts(Named):
    action_name = "action_counts"
    def run(self, dispatcher, tracker, domain):
        return [SlotSet("seen", int(tracker.get_slot("seen")))]

class Crashes(Named):
    action_name = "action_crashes"
    async def run(self, dispatcher, tracker, domain):
        raise RuntimeError("boom")

class Nonsense(Named):
    action_name = "action_nonsense"
    def run(self, dispatcher, tracker, domain):
        return [{"event": "slot", "name": "x", "value": object()}]

class Infinite(Named):
    action_name = "action_infinite"
    def run(self, dispatcher, tracker, domain):
        return [SlotSet("x", float("inf"))]

class Meddles(Named):
    action_name = "action_meddles"
    def run(self, dispatcher, tracker, domain):
        tracker.latest_message["intent"]["name"] = "changed"
        tracker.slots["seen"] = "changed"
        tracker.events.clear()
        return []

gate = threading.Event()

class Hangs(Named):
    action_name = "action_hangs"
    def run(self, dispatcher, tracker, domain):
        gate.wait(30)
        return []

class Opens(Named):
    action_name = "action_opens"
    async def run(self, dispatcher, tracker, domain):
        gate.set()
        return []
"""
)

Project = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Writes an assistant's folder; what importing it left behind is taken away again."""
    path, modules = list(sys.path), set(sys.modules)

    def write(files: dict[str, str], name: str = "bot") -> Path:
        for file, text in files.items():
            target = tmp_path / name / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        return tmp_path / name

    yield write
    sys.path[:] = path
    for module in set(sys.modules) - modules:
        if module.startswith("kefu_actions"):
            del sys.modules[module]


def effect(name: str, **slots: Any) -> RunAction:
    message = {"intent": {"name": "greet"}, "entities": [], "text": "hi"}
    tracker = {
        "sender_id": "ann",
        "slots": slots,
        "latest_message": message,
        "events": [{"event": "slot", "name": "seen", "value": 1}],
        "paused": False,
        "followup_action": None,
        "active_loop": {},
        "latest_action_name": "action_listen",
    }
    return RunAction(name=name, tracker=tracker, domain={"intents": ["greet"]})


@pytest.fixture
async def actions(project: Project) -> InProcessActions:
    return InProcessActions.load(project({"actions/actions.py": ACTIONS}))


async def test_sync_and_async_actions_answer(actions: InProcessActions) -> None:
    result = await actions.run(effect("action_sync", seen=[1, 2]), 5)
    assert isinstance(result, ActionResult)
    [said] = result.responses
    assert (said["text"], said["buttons"]) == ("hello ann", [{"title": "a", "payload": "/a"}])
    assert [(event["name"], event["value"]) for event in result.events] == [("seen", [1, 2])]
    result = await actions.run(effect("action_async"), 5)
    assert isinstance(result, ActionResult)
    assert result.events[0]["value"] == ["greet"]
    assert await actions.run(effect("action_silent"), 5) == ActionResult()


NO_JSON = ActionCrashed(error="the action server's answer is not a JSON object that can be stored")


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("action_rejects", ActionRejected, "not today"),
        ("action_crashes", ActionCrashed, "RuntimeError: boom"),
        ("action_nonsense", ActionCrashed, "not JSON serializable"),
        ("action_infinite", ActionCrashed, "Infinity is not JSON"),
        ("action_unknown", ActionCrashed, "no action 'action_unknown'"),
    ],
)
async def test_what_goes_wrong_is_an_answer(actions: InProcessActions, name: str, kind: type, words: str) -> None:
    result = await actions.run(effect(name), 5)
    assert isinstance(result, kind)
    assert words in (result.reason if isinstance(result, ActionRejected) else result.error)


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
async def test_what_was_typed_is_logged_at_debug_only(
    actions: InProcessActions, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    typed = "my card is 4111 1111 1111 1111"
    with caplog.at_level(level, logger="kefu.actions"):
        result = await actions.run(effect("action_counts", seen=typed), 5)
    assert isinstance(result, ActionCrashed)
    assert typed in result.error
    [crash, *messages] = [record for record in caplog.records if record.name == "kefu.actions"]
    shown = JsonLines().format(crash)
    assert "ValueError" in shown
    assert re.search(r"actions\.py:\d+:run", shown)
    assert typed not in shown
    assert crash.exc_info is None
    assert [record.levelno for record in messages if typed in JsonLines().format(record)] == (
        [logging.DEBUG] if level == logging.DEBUG else []
    )


async def test_deadline_ends_the_waiting_and_other_actions_go_on(actions: InProcessActions) -> None:
    hanging = asyncio.create_task(actions.run(effect("action_hangs"), 0.2))
    quick = await actions.run(effect("action_sync"), 5)
    assert isinstance(quick, ActionResult)
    assert await hanging == ActionCrashed(error="no answer within 0.2 s")
    await actions.run(effect("action_opens"), 5)


async def test_blocking_action_does_not_block_the_service(actions: InProcessActions) -> None:
    hanging = asyncio.create_task(actions.run(effect("action_hangs"), 20))
    started = time.perf_counter()
    for _ in range(20):
        await asyncio.sleep(0)
    assert time.perf_counter() - started < 5
    assert not hanging.done()
    await actions.run(effect("action_opens"), 5)
    assert await hanging == ActionResult()


async def test_action_works_on_a_copy(actions: InProcessActions) -> None:
    asked = effect("action_meddles", seen=1)
    before = json.dumps(asked.tracker)
    assert await actions.run(asked, 5) == ActionResult()
    assert json.dumps(asked.tracker) == before


def says(text: str) -> str:
    return f"""
class Says(Named):
    action_name = "action_says"
    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text={text})
        return []
"""


async def words_of(actions: InProcessActions) -> list[str]:
    result = await actions.run(effect("action_says"), 5)
    assert isinstance(result, ActionResult)
    return [response["text"] for response in result.responses]


@pytest.mark.parametrize(
    "way", ["from .shop import NAME", "from actions.shop import NAME", "import actions.shop as shop"]
)
async def test_two_assistants_do_not_clash(project: Project, way: str) -> None:
    name = "shop.NAME" if "as shop" in way else "NAME"
    loaded = [
        InProcessActions.load(
            project(
                {
                    "actions/__init__.py": "",
                    "actions/shop.py": f"NAME = {shop!r}\n",
                    "actions/actions.py": HEADER + way + "\n" + says(name),
                },
                shop,
            )
        )
        for shop in ("one", "two")
    ]
    assert [await words_of(actions) for actions in loaded] == [["one"], ["two"]]
    assert "actions" not in sys.modules


async def test_loading_again_gives_the_new_code_and_closing_forgets_the_old(project: Project) -> None:
    folder = project({"actions.py": HEADER + says("'old'")})
    old = InProcessActions.load(folder)
    project({"actions.py": HEADER + says("'brand new'")})
    new = InProcessActions.load(folder)
    assert (await words_of(old), await words_of(new)) == (["old"], ["brand new"])
    before = {name for name in sys.modules if name.startswith("kefu_actions")}
    await old.close()
    assert len({name for name in sys.modules if name.startswith("kefu_actions")}) == len(before) - 1
    assert await words_of(new) == ["brand new"]


def test_project_cannot_shadow_what_kefu_imports(project: Project) -> None:
    folder = project({"actions.py": HEADER, "json.py": "raise RuntimeError('shadowed')\n"})
    InProcessActions.load(folder)
    assert sys.path[-1] == str(folder.resolve())


def test_base_classes_are_no_actions_and_no_folder_means_none(project: Project) -> None:
    base = "class Base(Action):\n    pass\n"
    assert InProcessActions.load(project({"actions.py": HEADER + base + says("'x'")})).names == ("action_says",)
    assert InProcessActions.load(project({"domain.yml": ""}, "other")).names == ()


@pytest.mark.parametrize(
    ("code", "line", "words"),
    [
        ("x = 1\nimport no_such_package\n", 2, "No module named 'no_such_package'"),
        ("x = 1\n\ny = x +\n", 3, "SyntaxError"),
        ("x = 1\nraise ValueError('no order file')\n", 2, "no order file"),
    ],
)
def test_code_that_cannot_be_imported_is_shown_with_line(project: Project, code: str, line: int, words: str) -> None:
    folder = project({"actions/actions.py": code})
    before = set(sys.modules)
    with pytest.raises(AssistantError) as raised:
        InProcessActions.load(folder)
    where = raised.value.where
    assert where is not None
    assert (where.file.name, where.line) == ("actions.py", line)
    assert words in str(raised.value)
    assert not [name for name in set(sys.modules) - before if name.startswith("kefu_actions")]


# ---- over HTTP ----


TOO_LARGE = ActionCrashed(error="the action's answer is larger than 4 MB")


class Server:
    """An action server that gives prepared answers and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answers: list[tuple[int, bytes]] = []
        self.release = threading.Event()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                status, body = server.answers.pop(0) if server.answers else (0, b"")
                if not status:
                    server.release.wait(30)
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/webhook"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.release.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


async def test_action_server_is_asked_and_answers_as_rasa_s(server: Server) -> None:
    answer = {"events": [{"event": "slot", "name": "a", "value": 1}], "responses": [{"text": "hi"}]}
    server.answers = [(200, json.dumps(answer).encode())]
    remote = RemoteActions(server.url)
    result = await remote.run(effect("action_x", a=2), 5)
    await remote.close()
    assert result == ActionResult(events=tuple(answer["events"]), responses=tuple(answer["responses"]))
    [asked] = server.asked
    assert (asked["next_action"], asked["sender_id"], asked["tracker"]["slots"]) == ("action_x", "ann", {"a": 2})
    assert asked["domain"] == {"intents": ["greet"]}
    assert asked["version"]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, b'{"action_name": "x", "error": "not today"}', ActionRejected(reason="not today")),
        (400, b"oops", ActionRejected(reason="declined")),
        (500, b"trace", ActionCrashed(error="the action server answered 500")),
        (404, b"{}", ActionCrashed(error="the action server answered 404")),
        (200, b"not json", NO_JSON),
        (200, b'{"events": [{"event": "slot", "name": "x", "value": NaN}]}', NO_JSON),
        (200, b"[" * 200_000, NO_JSON),
        (200, b'{"events": {}}', ActionResult()),
        (200, b'{"events": [1]}', ActionCrashed(error="the action's `events` is not a list of objects")),
        (200, b'{"events": null, "responses": null}', ActionResult()),
        (200, b'{"responses": [{"text": "' + b"x" * 5_000_000 + b'"}]}', TOO_LARGE),
        (500, b"x" * 5_000_000, TOO_LARGE),
    ],
)
async def test_answers_of_an_action_server(server: Server, status: int, body: bytes, expected: object) -> None:
    server.answers = [(status, body)]
    remote = RemoteActions(server.url)
    assert await remote.run(effect("action_x"), 5) == expected
    await remote.close()


async def test_giant_answer_in_process_is_survived(project: Project) -> None:
    giant = """
from rasa_sdk import Action

class Giant(Action):
    def name(self): return "action_giant"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="x" * 5_000_000)
        return []
"""
    loaded = InProcessActions.load(project({"actions.py": giant}, "giant"))
    assert await loaded.run(effect("action_giant"), 10) == TOO_LARGE
    await loaded.close()


async def test_action_server_that_hangs_or_is_away(server: Server) -> None:
    remote = RemoteActions(server.url)
    hanging = await remote.run(effect("action_x"), 0.2)
    assert isinstance(hanging, ActionCrashed)
    assert "no answer within 0.2 s" in hanging.error
    server.stop()
    away = await remote.run(effect("action_x"), 5)
    assert isinstance(away, ActionCrashed)
    await remote.close()
    for url in ("http://127.0.0.1:1/webhook", "no url"):
        assert isinstance(await RemoteActions(url).run(effect("action_x"), 1), ActionCrashed)
