"""Promote and roll back versions under 20 messages a second: none dropped, each answer from exactly one version.

python -m tests.bench.bench_swap  →  results/swap.json

Messages leave on a fixed beat whether or not the earlier ones are answered. Which version answered is read afterwards
from the database: from the prediction and from every message of the answer, which have to agree.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench.bench_webhook import Connection
from tests.bench.report import latency, write
from tests.bench.serving import fresh_home, serving
from tests.bench.talks import TALKS, is_answer
from tests.faults.log import rows
from tests.server import STARTER, kefu

PER_SECOND = 20
SECONDS = 60
SWITCHES = 6  # promote, rollback, promote …
MAX_SWAP_S = 5
CONNECTIONS = 64
# A line that the starter does not have: enough for another version, too little to change what the bot understands.
NEW_EXAMPLE = "    - a very good day to everybody at the shop\n"


@dataclass(frozen=True, kw_only=True)
class Switch:
    """One command: the version that should serve from then on."""

    action: str
    version: str
    began: float
    ended: float


@dataclass
class Beat:
    """What the customers saw."""

    seconds: list[float] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def versions_of(home: Path) -> list[str]:
    return sorted(path.parent.name for path in home.glob("models/*/understanding/*/manifest.json"))


def second_version(home: Path, folder: Path) -> str:
    """Train the starter with one more example; the version that it became."""
    assistant = folder / "starter"
    shutil.copytree(STARTER, assistant, ignore=shutil.ignore_patterns("__pycache__"))
    nlu = assistant / "data" / "nlu_en.yml"
    marker = "- intent: greet\n  examples: |\n"
    text = nlu.read_text(encoding="utf-8")
    assert marker in text, f"{nlu} has no intent greet any more; tell this script where to add an example"
    nlu.write_text(text.replace(marker, marker + NEW_EXAMPLE), encoding="utf-8")
    before = set(versions_of(home))
    kefu("train", str(assistant), home=home, timeout=900)
    [fresh] = set(versions_of(home)) - before
    return fresh


async def speak(port: int, beat: Beat, seconds: float) -> None:
    """A typed message each 1/PER_SECOND s, on the beat."""
    texts = [step.message for talk in TALKS for step in talk if not step.is_pressed]
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    began = asyncio.get_running_loop().time()

    async def one(number: int) -> None:
        sender = f"swap-{number}"
        connection = await idle.get() if not idle.empty() else await Connection("127.0.0.1", port).__aenter__()
        sent = time.perf_counter()
        try:
            body = json.dumps({"sender": sender, "message": texts[number % len(texts)]}).encode()
            status, answer = await connection.post(body)
        except (OSError, EOFError) as error:
            beat.dropped[type(error).__name__] += 1
            return
        beat.seconds.append(time.perf_counter() - sent)
        if status != 200 or not is_answer(json.loads(answer), sender):
            beat.dropped[f"HTTP {status}: {answer[:60]!r}"] += 1
        idle.put_nowait(connection)

    async with asyncio.TaskGroup() as tasks:
        for number in range(round(seconds * PER_SECOND)):
            await asyncio.sleep(began + number / PER_SECOND - asyncio.get_running_loop().time())
            tasks.create_task(one(number))


async def switch(home: Path, old: str, new: str, seconds: float) -> list[Switch]:
    """Promote and roll back in turn, evenly over the time; each only once the one before has reached the customers."""
    switches: list[Switch] = []
    start, gap = time.time(), seconds / (SWITCHES + 1)
    for number in range(SWITCHES):
        await asyncio.sleep(start + (number + 0.75) * gap - time.time())
        command, version = (("promote", new), new) if number % 2 == 0 else (("rollback",), old)
        began = time.time()
        await asyncio.to_thread(kefu, "models", *command, "--assistant", str(STARTER), home=home)
        switches.append(Switch(action=command[0], version=version, began=began, ended=time.time()))
        await reached(home, version)
    return switches


async def reached(home: Path, version: str) -> None:
    """Wait until the newest prediction in the log is by that version; `swap_of` says infinite if it never is."""
    query = "SELECT model_version FROM predictions ORDER BY id DESC LIMIT 1"
    deadline = time.time() + 4 * MAX_SWAP_S
    while time.time() < deadline:
        newest = await asyncio.to_thread(rows, home, query)
        if newest and newest[0]["model_version"] == version:
            return
        await asyncio.sleep(0.05)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One turn of the log: when it was committed, and the versions that its messages and its prediction name."""

    at: float
    versions: frozenset[str | None]


def answers(home: Path) -> list[Answer]:
    """Every turn of the log."""
    at: dict[int, float] = {}
    versions: dict[int, set[str | None]] = {}
    for row in rows(home, "SELECT inbound_id, metadata, created_at FROM outbox WHERE inbound_id IS NOT NULL"):
        at[row["inbound_id"]] = datetime.fromisoformat(row["created_at"]).timestamp()
        versions.setdefault(row["inbound_id"], set()).add(json.loads(row["metadata"]).get("model_version"))
    for row in rows(home, "SELECT inbound_id, model_version FROM predictions"):
        versions[row["inbound_id"]].add(row["model_version"])
    return [Answer(at=at[turn], versions=frozenset(found)) for turn, found in versions.items()]


def swap_of(change: Switch, log: list[Answer]) -> dict[str, Any]:
    """How long one switch took to reach the customers; infinite when it never did."""
    first = min(
        (answer.at for answer in log if answer.versions == {change.version} and answer.at >= change.began),
        default=math.inf,
    )
    return {
        "action": change.action,
        "version": change.version,
        "command_s": round(change.ended - change.began, 2),
        "to_first_answer_s": round(first - change.began, 2),
        "after_command_s": round(first - change.ended, 2),
    }


def judge(beat: Beat, switches: list[Switch], log: list[Answer], sent: int) -> bool:
    """Write results/swap.json; whether the targets are met."""
    mixed = [answer for answer in log if len(answer.versions) != 1 or None in answer.versions]
    swaps = [swap_of(change, log) for change in switches]
    slowest_s = max(float(swap["to_first_answer_s"]) for swap in swaps)
    targets = {
        "0 dropped": not beat.dropped and len(beat.seconds) == sent,
        "each answer from exactly one version": not mixed and len(log) == sent,
        f"swap at most {MAX_SWAP_S} s from the command to the first answer": slowest_s <= MAX_SWAP_S,
    }
    figures: dict[str, Any] = {
        "n_messages": sent,
        "per_s": PER_SECOND,
        "answered": len(beat.seconds),
        "dropped": dict(beat.dropped),
        **latency(beat.seconds),
        "turns_in_log": len(log),
        "answers_not_from_exactly_one_version": len(mixed),
        "answers_by_version": dict(Counter(str(*answer.versions) for answer in log if len(answer.versions) == 1)),
        "swap_slowest_s": slowest_s,
        "swaps": swaps,
    }
    write("swap", figures, targets=targets)
    return all(targets.values())


async def run(port: int, home: Path, old: str, new: str, seconds: float) -> tuple[Beat, list[Switch]]:
    beat = Beat()
    _, switches = await asyncio.gather(speak(port, beat, seconds), switch(home, old, new, seconds))
    return beat, switches


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=SECONDS)
    given = options.parse_args()
    with fresh_home() as home:
        [old] = versions_of(home)[-1:]
        new = second_version(home, home.parent)
        kefu("models", "promote", old, "--assistant", str(STARTER), home=home)
        with serving(home) as server:
            beat, switches = asyncio.run(run(server.port, home, old, new, given.seconds))
        log = answers(home)
    return 0 if judge(beat, switches, log, round(given.seconds * PER_SECOND)) else 1


if __name__ == "__main__":
    sys.exit(main())
