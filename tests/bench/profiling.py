"""Where a running server's time goes: py-spy samples it from outside, this file sums the samples up by area.

py-spy is no dependency of the project: `pip install py-spy`, or name the program with PY_SPY=/path/to/py-spy.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

RATE_HZ = 200
# The innermost frame of a sample that one of these marks decides which area the sample belongs to.
AREAS = (
    ("understanding: tokens and model", ("models/",)),
    ("storage: waiting for the disk (commit)", ("do_commit", "_commit_impl")),
    ("storage: queries", ("bot/storage/",)),
    ("dialogue", ("bot/dialogue/",)),
    ("custom actions", ("rasa_sdk/", "bot/rasa/", "starter/actions/")),
    ("REST channel", ("connectors/",)),
    ("HTTP: uvicorn and starlette", ("uvicorn/", "starlette/", "fastapi/")),
    ("worker", ("bot/worker.py", "bot/turns.py", "bot/turn_records.py", "bot/app.py", "bot/telemetry.py")),
)
OTHER = "event loop and the rest"


@dataclass(frozen=True)
class Sample:
    """One stack, outermost frame first, and how often it was seen."""

    frames: tuple[str, ...]
    count: int


class Profile:
    """While it is open, a process is sampled; then a table is written to `out`."""

    def __init__(self, pid: int, out: Path) -> None:
        program = os.environ.get("PY_SPY") or shutil.which("py-spy")
        if program is None:
            raise SystemExit("--profile needs py-spy: pip install py-spy, or name it with PY_SPY=/path/to/py-spy")
        self._out = out
        self._raw = Path(tempfile.mkstemp(suffix=".txt")[1])
        self._command = [program, "record", "--pid", str(pid), "--rate", str(RATE_HZ), "--format", "raw"]
        self._command += ["--threads", "--nonblocking", "--duration", "unlimited", "--output", str(self._raw)]

    def __enter__(self) -> Profile:
        self._spy = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        self._spy.send_signal(signal.SIGINT)
        said = self._spy.communicate(timeout=60)[1]
        samples = read_samples(self._raw.read_text(encoding="utf-8"))
        self._raw.unlink()
        if not samples:
            raise SystemExit(f"py-spy saw nothing: {said.decode()}")
        self._out.write_text(table(samples), encoding="utf-8")
        print(table(samples))


def read_samples(raw: str) -> list[Sample]:
    """py-spy's raw format: `outer;…;inner count`, one stack a line."""
    lines = (line.rpartition(" ") for line in raw.splitlines() if line.strip())
    return [Sample(tuple(stack.split(";")), int(count)) for stack, _, count in lines]


def area_of(sample: Sample) -> str:
    for frame in reversed(sample.frames):
        for area, marks in AREAS:
            if any(mark in frame for mark in marks):
                return area
    return OTHER


def table(samples: list[Sample]) -> str:
    """Shares by thread, by area, and the functions that stand innermost most often in each area."""
    total = sum(sample.count for sample in samples)
    threads: Counter[str] = Counter()
    areas: Counter[str] = Counter()
    innermost: dict[str, Counter[str]] = {}
    for sample in samples:
        area = area_of(sample)
        threads[sample.frames[0]] += sample.count
        areas[area] += sample.count
        innermost.setdefault(area, Counter())[sample.frames[-1]] += sample.count
    lines = [
        f"{total} samples of busy threads, {RATE_HZ} a second: {total / RATE_HZ:.1f} thread-seconds",
        "",
        "by thread",
    ]
    lines += [f"  {count / total:6.1%}  {thread}" for thread, count in threads.most_common(12)]
    lines += ["", "by area"]
    for area, count in areas.most_common():
        lines.append(f"  {count / total:6.1%}  {area}")
        lines += [f"          {n / total:6.1%}  {frame}" for frame, n in innermost[area].most_common(8)]
    return "\n".join(lines) + "\n"
