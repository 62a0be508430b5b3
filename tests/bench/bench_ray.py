"""The same model in this process and on Ray, in the same run: what the way there and back costs.

python -m tests.bench.bench_ray [--replicas 2] [--threads 1]  →  results/ray.json

Both read the starter's fixed test messages, this process with as many passes beside each other as the replicas have
together. One customer at a time gives the latency; 32 customers, each waiting for the answer before the next message,
the throughput. The sides take turns, so that other work on the machine meets both. Here the cluster shares the machine
with its client: on machines of their own the replicas would have all of it. Memory is what each process holds alone
(private pages), with the version loaded.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bot.assistant.loader import load_assistant
from bot.lessons import fixed_tests
from bot.settings import STARTER
from models.base import KIND
from models.client import RemoteUnderstander
from models.registry import Registry
from models.runtime import ServedUnderstander
from tests.bench.report import latency, write
from tests.bench.serving import fresh_home
from tests.serving_models import HAS_RAY, WHY_SKIPPED, ServedModels

ALONE, ROUNDS = 150, 4
CONCURRENT, TURNS = 32, 20
# A customer notices a tenth of a second, and a turn has other parts.
MAX_ADDED_P50_MS = 20.0
Side = ServedUnderstander | RemoteUnderstander


class Watch:
    """The waits of one side, over all rounds."""

    def __init__(self) -> None:
        self.alone: list[float] = []
        self.concurrent: list[float] = []
        self.per_s: list[float] = []

    async def round(self, side: Side, texts: Sequence[str]) -> None:
        await asyncio.gather(*(side.understand([text]) for text in texts[:CONCURRENT]))
        for number in range(ALONE):
            self.alone.append(await _timed(side, texts[number % len(texts)]))
        began = time.perf_counter()

        async def customer(number: int) -> None:
            for turn in range(TURNS):
                self.concurrent.append(await _timed(side, texts[(number + turn * CONCURRENT) % len(texts)]))

        await asyncio.gather(*(customer(number) for number in range(CONCURRENT)))
        self.per_s.append(CONCURRENT * TURNS / (time.perf_counter() - began))

    def figures(self) -> dict[str, Any]:
        return {
            "alone": latency(self.alone),
            "concurrent": latency(self.concurrent),
            "per_s": [round(rate, 1) for rate in self.per_s],
            "n_alone": len(self.alone),
            "n_concurrent": len(self.concurrent),
        }


async def _timed(side: Side, text: str) -> float:
    began = time.perf_counter()
    await side.understand([text])
    return time.perf_counter() - began


async def measure(models: ServedModels, registry: Registry, texts: Sequence[str], threads: int) -> dict[str, Any]:
    sides: dict[str, tuple[Side, Watch]] = {
        "in_process": (ServedUnderstander(registry, KIND, threads), Watch()),
        "ray": (models.client(), Watch()),
    }
    for side, _ in sides.values():
        await side.start()
    for _ in range(ROUNDS):
        for side, watch in sides.values():
            await watch.round(side, texts)
    for side, _ in sides.values():
        await side.stop()
    return {name: watch.figures() for name, (_, watch) in sides.items()}


def memory_mib(root: int) -> dict[str, float]:
    """Private memory of `kefu models serve` and of every process of its Ray, by what it is."""
    found: dict[str, float] = {}
    for pid in _family(root):
        try:
            name, private = _name(pid), _private_mib(pid)
        except OSError:
            continue  # it ended meanwhile
        found[name] = round(found.get(name, 0.0) + private, 1)
    return found


def _family(root: int) -> list[int]:
    """A process and all that it started, and they."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [root]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found


def _private_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def _name(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    if command[0].startswith("ray::"):
        return command[0].removeprefix("ray::").split(":")[0].split(".")[0]
    scripts = [Path(part).stem for part in command[:4] if part.endswith(".py")]
    return scripts[0] if scripts else "kefu models serve" if "models" in command else Path(command[0]).name


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--replicas", type=int, default=2)
    options.add_argument("--threads", type=int, default=1, help="passes beside each other in one replica")
    given = options.parse_args()
    if not HAS_RAY:
        print(WHY_SKIPPED)
        return 0
    assistant = load_assistant(STARTER, {})
    together = given.replicas * given.threads
    texts = [utterance.text for utterance in fixed_tests(assistant).intents]
    with fresh_home() as home:
        registry = Registry(home / "models", assistant.assistant_id)
        models = ServedModels(
            home=home,
            folder=STARTER,
            assistant_id=assistant.assistant_id,
            replicas=given.replicas,
            threads=given.threads,
        )
        began = time.perf_counter()
        models.start()
        starts_s = time.perf_counter() - began
        try:
            assert models.process is not None
            found = asyncio.run(measure(models, registry, texts, together))
            memory = memory_mib(models.process.pid)
        finally:
            models.stop()
        version = registry.current(KIND)
        assert version is not None
        base = registry.manifest(KIND, version).base
    added = {
        kind: {
            percent: round(found["ray"][kind][percent] - found["in_process"][kind][percent], 2)
            for percent in ("p50_ms", "p99_ms")
        }
        for kind in ("alone", "concurrent")
    }
    figures = {
        "base": base,
        "replicas": given.replicas,
        "threads_a_replica": given.threads,
        "passes_in_process": together,
        "n_texts": len(texts),
        "rounds": ROUNDS,
        **found,
        "added_by_ray": added,
        "throughput_of_in_process": round(
            statistics.median(found["ray"]["per_s"]) / statistics.median(found["in_process"]["per_s"]), 3
        ),
        "cluster_starts_s": round(starts_s, 1),
        "memory_mib": memory,
        "memory_total_mib": round(sum(memory.values()), 1),
    }
    targets = {
        f"one message: Ray adds at most {MAX_ADDED_P50_MS:g} ms at p50": added["alone"]["p50_ms"] <= MAX_ADDED_P50_MS
    }
    write("ray", figures, targets=targets)
    return 0 if all(targets.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
