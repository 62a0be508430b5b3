"""What Slack and WeChat ask of a server that is busy: acknowledged in time, answered once, one token for everybody.

python -m tests.bench.bench_channels                →  results/channels.json (three minutes)
python -m tests.bench.bench_channels --part slack   →  the same file with this part alone; also `wechat`, `token`

- slack: a real `kefu serve` on the trained starter and 100 signed events a second, each of another person. A schedule
  that waits for nobody; a time counts from the moment at which Slack would have sent the event. Slack's Web API and
  the senders are this one process, beside the server on the same machine.
- wechat: answers that take 20 s, WeChat's three tries with its real patience, 50 customers at once; once with the
  permission to send customer messages, once without it, where customers tap on "get the answer".
- token: 100 customer messages of two replicas on one PostgreSQL are refused at once, because the token has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.bench.report import REPOSITORY, write
from tests.bench.slack_load import slack_part
from tests.bench.wechat_load import token_part, wechat_part

Part = Callable[[argparse.Namespace, Path], tuple[Mapping[str, Any], Mapping[str, bool]]]


def slack(given: argparse.Namespace, folder: Path) -> tuple[Mapping[str, Any], Mapping[str, bool]]:
    return slack_part(folder, seconds=given.seconds, profile=given.profile)


def wechat(given: argparse.Namespace, folder: Path) -> tuple[Mapping[str, Any], Mapping[str, bool]]:
    return asyncio.run(wechat_part(folder, customers=given.customers))


def token(given: argparse.Namespace, folder: Path) -> tuple[Mapping[str, Any], Mapping[str, bool]]:
    return token_part(folder, refusals=given.refusals)


PARTS: Mapping[str, Part] = {"slack": slack, "wechat": wechat, "token": token}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--part", choices=PARTS, action="append", help="only this one; may be given again")
    options.add_argument("--seconds", type=int, default=60, help="how long Slack's events come")
    options.add_argument("--customers", type=int, default=50, help="of WeChat, at once")
    options.add_argument("--refusals", type=int, default=100, help="answers of 40001 at once")
    options.add_argument(
        "--profile", action="store_true", help="slack: sample the server (results/channels_profile.txt)"
    )
    given = options.parse_args()
    figures: dict[str, Any] = {}
    targets: dict[str, bool] = {}
    parent = REPOSITORY / ".kefu" / "bench"  # not under /tmp, which may be memory
    parent.mkdir(parents=True, exist_ok=True)
    for name in given.part or PARTS:
        with tempfile.TemporaryDirectory(dir=parent) as folder:
            found, met = PARTS[name](given, Path(folder))
        figures[name] = found
        targets |= {f"{name}: {target}": is_met for target, is_met in met.items()}
    write("channels", figures, targets=targets)
    return 0 if all(targets.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
