"""How long `kefu serve` takes until it would answer, how much memory it then holds, and that no PyTorch is in it.

python -m tests.bench.bench_start  →  results/start.json
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from tests.bench.bench_webhook import load
from tests.bench.report import write
from tests.bench.serving import fresh_home, serving

STARTS = 5
MESSAGES = 200
MAX_START_S = 5
MAX_MEMORY_MB = 600
MB = 1e6  # the promise is in MB, not MiB


def processes_of(group: int) -> list[int]:
    """The process group's members: a helper process counts too."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) == group:
                    members.append(int(entry.name))
            except ProcessLookupError:
                continue
    return members


def memory_mb(group: int) -> dict[str, float]:
    """Resident and proportional memory of the whole group; `rss` counts what processes share once for each."""
    totals = {"rss": 0.0, "pss": 0.0}
    for pid in processes_of(group):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
            name, _, rest = line.partition(":")
            if name.lower() in totals:
                totals[name.lower()] += int(rest.split()[0]) * 1024 / MB
    return {name: round(value, 1) for name, value in totals.items()}


def mapped_torch(group: int) -> list[str]:
    """Files of PyTorch mapped into any process of the group."""
    found = set()
    for pid in processes_of(group):
        maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
        files = {line.split(maxsplit=5)[5] for line in maps.splitlines() if len(line.split(maxsplit=5)) == 6}
        found |= {file for file in files if "libtorch" in file or "/torch/" in file}
    return sorted(found)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--starts", type=int, default=STARTS)
    given = options.parse_args()
    starts = []
    with fresh_home() as home:
        for _ in range(given.starts):
            began = time.perf_counter()
            with serving(home) as server:
                starts.append(time.perf_counter() - began)
                assert server.process is not None
                group = server.process.pid
                memory = {"ready": memory_mb(group)}
                first_answer_s = timed(lambda: server.say("hello", sender=f"start-{len(starts)}"))
                memory["after_1_message"] = memory_mb(group)
                if len(starts) == given.starts:
                    uvloop.run(load(server.port, MESSAGES, seed=len(starts)))
                    memory[f"after_{MESSAGES}_messages"] = memory_mb(group)
                torch, members = mapped_torch(group), len(processes_of(group))
    worst_mb = max(figures["rss"] for figures in memory.values())
    figures = {
        "n_starts": len(starts),
        "ready_s": [round(seconds, 2) for seconds in starts],
        "ready_median_s": round(statistics.median(starts), 2),
        "first_answer_ms": round(first_answer_s * 1000, 1),
        "processes": members,
        "memory_mb": memory,
        "torch_files_mapped": torch,
    }
    targets = {
        f"ready in at most {MAX_START_S} s (median)": statistics.median(starts) <= MAX_START_S,
        f"at most {MAX_MEMORY_MB} MB resident": worst_mb <= MAX_MEMORY_MB,
        "no PyTorch": not torch,
    }
    write("start", figures, targets=targets)
    return 0 if all(targets.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
