"""At least 200,000 malformed requests to every channel of a running platform, valid messages between them.

python -m tests.bench.bench_fuzz [--requests 200000] [--seed 0]  →  results/fuzz.json

Websocket frames and Socket.IO packets count as requests. The application, its database and its worker are the real
ones, called in this process; Slack, WeChat, WeCom and Telegram are the tests' own servers.
What is sent is made in tests/fuzz.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.report import REPOSITORY, write
from tests.fuzz.campaign import Outcome, run
from tests.fuzz.shop import open_shop

REQUESTS = 200_000


async def fuzzed(requests: int, seed: int) -> tuple[Outcome, float]:
    """What came of so many malformed requests, and the seconds it took."""
    parent = REPOSITORY / ".kefu" / "bench"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as home:
        async with open_shop(Path(home)) as shop:
            began = time.perf_counter()
            outcome = await run(shop, requests, seed)
            return outcome, time.perf_counter() - began


def figures_of(outcome: Outcome, took_s: float, seed: int) -> dict[str, Any]:
    n = outcome.malformed.total()
    return {
        "n_malformed": n - outcome.still_valid,
        "n_changed_but_still_valid": outcome.still_valid,
        "n_valid": outcome.valid.total(),
        "n_valid_answered": outcome.answered.total(),
        "server_errors": outcome.server_errors,
        "exceptions": outcome.exceptions,
        "hangs": outcome.hangs,
        "rounds_with_rows_too_many": outcome.rows_too_many,
        "malformed_taken_as_valid": outcome.wrongly_taken,
        "longest_answer_s": round(outcome.longest_s, 3),
        "longest_valid_answer_s": round(outcome.longest_valid_s, 3),
        "requests_per_s": round(n / took_s),
        "took_s": round(took_s, 1),
        "seed": seed,
        "malformed_by_channel": dict(sorted(outcome.malformed.items())),
        "malformed_by_answer": dict(sorted(outcome.statuses.items())),
        "malformed_by_kind": dict(sorted(outcome.kinds.items())),
        "valid_by_channel": dict(sorted(outcome.valid.items())),
        "problems": outcome.problems,
    }


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--requests", type=int, default=REQUESTS)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    # Refusals are logged as warnings, 200,000 of them; Engine.IO also prints to the terminal.
    logging.basicConfig(level=logging.ERROR, handlers=[logging.NullHandler()])
    logging.getLogger("engineio.server").addHandler(logging.NullHandler())
    outcome, took_s = asyncio.run(fuzzed(given.requests, given.seed))
    targets = {
        f"at least {given.requests} malformed requests": outcome.malformed.total() - outcome.still_valid
        >= given.requests,
        "no answer of 5xx": outcome.server_errors == 0,
        "no unhandled exception, none logged": outcome.exceptions == 0,
        "never a hang": outcome.hangs == 0,
        "no row of a malformed request": outcome.rows_too_many == 0,
        "every malformed request refused": outcome.wrongly_taken == 0,
        "every valid message answered as expected": outcome.valid == outcome.answered,
    }
    write("fuzz", figures_of(outcome, took_s, given.seed), targets=targets)
    return 0 if all(targets.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
