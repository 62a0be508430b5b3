"""Turns a second of one web and 1, 2 and 4 worker processes on one PostgreSQL, and whether a worker idles meanwhile.

python -m tests.bench.bench_workers [--seconds 20]  →  results/workers.json

The reader is scripted, so that what is measured is the queue, the dialogue and the database. Each customer asks over
REST as soon as the last answer came, a new sender every few messages. Beside the load the queue is looked at every
`SAMPLE_S`: which conversations are due and claimed by nobody, and how many each worker holds. Two bounds:
- "waiting": a reading takes long, as a model elsewhere does, and a worker has few places. What is measured is whether
  every place of every worker is filled as long as messages wait, whatever the machine's cores;
- "processor": a reading takes nothing and a worker has its usual places. All processes share the machine: with fewer
  cores than processes more workers cannot be faster, and a worker that holds nothing may only wait for a core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psycopg
import uvloop

from bot.storage.database import Database
from tests.bench.bench_webhook import Connection, cpu_s
from tests.bench.labbot_half import ANSWER, ASKED
from tests.bench.report import latency, write
from tests.postgres import PostgresServer, find_binaries, new_postgres
from tests.server import free_port

WORKERS = (1, 2, 4)
CUSTOMERS = 64  # more than four workers have places where they wait, as many as one has where it does not
MESSAGES_A_SENDER = 8
SECONDS, WARM_UP_S = 20.0, 3.0
BOUNDS = {"waiting": (0.4, 4), "processor": (0.0, 64)}
"""Seconds of a reading, and places of a worker: at most 10, 20, 40 turns a second of 1, 2, 4 workers; no such bound."""
SAMPLE_S = 0.05
MAX_IDLE_SHARE, MIN_FILLED_SHARE, MIN_SPEEDUP = 0.01, 0.8, 3.2
"""Of the bound "waiting". A place is empty from the end of a turn's reading to the next claim's commit."""

QUEUE = """
SELECT lease_owner, count(*), max(extract(epoch FROM clock_timestamp() - claimable_at)) FROM conversations
WHERE claimable_at IS NOT NULL AND (lease_owner IS NOT NULL OR claimable_at <= clock_timestamp()) GROUP BY lease_owner
"""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The queue at one instant: `unclaimed` ones are due, the oldest since `oldest_s`; `held` by process id."""

    unclaimed: int
    oldest_s: float
    held: dict[int, int]


@dataclass(kw_only=True)
class Step:
    """What one number of workers did."""

    bound: str
    pids: list[int]
    wall_s: float
    turns_by_worker: list[int]
    cpu_s: dict[str, float]
    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    samples: list[Sample] = field(default_factory=list)

    @property
    def workers(self) -> int:
        return len(self.pids)

    @property
    def turns_per_s(self) -> float:
        return len(self.seconds) / self.wall_s


@dataclass
class Half:
    """A web or worker process that listens."""

    process: subprocess.Popen[bytes]
    port: int

    def turns(self) -> int:
        """How many turns this process has finished."""
        page = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=10).text
        lines = [line for line in page.splitlines() if line.startswith('kefu_turns_total{outcome="answered"}')]
        return int(float(lines[0].split()[-1])) if lines else 0


@contextmanager
def half(role: str, bound: str, home: Path, url: str) -> Iterator[Half]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.labbot_half", role, *map(str, BOUNDS[bound])],
        env={**os.environ, "KEFU_HOME": str(home), "KEFU_PORT": str(port), "KEFU_DATABASE_URL": url},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"listening\n":
            raise RuntimeError(f"the {role} process ended with {process.wait()}")
        yield Half(process, port)
    finally:
        process.kill()
        process.wait()


async def customer(number: int, port: int, until: float, step: Step | None) -> None:
    """Ask again and again until that time; the warm-up is noted nowhere."""
    async with Connection("127.0.0.1", port) as connection:
        asked = 0
        while time.perf_counter() < until:
            sender = f"{number}-{asked // MESSAGES_A_SENDER}-{'warm' if step is None else 'measured'}"
            asked += 1
            began = time.perf_counter()
            status, answer = await connection.post(json.dumps({"sender": sender, "message": ASKED}).encode())
            if step is not None:
                step.seconds.append(time.perf_counter() - began)
                step.failed += status != 200 or json.loads(answer) != [{"recipient_id": sender, "text": ANSWER}]


async def load(port: int, seconds: float, step: Step | None) -> None:
    until = time.perf_counter() + seconds
    await asyncio.gather(*(customer(number, port, until, step) for number in range(CUSTOMERS)))


@asynccontextmanager
async def sampling(url: str, samples: list[Sample]) -> AsyncIterator[None]:
    """Look at the queue while the block runs."""

    async def look() -> None:
        while True:
            rows = await (await conn.execute(QUEUE)).fetchall()
            held = {int(owner.split(":")[1]): count for owner, count, _ in rows if owner is not None}
            due = next(((count, float(age)) for owner, count, age in rows if owner is None), (0, 0.0))
            samples.append(Sample(unclaimed=due[0], oldest_s=due[1], held=held))
            await asyncio.sleep(SAMPLE_S)

    async with await psycopg.AsyncConnection.connect(url.replace("+psycopg", ""), autocommit=True) as conn:
        looking = asyncio.create_task(look())
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking


def postgres_cpu_s(server: PostgresServer) -> float:
    """Processor time of the server and of its connections that are open."""
    main = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    spent = cpu_s(main)
    for child in Path(f"/proc/{main}/task/{main}/children").read_text().split():
        with suppress(FileNotFoundError):  # it ended meanwhile
            spent += cpu_s(int(child))
    return spent


async def measured(
    server: PostgresServer, bound: str, web: Half, workers: list[Half], url: str, seconds: float
) -> Step:
    """The load of all customers, noted after a warm-up."""
    await load(web.port, WARM_UP_S, None)

    def spent() -> dict[str, float]:
        by_workers = sum(cpu_s(worker.process.pid) for worker in workers)
        return {"web": cpu_s(web.process.pid), "workers": by_workers, "postgresql": postgres_cpu_s(server)}

    turns, cpu, began = [worker.turns() for worker in workers], spent(), time.perf_counter()
    step = Step(bound=bound, pids=[worker.process.pid for worker in workers], wall_s=0.0, turns_by_worker=[], cpu_s={})
    async with sampling(url, step.samples):
        await load(web.port, seconds, step)
    step.wall_s = time.perf_counter() - began
    step.cpu_s = {name: value - cpu[name] for name, value in spent().items()}
    step.turns_by_worker = [worker.turns() - before for worker, before in zip(workers, turns, strict=True)]
    return step


def run(server: PostgresServer, bound: str, count: int, seconds: float) -> Step:
    """One web and `count` worker processes over an empty database."""
    url = new_postgres(server)
    database = Database.open(url)
    database.upgrade()
    database.dispose()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        web = stack.enter_context(half("web", bound, home, url))
        workers = [stack.enter_context(half("worker", bound, home, url)) for _ in range(count)]
        return uvloop.run(measured(server, bound, web, workers, url, seconds))


def figures_of(step: Step) -> dict[str, Any]:
    samples = step.samples
    ages = [sample.oldest_s for sample in samples if sample.unclaimed]
    held = [sum(sample.held.values()) for sample in samples if sample.unclaimed]
    return {
        "turns": len(step.seconds),
        "turns_per_s": round(step.turns_per_s, 1),
        **latency(step.seconds),
        "failed": step.failed,
        "turns_by_worker": step.turns_by_worker,
        "cores_used": {name: round(spent / step.wall_s, 2) for name, spent in step.cpu_s.items()},
        "samples": len(samples),
        "share_messages_wait": round(len(ages) / len(samples), 4),
        "oldest_that_waits": latency(ages) if ages else None,
        "share_a_worker_idles_while_messages_wait": _share_idle(step),
        "places_filled_while_messages_wait": _share_filled(step, held),
    }


def _share_idle(step: Step) -> float:
    """The share of samples in which a worker holds nothing, as in the one before, and messages wait in both."""
    idle = [set(step.pids) - sample.held.keys() if sample.unclaimed else set() for sample in step.samples]
    return round(sum(bool(one & other) for one, other in pairwise(idle)) / len(idle), 4)


def _share_filled(step: Step, held: list[int]) -> float | None:
    return round(statistics.mean(held) / (BOUNDS[step.bound][1] * step.workers), 4) if held else None


def targets_of(steps: list[Step]) -> dict[str, bool]:
    waiting = [figures_of(step) for step in steps if step.bound == "waiting"]
    idle = [found["share_a_worker_idles_while_messages_wait"] for found in waiting]
    filled = [found["places_filled_while_messages_wait"] for found in waiting]
    speedup = waiting[-1]["turns_per_s"] / waiting[0]["turns_per_s"]
    return {
        "every message answered": all(step.failed == 0 for step in steps),
        "every worker worked": all(min(step.turns_by_worker) > 0 for step in steps),
        f"waiting: a worker idles while messages wait in at most {MAX_IDLE_SHARE:.0%} of the samples": (
            max(idle) <= MAX_IDLE_SHARE
        ),
        f"waiting: at least {MIN_FILLED_SHARE:.0%} of all places are filled while messages wait": (
            min(share or 0.0 for share in filled) >= MIN_FILLED_SHARE
        ),
        f"waiting: {WORKERS[-1]} workers make at least {MIN_SPEEDUP} times the turns of one": speedup >= MIN_SPEEDUP,
    }


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=SECONDS, help="of each step")
    given = options.parse_args()
    binaries = find_binaries()
    if binaries is None:
        print("no PostgreSQL: install the package postgresql")
        return 1
    server = PostgresServer(binaries)
    server.start()
    try:
        steps = [run(server, bound, count, given.seconds) for bound in BOUNDS for count in WORKERS]
    finally:
        server.stop()
    bounds = {
        bound: {
            "reading_ms": reading_s * 1000,
            "places_of_a_worker": places,
            "workers": {str(step.workers): figures_of(step) for step in steps if step.bound == bound},
        }
        for bound, (reading_s, places) in BOUNDS.items()
    }
    figures = {
        "concurrent": CUSTOMERS,
        "seconds_a_step": given.seconds,
        "sampled_every_ms": SAMPLE_S * 1000,
        "bounds": bounds,
    }
    targets = targets_of(steps)
    write("workers", figures, targets=targets)
    return 0 if all(targets.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
