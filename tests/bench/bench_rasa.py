"""Training and `/webhooks/rest/webhook` beside a live Rasa 3.6.21, formbot and moodbot; results/rasa.json.

python -m tests.bench.bench_rasa [--bots formbot moodbot] [--turns 300]

For each bot: `rasa train` with TED and without, `kefu train` (quick recipe and policy), each from empty folders; then
the load generator of $KEFU_RASA (load.py, 32 customers at once) against Rasa with TED, Rasa without TED and `kefu
serve`, one server at a time, the same talks: half free text, half `/intent` payloads. Rasa keeps trackers in memory,
as by default; Kefu writes every turn to SQLite. formbot's validation runs where each product runs custom actions of
itself: Rasa's in its action server, Kefu's in process. Needs $KEFU_RASA_PYTHON, the interpreter of a Python 3.10 with
rasa 3.6.21.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.bench.bench_start import memory_mb
from tests.bench.report import REPOSITORY, write
from tests.server import Server, free_port, kefu

CUSTOMERS = 32
WARM_UP = 32
MAX_S = 90
READY_S = 180
TALKS: dict[str, list[list[str]]] = {
    "moodbot": [
        ["hello", "I am feeling very sad", "no", "bye for now"],
        ["hey there", "everything is great today", "see you"],
        ["are you a bot?", "hi", "so bad", "yes that helped"],
        ["/greet", "/mood_unhappy", "/deny", "/goodbye"],
        ["/greet", "/mood_great", "/goodbye", "/bot_challenge"],
        ["/greet", "/mood_unhappy", "/affirm"],
    ],
    "formbot": [
        ["hi", "im looking for a restaurant", "italian please", '/inform{"number": 4}', "inside", "no", "great"],
        ["hello", "book me a table for three at the mexican restaurant", "can you share your boss with me?", "stop"],
        ["hey", "restaurant please", "a greek one", "thank you", "bye"],
        ["/greet", "/request_restaurant", '/inform{"cuisine": "italian"}', '/inform{"number": 2}', "/affirm"],
        ["/request_restaurant", "/chitchat", '/inform{"cuisine": "klingon"}', "/stop", "/affirm", "/thankyou"],
        ["/request_restaurant", '/inform{"cuisine": "french"}', '/inform{"number": 3}', "/deny", "/deny"],
    ],
}
FASTER = {"formbot": 10.0, "moodbot": 5.0}


def project(name: str, scratch: Path) -> Path:
    """The bot's files and, for formbot, our equivalent of its actions."""
    source = Path(os.environ.get("KEFU_RASA", REPOSITORY.parent / "shared" / "rasa"))
    folder = scratch / name
    shutil.copytree(source / "bots" / name, folder, copy_function=shutil.copyfile)
    actions = REPOSITORY / "tests" / "bots" / f"{name}_actions.py"
    if actions.exists():
        shutil.copyfile(actions, folder / "actions.py")
    (folder / "credentials.yml").write_text("rest:\n", encoding="utf-8")
    return folder


def without_ted(folder: Path) -> Path:
    """The same project with TEDPolicy's entry cut out of its config.yml."""
    plain = folder.with_name(f"{folder.name}_without_ted")
    shutil.copytree(folder, plain)
    config = plain / "config.yml"
    text, cuts = re.subn(r"(?m)^- name: TEDPolicy\n(?:  .*\n)*", "", config.read_text(encoding="utf-8"))
    assert cuts == 1, f"{config}: no TEDPolicy"
    assert "TEDPolicy" not in text
    config.write_text(text, encoding="utf-8")
    return plain


class Rasa:
    """A Rasa environment, its model trained from one folder."""

    def __init__(self, python: str, folder: Path) -> None:
        self._python, self._folder = python, folder

    def train(self) -> float:
        """Seconds that `rasa train` took, nothing cached."""
        began = time.perf_counter()
        self._run("train", "--force").check_returncode()
        return time.perf_counter() - began

    def _run(self, *args: str) -> subprocess.CompletedProcess[bytes]:
        env = {**os.environ, "RASA_TELEMETRY_ENABLED": "false", "TF_CPP_MIN_LOG_LEVEL": "3"}
        with (self._folder / "rasa.log").open("ab") as log:
            command = [self._python, "-m", "rasa", *args]
            return subprocess.run(command, cwd=self._folder, env=env, stdout=log, stderr=log, check=False)

    @contextmanager
    def serve(self) -> Iterator[tuple[str, int]]:
        """Its address and process group; with an action server where the project has actions."""
        port, actions = free_port(), free_port()
        groups = []
        if (self._folder / "actions.py").exists():
            url = f"http://127.0.0.1:{actions}/webhook"
            (self._folder / "endpoints.yml").write_text(f"action_endpoint:\n  url: {url}\n", encoding="utf-8")
            groups.append(self._start("rasa_sdk", "--actions", "actions", "--port", str(actions)))
            _wait(f"http://127.0.0.1:{actions}/health", groups[-1])
        groups.append(self._start("rasa", "run", "--enable-api", "-p", str(port), "--credentials", "credentials.yml"))
        try:
            _wait(f"http://127.0.0.1:{port}/status", groups[-1])
            yield f"http://127.0.0.1:{port}", groups[-1].pid
        finally:
            for process in groups:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _start(self, *args: str) -> subprocess.Popen[bytes]:
        env = {**os.environ, "RASA_TELEMETRY_ENABLED": "false", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": "."}
        with (self._folder / "serve.log").open("ab") as log:
            command = [self._python, "-m", *args]
            return subprocess.Popen(command, cwd=self._folder, env=env, stdout=log, stderr=log, start_new_session=True)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{url} does not answer; see serve.log beside the project")
        time.sleep(0.5)


def load(python: str, url: str, talks: Path, turns: int) -> dict[str, Any]:
    """Turns a second and latencies of `load.py`'s run with 32 customers, the second of two: the first warms up."""
    generator = Path(os.environ.get("KEFU_RASA", REPOSITORY.parent / "shared" / "rasa")) / "load.py"
    out = talks.with_suffix(".out")
    command = [python, generator, "webhook", "--url", url, "--script", talks, "-n", turns, "-c", CUSTOMERS]
    command += ["--repeat", 2, "--warmup", WARM_UP, "--max-seconds", MAX_S, "--out", out]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    run = json.loads(out.read_text(encoding="utf-8"))["runs"][-1]
    return {
        "turns": run["ok"],
        "errors": run["errors"],
        "answered": run["nonempty"],
        "turns_per_s": run["rps"],
        "p50_ms": run["p50_ms"],
        "p99_ms": run["p99_ms"],
    }


def compare(name: str, python: str, turns: int, scratch: Path) -> dict[str, Any]:
    """All figures of one bot."""
    with_ted = project(name, scratch)
    plain = without_ted(with_ted)
    talks = scratch / f"{name}.json"
    talks.write_text(json.dumps(TALKS[name]), encoding="utf-8")
    found: dict[str, Any] = {}
    for label, folder in (("rasa", with_ted), ("rasa_without_ted", plain)):
        rasa = Rasa(python, folder)
        print(f"{name}: training {label}", flush=True)
        seconds = rasa.train()
        with rasa.serve() as (url, group):
            print(f"{name}: load on {label}", flush=True)
            found[label] = {
                "train_s": round(seconds, 1),
                **load(python, url, talks, turns),
                "memory_mb": memory_mb(group),
            }
    ours = project(name, scratch / "ours")
    (ours / "kefu.yml").write_text("base: all-MiniLM-L6-v2\nrecipe: quick\n", encoding="utf-8")
    home = REPOSITORY / ".kefu" / "bench" / f"rasa_{name}"
    shutil.rmtree(home, ignore_errors=True)
    print(f"{name}: training kefu", flush=True)
    began = time.perf_counter()
    kefu("train", str(ours), home=home, timeout=900)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    kefu("train", "--force", str(ours), home=home, timeout=900)
    again = time.perf_counter() - began
    server = Server(home=home, assistant=ours).start()
    try:
        assert server.process is not None
        print(f"{name}: load on kefu", flush=True)
        figures = load(python, server.url, talks, turns * 10)
        trained = {"train_s": round(seconds, 1), "train_with_the_base_at_hand_s": round(again, 1)}
        found["kefu"] = {**trained, **figures, "memory_mb": memory_mb(server.process.pid)}
    finally:
        server.kill()
        shutil.rmtree(home, ignore_errors=True)
    for label in ("rasa", "rasa_without_ted"):
        found[f"times_{label}"] = round(found["kefu"]["turns_per_s"] / found[label]["turns_per_s"], 2)
        found[f"p99_share_of_{label}"] = round(found["kefu"]["p99_ms"] / found[label]["p99_ms"], 4)
        found[f"train_share_of_{label}"] = round(found["kefu"]["train_s"] / found[label]["train_s"], 4)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--bots", nargs="+", choices=sorted(TALKS), default=sorted(TALKS))
    options.add_argument("--turns", type=int, default=300, help="of a run on Rasa; Kefu gets ten times as many")
    given = options.parse_args()
    python = os.environ.get("KEFU_RASA_PYTHON")
    if not python:
        print("nothing measured: KEFU_RASA_PYTHON does not name the interpreter of an environment with rasa 3.6.21")
        return
    with tempfile.TemporaryDirectory(prefix="kefu-bench-") as scratch:
        bots = {name: compare(name, python, given.turns, Path(scratch)) for name in given.bots}
    targets = {}
    for name, found in bots.items():
        targets[f"{name}: at least {FASTER[name]:.0f} times the turns of Rasa with TED"] = (
            found["times_rasa"] >= FASTER[name]
        )
        targets[f"{name}: p99 at most an eighth of Rasa's with TED"] = found["p99_share_of_rasa"] <= 1 / 8
    if "formbot" in bots:
        targets["formbot: trained in at most a tenth of rasa train's time"] = (
            bots["formbot"]["train_share_of_rasa"] <= 0.1
        )
    write("rasa", {"customers": CUSTOMERS, "bots": bots}, targets=targets)


if __name__ == "__main__":
    main()
