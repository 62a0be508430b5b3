"""What every `Understander` keeps: in this process, and as replicas on a Ray cluster behind its client.

A lost replica costs no turn: that is asked here too, of the whole platform, because the cluster stands already.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.app import load_bot
from bot.settings import load_settings
from models.artifact import MANIFEST
from models.base import KIND, ModelUnavailable, Understanding
from models.client import RemoteUnderstander
from models.registry import Registry
from models.runtime import MAX_WAITING, ServedUnderstander
from models.understanding import load_understander
from tests.lab import Lab, running
from tests.serving_models import HAS_RAY, WHY_SKIPPED, ServedModels
from tests.tiny_models import ASSISTANT, filed, tiny_data
from training.dataset import Utterance

PHRASE = "tell me about the frobnicator"
EXTRA = tuple(
    Utterance(text=text, label="ask_frobnicator", language="en")
    for text in (PHRASE, "what is a frobnicator", "frobnicator details", "do you sell frobnicators")
)
ODD = ("", " ", "👍", "can I return my Trainers?", "我的order到哪了", "x" * 3000, "half a pair: \ud83d", "a\x00b")
SETTLES_WITHIN_S = 60

ray_only = pytest.mark.skipif(not HAS_RAY, reason=WHY_SKIPPED)
Served = ServedUnderstander | RemoteUnderstander


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Registry, str, str]:
    """A registry with two versions, the first promoted; the second knows one more intent."""
    home = tmp_path_factory.mktemp("versions")
    registry = Registry(home / "models", ASSISTANT)
    first, second = filed(registry, home / "a"), filed(registry, home / "b", EXTRA)
    registry.promote(KIND, first)
    return registry, first, second


@pytest.fixture(scope="module")
def cluster(versions: tuple[Registry, str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModels]:
    """Two replicas over a copy of that registry; one start for all tests."""
    home = tmp_path_factory.mktemp("ray")
    shutil.copytree(versions[0].root, home / "models" / ASSISTANT)
    served = ServedModels(home=home)
    served.start()
    yield served
    assert served.stop() == 0


@pytest.fixture(params=["in this process", pytest.param("on Ray", marks=ray_only)])
async def served(
    request: pytest.FixtureRequest, versions: tuple[Registry, str, str], tmp_path: Path
) -> AsyncIterator[tuple[Served, Registry]]:
    """An understander that serves the first version, and the registry that it follows."""
    understander: Served
    if request.param == "on Ray":
        cluster: ServedModels = request.getfixturevalue("cluster")
        registry, understander = cluster.registry, cluster.client()
    else:
        shutil.copytree(versions[0].root, tmp_path / "models" / ASSISTANT)
        registry = Registry(tmp_path / "models", ASSISTANT)
        understander = ServedUnderstander(registry, KIND)
    await understander.start()
    yield understander, registry
    await promoted(understander, registry, versions[1])  # as the next test expects it
    await understander.stop()


async def promoted(understander: Served, registry: Registry, version: str) -> str | None:
    """Promote and wait until it serves everywhere, or was refused; the problem then."""
    registry.promote(KIND, version)
    return (await asyncio.wait_for(understander.settled(version), SETTLES_WITHIN_S)).problem


def timeless(readings: list[Understanding]) -> list[Understanding]:
    return [replace(reading, latency_ms=0.0) for reading in readings]


async def test_texts_are_read_as_the_version_on_disk_reads_them(
    served: tuple[Served, Registry], versions: tuple[Registry, str, str]
) -> None:
    understander, registry = served
    reader = load_understander(registry.path(KIND, versions[1]), 1)
    texts = [*(utterance.text for utterance in tiny_data().intents), *ODD]
    for text in texts:  # alone: what shares a pass may differ in the last bits
        assert timeless(await understander.understand([text])) == timeless(reader.read([text]))
    assert await understander.understand([]) == []


async def test_answers_come_in_the_order_of_the_texts_however_many_ask(served: tuple[Served, Registry]) -> None:
    understander, _ = served
    texts = [f"where is order {number}?" for number in range(120)]
    groups = [texts[k : k + 3] for k in range(0, len(texts), 3)]
    said = await asyncio.gather(*(understander.understand(group) for group in groups))
    assert [reading.text for readings in said for reading in readings] == texts
    assert {reading.intent.name for readings in said for reading in readings} == {"order_status"}


async def test_a_promotion_and_a_rollback_swap_under_load_without_a_lost_or_mixed_reading(
    served: tuple[Served, Registry], versions: tuple[Registry, str, str]
) -> None:
    understander, registry = served
    _, first, second = versions
    readings: list[Understanding] = []
    is_over = asyncio.Event()

    async def customer() -> int:
        sent = 0
        while not is_over.is_set():
            readings.extend(await understander.understand([PHRASE, "hello there"]))
            sent += 2
            await asyncio.sleep(0)
        return sent

    customers = [asyncio.create_task(customer()) for _ in range(4)]
    assert await promoted(understander, registry, second) is None
    assert understander.version == second
    assert (await understander.understand([PHRASE]))[0].intent.name == "ask_frobnicator"
    assert registry.rollback(KIND) == first
    await asyncio.wait_for(understander.settled(first), SETTLES_WITHIN_S)
    assert (await understander.understand(["hello there"]))[0].model_version == first
    is_over.set()
    assert sum(await asyncio.gather(*customers)) == len(readings)
    assert {reading.model_version for reading in readings} == {first, second}
    for reading in readings:
        knows = "ask_frobnicator" in {score.name for score in reading.ranking}
        assert knows == (reading.model_version == second)


async def test_more_than_can_wait_is_refused_at_once_and_the_next_reading_is_not(
    served: tuple[Served, Registry],
) -> None:
    understander, _ = served
    async with asyncio.timeout(5):
        with pytest.raises(ModelUnavailable, match="wait for the model already"):
            await understander.understand(["hello"] * (MAX_WAITING + 1))
    assert len(await understander.understand(["hello there"])) == 1


async def test_a_version_that_answers_otherwise_than_when_trained_keeps_the_old_one(
    served: tuple[Served, Registry], versions: tuple[Registry, str, str]
) -> None:
    understander, registry = served
    _, first, second = versions
    folder = registry.path(KIND, second)
    kept = (folder / MANIFEST).read_bytes()
    raw = json.loads(kept)
    raw["probes"][0]["intent"] = "order_status" if raw["probes"][0]["intent"] != "order_status" else "greet"
    (folder / MANIFEST).write_text(json.dumps(raw), encoding="utf-8")
    try:
        problem = await promoted(understander, registry, second)
        assert "does not answer as when it was trained" in (problem or "")
        assert understander.version == first
        assert understander.status().wanted == second
        assert (await understander.understand(["hello there"]))[0].model_version == first
    finally:
        (folder / MANIFEST).write_bytes(kept)


# ---- a replica is lost ----

TURNS = {"hello there": "Hello!", "where is my order": "On its way.", "I want to return these shoes": "Send it back."}
CUSTOMERS, MESSAGES, KILLED_AFTER = 8, 30, 60
# Read for half a second, so that each replica has one in its pass when it dies: what a replica has not accepted yet,
# Serve gives to another by itself.
LONG, IN_ITS_PASS_S = "where is my order? " * 15_000, 0.2


async def _talk(lab: Lab, sender: str, said: list[str]) -> None:
    asked = list(TURNS)
    for number in range(MESSAGES):
        text = asked[number % len(asked)]
        assert await lab.say(text, sender) == [TURNS[text]]
        said.append(text)


@ray_only
@pytest.mark.fault  # it needs both cores to itself: replicas, platform and load on a busy machine are too slow
async def test_a_replica_killed_under_load_loses_and_doubles_no_turn(
    cluster: ServedModels, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = cluster.reports()
    assert len(before) == cluster.replicas
    victim = next(iter(before.values()))
    settings = load_settings(home=cluster.home)
    bot = load_bot(cluster.assistant, settings)
    said: list[str] = []
    async with running(tmp_path, bot, models=cluster.models) as lab:
        assert isinstance(lab.platform.understander, RemoteUnderstander)
        assert (await lab.platform.ready())["ready"]
        senders = [f"customer-{number}" for number in range(CUSTOMERS)]
        talking = asyncio.gather(*(_talk(lab, sender, said) for sender in senders))
        while len(said) < KILLED_AFTER:
            await asyncio.sleep(0.001)
        slow = asyncio.gather(*(lab.platform.understander.understand([LONG]) for _ in range(2 * cluster.replicas)))
        await asyncio.sleep(IN_ITS_PASS_S)
        os.kill(victim.pid, signal.SIGKILL)
        await talking
        assert {reading.text for [reading] in await slow} == {LONG}
        assert "models.asked_again" in {record.getMessage() for record in caplog.records}
        assert len(said) == CUSTOMERS * MESSAGES
        for sender in senders:
            events = (await lab.tracker(sender))["events"]
            spoken = [event["text"] for event in events if event["event"] in {"user", "bot"}]
            texts = list(TURNS) * (MESSAGES // len(TURNS))
            assert spoken == [part for text in texts for part in (text, TURNS[text])]
        while victim.replica in (reports := cluster.reports()) or len(reports) < cluster.replicas:
            await asyncio.sleep(0.2)  # Serve starts another in its place
        assert (await lab.platform.ready())["model"]["problem"] is None
