"""`generation: on` with nothing trained: `kefu serve` answers with quotes, trains beside them, and takes it up."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.answers.index_files import GUARD, judge_folder, write_name
from bot.answers.writers import MODEL, WRITER
from bot.app import tuning_of, writers_of
from bot.assistant.loader import load_assistant
from bot.background_tuning import ENDED, BackgroundTuning
from bot.settings import Settings, load_settings
from bot.tuning_process import forget_half_made
from tests.server import TEST_HOME, Server, kefu
from tests.tiny_encoders import make_encoder

SUBJECTS = {
    "wool": "Wash wool blankets by hand in cold water.",
    "lamps": "A lamp is repaired in our own workshop.",
    "gifts": "We wrap every present in recycled paper.",
    "mirrors": "Our mirrors are cut from old shop windows.",
    "rugs": "Every rug is woven on a loom from our barn.",
    "invoices": "Your invoice comes by email with the parcel.",
    "candles": "Our candles are poured from bees wax.",
    "pillows": "Pillows are filled with hay from the next village.",
}
"""Documents of one sentence each."""
WAYS = (
    "how about {0}?", "please tell me about {0}", "what is there to know about {0}?", "I have a question about {0}",
    "I want to know about {0}", "what about {0}?", "can you say something about {0}?", "what do you say about {0}?",
)  # fmt: skip
CLAIMED = tuple(
    f"{first}{{0}}{last}"
    for first in ("", "Yes. ", "Sure! ", "Of course. ")
    for last in ("", " Bye.", " Thank you.", " So it is.")
)
NOTHING = ("football", "the weather", "elections", "a horse", "music")


def assistant(folder: Path, base: Path, kefu: str) -> Path:
    """An assistant that answers from `SUBJECTS`, with a question in each of the ways."""
    asked = [
        {"question": way.format(text.rstrip(".").lower()), "passages": [f"en/{name}.md"], "reply": text}
        for name, text in SUBJECTS.items()
        for way in WAYS
    ]
    asked += [{"question": way.format(subject), "passages": []} for subject in NOTHING for way in WAYS]
    claims = [
        {
            "source": text,
            "true": way.format(text),
            "false": way.format(text.replace(" is ", " is not ").replace(" are ", " are not ")),
        }
        for text in SUBJECTS.values()
        for way in CLAIMED
    ]
    examples = "\n".join(f"    - {each['question']}" for each in asked)
    files = {
        "config.yml": "language: en\npolicies: [{name: RulePolicy}]\n",
        "kefu.yml": f"base: {base}\nanswers: {{intent: ask_knowledge}}\n{kefu}",
        "domain.yml": "version: '3.1'\nintents: [greet, ask_knowledge]\nresponses:\n  utter_greet: [{text: Hello!}]\n"
        "  utter_no_answer: [{text: Not in our pages.}]\n",
        "data/rules.yml": "version: '3.1'\nrules:\n- rule: greet\n  steps: [{intent: greet}, {action: utter_greet}]\n"
        "- rule: knowledge\n  steps: [{intent: ask_knowledge}, {action: action_answer}]\n",
        "data/nlu.yml": f"version: '3.1'\nnlu:\n- intent: greet\n  examples: |\n    - hello\n    - good morning\n"
        f"    - hi there\n    - hey\n- intent: ask_knowledge\n  examples: |\n{examples}\n",
        "answers/en.jsonl": "\n".join(map(json.dumps, asked)) + "\n",
        "answers/claims/en.jsonl": "\n".join(map(json.dumps, claims)) + "\n",
        **{f"knowledge/en/{name}.md": f"# {name.title()}\n\n{text}\n" for name, text in SUBJECTS.items()},
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


# ---- a server that learns ----


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The assistant with a model that understands, `generation` on, and nothing trained that words answers."""
    folder = tmp_path_factory.mktemp("learning")
    base = Path(make_encoder("bert", folder / "tiny"))
    root = assistant(folder / "shop", base, "generation: {deadline_s: 60}\n")
    home = folder / "home"
    home.mkdir()
    (TEST_HOME / "bases").mkdir(parents=True, exist_ok=True)
    (home / "bases").symlink_to(TEST_HOME / "bases")
    kefu("train", str(root), home=home)
    return Server(home, root)


def test_killed_it_takes_what_trains_with_it(served: Server) -> None:
    served.start()
    pid = began(served)
    assert status_of(pid)["nice"] == 19
    served.kill()
    until(lambda: not is_alive(pid), 30)
    assert not [*served.home.glob("knowledge/shop/.*-*")], "what was half done is removed"


def test_it_quotes_at_once_learns_beside_and_words_without_a_restart(served: Server) -> None:
    served.start()
    try:
        pid = began(served)
        question = "what is there to know about washing wool blankets by hand in cold water?"
        quoted = served.say(question)[-1]  # after what it says of itself to who is new
        assert quoted["text"] == "Wash wool blankets by hand in cold water.\n(From our help page “Wool”)"
        assert state_of(served)["state"] == "running"
        assert is_alive(pid)
        started, shares = time.monotonic() - cpu_of(pid), []

        def is_over() -> bool:
            with suppress(FileNotFoundError):
                shares.append(cpu_of(pid) / (time.monotonic() - started))
            return bool(state_of(served)["state"] != "running")

        until(is_over, 1_200)
        assert max(shares) < 1.2, "one thread"
        assert state_of(served) == {"state": "done", "parts": ["judge", "writer"]}
        assert not is_alive(pid)
        worded = str(served.say(question)[-1]["text"])
        assert "(Written by our assistant from the help page “Wool”)" in worded
        assert served.process is not None
        assert served.process.poll() is None
        assert [each["part"] for each in logged(served, "tuning.learned")] == ["judge", "writer"]
        assert logged(served, "tuning.done")
    finally:
        served.stop()
    # Started again it has both, and trains nothing.
    count = len(logged(served, "tuning.began"))
    served.start()
    try:
        assert "tuning" not in httpx.get(f"{served.url}/readyz").json()
        assert len(logged(served, "tuning.began")) == count
    finally:
        served.stop()


def logged(server: Server, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def began(server: Server) -> int:
    """The process that the server started last, once it trains."""
    until(lambda: bool(state_of(server).get("step")), 300)
    return int(logged(server, "tuning.began")[-1]["pid"])


def state_of(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{server.url}/readyz", timeout=30).json().get("tuning", {})
    return found


def until(is_so: Callable[[], bool], within_s: float) -> None:
    ends_at = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < ends_at, "it did not come in time"
        time.sleep(0.1)


def status_of(pid: int) -> dict[str, Any]:
    """From /proc: what comes after the name in brackets, which may hold spaces."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return {"state": fields[0], "nice": int(fields[16]), "ticks": int(fields[11]) + int(fields[12])}


def cpu_of(pid: int) -> float:
    """Seconds that it has used."""
    return float(status_of(pid)["ticks"] / os.sysconf("SC_CLK_TCK"))


def is_alive(pid: int) -> bool:
    """A zombie nobody waits for is not: where the tests run as a container's first process, nobody does."""
    try:
        return bool(status_of(pid)["state"] != "Z")
    except FileNotFoundError:
        return False


# ---- told what to do, it does no more ----

TRAINS = """
import json, pathlib, sys
root, parts = pathlib.Path(sys.argv[1]), sys.argv[2:]
print(json.dumps({"step": "cross-encoder", "done": 1, "total": 9}), flush=True)
with (root / "tries").open("a") as tries: tries.write(" ".join(parts) + "\\n")
"""
WAITS = TRAINS + "\nsys.stdin.read()"
FAILS = TRAINS + "\nprint(json.dumps({'problem': 'too few questions'})); sys.exit(1)"
IS_KILLED = TRAINS + "\nimport os; os.kill(os.getpid(), 9)"
TALKS = TRAINS + "\nprint('Loading weights'); sys.stdin.read()"
NOTES_ITS_PLACE = """
import json, os, pathlib, sys
place = {"home": os.environ["KEFU_HOME"], "threads": os.environ["OMP_NUM_THREADS"]}
(pathlib.Path(sys.argv[1]) / "place").write_text(json.dumps(place))
"""
"""Each says where it is and notes its parts; then it goes on for ever, fails, is killed, or says what nobody reads."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home")


def shop(folder: Path, generation: str = "generation: on\n") -> Path:
    return assistant(folder / "shop", folder, generation)


def tuning(settings: Settings, root: Path, script: str, **more: Any) -> BackgroundTuning:
    writers = writers_of(settings, load_assistant(root, {}))
    return BackgroundTuning(
        settings, root, writers, **{"command": (sys.executable, "-c", script), "needed": {}, **more}
    )


def tries(root: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return (root / "tries").read_text(encoding="utf-8").splitlines()
    return []


@asynccontextmanager
async def running(ours: BackgroundTuning) -> AsyncIterator[asyncio.Task[None]]:
    """Ended with the block, as a server's stop ends it."""
    task = asyncio.create_task(ours.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def reached(one: BackgroundTuning, state: str) -> None:
    async with asyncio.timeout(60):
        while one.state is None or one.state.state != state or (state == "running" and not one.state.step):
            await asyncio.sleep(0.02)


async def test_it_says_where_it_is_and_ends_with_the_server(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ours = tuning(settings, shop(tmp_path), WAITS)
    async with running(ours):
        await reached(ours, "running")
        assert ours.state is not None
        assert ours.state.to_json() == {
            "state": "running", "parts": ("judge", "writer"), "step": "cross-encoder", "done": 1, "total": 9,
        }  # fmt: skip
        (start,) = [record for record in caplog.records if record.message == "tuning.began"]
        assert is_alive(start.pid)  # type: ignore[attr-defined]
    assert not is_alive(start.pid)  # type: ignore[attr-defined]
    assert [record.message for record in caplog.records] == ["tuning.began", "tuning.stopped"]


async def test_it_gets_the_server_s_home_and_one_thread(settings: Settings, tmp_path: Path) -> None:
    root = shop(tmp_path)
    await tuning(settings, root, NOTES_ITS_PLACE).run()
    assert json.loads((root / "place").read_text(encoding="utf-8")) == {"home": str(settings.home), "threads": "1"}


async def test_progress_is_logged_now_and_then(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("bot.background_tuning.LOGGED_EVERY_S", 0.0)
    ours = tuning(settings, shop(tmp_path), TRAINS)
    async with running(ours):
        await reached(ours, "done")
    (said,) = [record for record in caplog.records if record.message == "tuning.progress"]
    assert (said.step, said.done, said.total) == ("cross-encoder", 1, 9)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("script", "why"),
    [(FAILS, "too few questions"), (IS_KILLED, "ended with -9: too little memory?"), (TALKS, "nobody understands")],
)
async def test_what_fails_is_not_tried_again_and_the_log_says_what_to_do(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, script: str, why: str
) -> None:
    root = shop(tmp_path)
    ours = tuning(settings, root, script)
    await ours.run()
    assert ours.state is not None
    assert ours.state.state == "failed"
    assert tries(root) == ["judge writer"]
    (said,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert why in said.problem  # type: ignore[attr-defined]
    assert f"kefu knowledge tune --only judge --only writer --assistant {root}" in said.problem  # type: ignore[attr-defined]


async def test_of_two_servers_on_a_home_one_trains_and_the_other_takes_over_when_it_is_gone(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.background_tuning.LOOKS_EVERY_S", 0.05)
    root = shop(tmp_path)
    first, second = tuning(settings, root, WAITS), tuning(settings, root, WAITS)
    async with running(first) as task:
        await reached(first, "running")
        async with running(second):
            await reached(second, "waiting")
            await asyncio.sleep(0.5)  # nothing tells of what does not begin
            assert len(tries(root)) == 1
            task.cancel()
            await reached(second, "running")
        assert len(tries(root)) == 2


async def test_what_the_other_server_trained_is_not_trained_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.background_tuning.LOOKS_EVERY_S", 0.05)
    root = shop(tmp_path)
    first, second = tuning(settings, root, WAITS), tuning(settings, root, WAITS)
    async with running(first) as task:
        await reached(first, "running")
        async with running(second):
            await reached(second, "waiting")
            trained(settings, "judge", "writer")
            task.cancel()
            await reached(second, "done")
    assert len(tries(root)) == 1


@pytest.mark.parametrize(
    ("generation", "known", "parts"),
    [
        ("generation: on\n", (), "judge writer"),
        ("generation: on\n", ("judge",), "writer"),
        ("generation: on\n", ("writer",), "judge"),
        ("generation: {server: 'http://127.0.0.1:9/v1', model: m}\n", (), "judge"),
    ],
)
async def test_only_what_is_missing_is_trained(
    settings: Settings, tmp_path: Path, generation: str, known: tuple[str, ...], parts: str
) -> None:
    root = shop(tmp_path, generation)
    trained(settings, *known)
    await tuning(settings, root, TRAINS).run()
    assert tries(root) == [parts]


@pytest.mark.parametrize(
    ("generation", "known"), [("", ()), ("generation: off\n", ()), ("generation: on\n", ("judge", "writer"))]
)
async def test_nothing_is_trained_where_nothing_is_missing_or_generation_is_off(
    settings: Settings, tmp_path: Path, generation: str, known: tuple[str, ...]
) -> None:
    root = shop(tmp_path, generation)
    trained(settings, *known)
    ours = tuning(settings, root, TRAINS)
    await ours.run()
    assert (ours.state, tries(root)) == (None, [])
    assert (tuning_of(settings, load_assistant(root, {})) is not None) is (generation == "generation: on\n")


async def test_without_its_packages_the_log_says_once_how_to_get_them(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = shop(tmp_path)
    ours = tuning(
        settings, root, TRAINS, needed={"no_such_peft": "train", "no_such_llama": "generate", "json": "train"}
    )
    await ours.run()
    assert tries(root) == []
    (said,) = caplog.records
    assert "no_such_peft, no_such_llama: pip install 'kefu[generate,train]'" in said.problem  # type: ignore[attr-defined]
    assert ours.state is not None
    assert ours.state.to_json() == {
        "state": "impossible",
        "parts": ("judge", "writer"),
        "problem": said.problem,  # type: ignore[attr-defined]
    }


def trained(settings: Settings, *parts: str) -> None:
    """Pointers to what was trained, as `kefu knowledge tune` leaves them."""
    store = settings.knowledge_dir("shop")
    for part in parts:
        folder = judge_folder(store, "made") if part == "judge" else store / "writer-made"
        folder.mkdir(parents=True)
        (folder / MODEL).touch()
        write_name(store / (GUARD if part == "judge" else WRITER), "made" if part == "judge" else "writer-made")


async def test_a_lock_that_cannot_be_had_is_a_failure_that_says_so(settings: Settings, tmp_path: Path) -> None:
    (settings.home / "tuning.lock").mkdir(parents=True)
    one = tuning(settings, shop(tmp_path), "")
    await one.run()
    assert one.state is not None
    assert one.state.state == "failed"
    assert "tuning.lock" in one.state.problem


def test_what_a_training_left_long_ago_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left, young, kept = (tmp_path / name for name in (".judge-a", ".writer-b", "judge-c"))
    for folder in (left, young, kept):
        folder.mkdir()
    for folder in (left, kept):
        os.utime(folder, (0, 0))
    forget_half_made(tmp_path)
    assert not left.exists()
    assert young.exists()
    assert kept.exists()


async def test_a_training_that_is_told_to_end_has_not_failed(settings: Settings, tmp_path: Path) -> None:
    one = tuning(settings, shop(tmp_path), f"import sys; sys.exit({ENDED})")
    await one.run()
    assert one.state is not None
    assert one.state.state == "stopped"
