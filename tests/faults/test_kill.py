"""Kill the serving process while customers write: nothing acknowledged is lost, doubled, out of order or unseen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.bench.bench_kill import LONG, record
from tests.faults.storm import Aftermath, Storm, blow
from tests.server import Server

SHORT = Storm(clients=10, messages=100, kills=2, deploys=1, pause_s=0.8)


def assert_kept(aftermath: Aftermath, storm: Storm) -> None:
    verdict = aftermath.verdict
    assert verdict.faults == ()
    assert verdict.resyncs == 0  # allowed by the contract, but a server that only died has no reason for one
    assert verdict.sent == verdict.acked == verdict.answered == storm.messages
    assert aftermath.errors == {}
    assert (aftermath.kills, aftermath.deploys) == (storm.kills, storm.deploys)
    # Had not every client lost its connection, this would have shown nothing about resuming.
    assert aftermath.connections >= storm.clients * 2


async def test_two_kills_and_a_deploy_lose_and_double_nothing(serve: Callable[..., Server]) -> None:
    assert_kept(await blow(serve(), SHORT), SHORT)


@pytest.mark.fault
async def test_twenty_kills_lose_and_double_nothing(serve: Callable[..., Server]) -> None:
    aftermath = await blow(serve(), LONG)
    record(LONG, aftermath)
    assert_kept(aftermath, LONG)
