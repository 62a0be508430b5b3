"""The fault harness, short: each backend keeps the contract; the control shows that the harness finds what is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bench.bench_faults import deploys_of
from tests.faults.harness import Aftermath, Weather, blow
from tests.postgres import find_binaries

CUSTOMERS = {"slack": 6, "wechat": 4, "web": 8}
MESSAGES = {"slack": 48, "wechat": 12, "web": 64}


async def blown(folder: Path, backend: str, **strikes: int) -> Aftermath:
    weather = Weather(seconds=20, customers=CUSTOMERS, messages=MESSAGES, strikes=strikes)
    return await blow(folder, deploys_of(backend), weather)


def assert_kept(aftermath: Aftermath) -> None:
    assert {name: verdict.faults for name, verdict in aftermath.verdicts.items() if verdict.faults} == {}
    assert aftermath.dead == 0
    assert set(aftermath.verdicts) == {"slack", "wechat", "web"}
    for channel, verdict in aftermath.verdicts.items():
        assert verdict.acked - verdict.answered == aftermath.unknown.get(channel, 0)
    assert aftermath.verdicts["web"].answered == MESSAGES["web"]


async def test_one_process_keeps_the_contract(tmp_path: Path) -> None:
    aftermath = await blown(tmp_path, "sqlite", **{"kill serve": 2})
    assert_kept(aftermath)
    assert aftermath.sigkills == 2


@pytest.mark.postgres
@pytest.mark.skipif(find_binaries() is None and os.environ.get("CI") != "true", reason="no PostgreSQL is installed")
async def test_two_web_and_two_worker_processes_keep_the_contract(tmp_path: Path) -> None:
    aftermath = await blown(tmp_path, "postgresql", **{"kill web": 1, "kill worker": 1, "database": 1})
    assert_kept(aftermath)
    assert aftermath.strikes == {"kill web": 1, "kill worker": 1, "database": 1}
