"""The delivery contract under faults: three channels, 10 minutes, SIGKILL, SIGSTOP, deploys, database restarts.

python -m tests.bench.bench_faults sqlite|postgresql|slack-bolt [--seconds 600] [--seed 0]  →  results/faults_….json
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench.report import REPOSITORY, write
from tests.faults.checker import KINDS
from tests.faults.deployment import Deployment, on_postgres, one_process, slack_bolt
from tests.faults.harness import Aftermath, Deploys, Weather, blow

MINUTES = 600
CUSTOMERS = {"slack": 40, "wechat": 40, "web": 60}
MESSAGES = {"slack": 3_600, "wechat": 1_600, "web": 6_000}
STRIKES = {
    "sqlite": {"kill serve": 34, "pause serve": 5, "deploy serve": 3},
    "postgresql": {
        "kill web": 14,
        "kill worker": 16,
        "kill every worker": 2,
        "pause web": 4,
        "pause worker": 4,
        "freeze worker": 1,
        "database": 4,
        "deploy web": 2,
        "deploy worker": 2,
    },
    "slack-bolt": {"kill serve": 34, "pause serve": 5, "deploy serve": 3},
}
UNKNOWN_SHARE = 0.005


def weather_of(backend: str, seconds: float, seed: int) -> Weather:
    """The same weather, longer or shorter."""
    share = seconds / MINUTES
    return Weather(
        seconds=seconds,
        customers=CUSTOMERS,
        messages={channel: max(CUSTOMERS[channel], round(count * share)) for channel, count in MESSAGES.items()},
        strikes={what: max(1, round(times * share)) for what, times in STRIKES[backend].items()},
        seed=seed,
    )


def deploys_of(backend: str) -> Deploys:
    def control(folder: Path, credentials: Mapping[str, Any]) -> AbstractContextManager[Deployment]:
        return slack_bolt(folder, credentials["slack"]["api_url"])

    return {"sqlite": one_process, "postgresql": on_postgres, "slack-bolt": control}[backend]


def figures_of(aftermath: Aftermath, weather: Weather) -> dict[str, Any]:
    verdicts = aftermath.verdicts
    acked = sum(verdict.acked for verdict in verdicts.values())
    unknown = sum(aftermath.unknown.values())
    totals = {kind: sum(verdict.counts[kind] for verdict in verdicts.values()) for kind in KINDS}
    return {
        "n_messages": sum(verdict.sent for verdict in verdicts.values()),
        "acknowledged": acked,
        "answered": sum(verdict.answered for verdict in verdicts.values()),
        "sigkills": aftermath.sigkills,
        "strikes": dict(aftermath.strikes),
        "lost": totals["lost"],
        "answered_twice": totals["twice"],
        "out_of_order": totals["order"],
        "resume_gaps": totals["gap"],
        "invented": totals["invented"],
        "unknown": unknown,
        "unknown_percent": round(100 * unknown / max(1, acked), 3),
        "dead": aftermath.dead,
        "slack_lookups": aftermath.slack_lookups,
        "resyncs": sum(verdict.resyncs for verdict in verdicts.values()),
        "channels": {
            channel: {
                "customers": weather.customers[channel],
                "sent": verdict.sent,
                "acknowledged": verdict.acked,
                "answered": verdict.answered,
                "unknown": aftermath.unknown.get(channel, 0),
                **verdict.counts,
            }
            for channel, verdict in verdicts.items()
        },
        "web_connections": aftermath.connections,
        "web_error_frames": dict(aftermath.errors),
        "seed": weather.seed,
        "seconds": aftermath.seconds,
        "faults": [asdict(fault) for verdict in verdicts.values() for fault in verdict.faults[:30]],
    }


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("backend", choices=STRIKES)
    options.add_argument("--seconds", type=float, default=MINUTES)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    weather = weather_of(given.backend, given.seconds, given.seed)
    parent = REPOSITORY / ".kefu" / "bench"  # a real disk
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        aftermath = asyncio.run(blow(Path(folder), deploys_of(given.backend), weather))
    figures = figures_of(aftermath, weather)
    none_of = ("lost", "answered_twice", "out_of_order", "resume_gaps", "invented", "dead")
    targets = {f"0 {name}": figures[name] == 0 for name in none_of}
    targets |= {
        "unknown ≤ 0.5 %": figures["unknown_percent"] <= 100 * UNKNOWN_SHARE,
        "≥ 10,000 messages": figures["n_messages"] >= 10_000,
        "≥ 30 kills": figures["sigkills"] >= 30,
    }
    write(f"faults_{given.backend.replace('-', '_')}", figures, targets=targets)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
