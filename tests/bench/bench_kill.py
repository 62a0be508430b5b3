"""20 SIGKILLs while 20 web-chat customers send 2,000 messages: lost, answered twice, out of order, gaps.

python -m tests.bench.bench_kill [--seed 7]  →  results/kill.json
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import asdict

from tests.bench.report import percentile, write
from tests.bench.serving import fresh_home, serving
from tests.faults.storm import Aftermath, Storm, blow

LONG = Storm(clients=20, messages=2_000, kills=20, deploys=2)


def record(storm: Storm, aftermath: Aftermath) -> None:
    """Write results/kill.json, with every fault in words."""
    verdict = aftermath.verdict
    figures = {
        "n_messages": verdict.sent,
        "n_clients": storm.clients,
        "seed": storm.seed,
        "sigkills": aftermath.kills,
        "sigkills_while_starting": aftermath.kills_while_starting,
        "deploys": aftermath.deploys,
        "connections": aftermath.connections,
        "acknowledged": verdict.acked,
        "answered": verdict.answered,
        "entries_received": verdict.received,
        "lost": verdict.counts["lost"],
        "answered_twice": verdict.counts["twice"],
        "out_of_order": verdict.counts["order"],
        "resume_gaps": verdict.counts["gap"],
        "invented": verdict.counts["invented"],
        "resyncs": verdict.resyncs,
        "error_frames": aftermath.errors,
        "kill_to_ready_p50_s": round(percentile(aftermath.restart_s, 50), 2),
        "kill_to_ready_max_s": round(max(aftermath.restart_s), 2),
        "seconds": aftermath.seconds,
        "faults": [asdict(fault) for fault in verdict.faults[:50]],
    }
    targets = {f"0 {kind}": count == 0 for kind, count in verdict.counts.items()}
    targets |= {"0 resyncs": verdict.resyncs == 0, "every message acknowledged": verdict.acked == verdict.sent}
    write("kill", figures, targets=targets)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=LONG.seed)
    options.add_argument("--messages", type=int, default=LONG.messages)
    options.add_argument("--kills", type=int, default=LONG.kills)
    given = options.parse_args()
    storm = Storm(
        clients=LONG.clients, messages=given.messages, kills=given.kills, deploys=LONG.deploys, seed=given.seed
    )
    with fresh_home() as home, serving(home) as server:
        aftermath = asyncio.run(blow(server, storm))
    record(storm, aftermath)
    return 0 if aftermath.verdict.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
