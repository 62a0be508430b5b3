"""Serving: batches across callers, and versions that swap under load without a lost or a mixed answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from models.artifact import MANIFEST
from models.base import KIND, ArtifactInvalid, ModelUnavailable, ReadingFailed, Understanding
from models.registry import Registry
from models.runtime import MicroBatcher, ServedUnderstander
from models.understanding import HEADS, load_understander
from tests.tiny_models import ASSISTANT, filed, tiny_data, train_tiny
from training.dataset import Utterance

PHRASE = "tell me about the frobnicator"


def answer(text: str, version: str = "v1") -> Understanding:
    return Understanding(
        text=text,
        ranking=(),
        out_of_scope_score=0.0,
        is_out_of_scope=False,
        sentiment="neutral",
        sentiment_confidence=1.0,
        language="und",
        model_version=version,
    )


class Gate:
    """A reader whose passes the test lets through one by one; remembers each batch."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.entered = threading.Semaphore(0)
        self.open = threading.Semaphore(0)

    def read(self, texts: Sequence[str]) -> list[Understanding]:
        self.batches.append(list(texts))
        self.entered.release()
        assert self.open.acquire(timeout=10)
        if "broken" in texts:
            raise ZeroDivisionError("a bug")
        return [answer(text) for text in texts]

    async def wait_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, True, 10)


async def test_a_lone_request_leaves_at_once() -> None:
    batcher = MicroBatcher(lambda texts: [answer(text) for text in texts])
    (only,) = await asyncio.wait_for(batcher.understand(["hello"]), 5)
    assert only.text == "hello"
    await batcher.close()


async def test_what_arrives_during_a_pass_shares_the_next_one() -> None:
    gate = Gate()
    batcher = MicroBatcher(gate.read)
    first = asyncio.create_task(batcher.understand(["a"]))
    await gate.wait_entered()
    others = [asyncio.create_task(batcher.understand([f"b{i}", f"c{i}"])) for i in range(3)]
    await asyncio.sleep(0)
    assert batcher.waiting == 6
    gate.open.release(2)
    await first
    answers = await asyncio.gather(*others)
    assert gate.batches == [["a"], ["b0", "c0", "b1", "c1", "b2", "c2"]]
    assert [[u.text for u in pair] for pair in answers] == [[f"b{i}", f"c{i}"] for i in range(3)]
    await batcher.close()


async def test_a_batch_stays_within_its_token_budget() -> None:
    gate = Gate()
    batcher = MicroBatcher(gate.read, batch_tokens=30)
    texts = ["x" * 40] * 5  # 12 tokens each
    task = asyncio.create_task(batcher.understand(texts))
    gate.open.release(10)
    assert len(await task) == 5
    assert [len(batch) for batch in gate.batches] == [2, 2, 1]
    await batcher.close()


async def test_a_text_longer_than_the_budget_is_read_alone() -> None:
    batches: list[int] = []

    def read(texts: Sequence[str]) -> list[Understanding]:
        batches.append(len(texts))
        return [answer(text) for text in texts]

    batcher = MicroBatcher(read, batch_tokens=10)
    assert len(await batcher.understand(["很" * 100, "hi"])) == 2
    assert batches == [1, 1]
    await batcher.close()


async def test_a_full_queue_is_refused_at_once() -> None:
    gate = Gate()
    batcher = MicroBatcher(gate.read, max_waiting=2)
    first = asyncio.create_task(batcher.understand(["a"]))
    await gate.wait_entered()
    second = asyncio.create_task(batcher.understand(["b", "c"]))
    await asyncio.sleep(0)
    with pytest.raises(ModelUnavailable, match="2 messages wait"):
        await batcher.understand(["d"])
    gate.open.release(2)
    await asyncio.gather(first, second)
    await batcher.close()


async def test_a_text_that_comes_while_the_last_pass_ends_is_not_left_waiting() -> None:
    batcher = MicroBatcher(lambda texts: [answer(text) for text in texts])
    met = 0
    for _ in range(300):
        first = asyncio.create_task(batcher.understand(["first"]))
        while not first.done() and not any(task.done() for task in batcher._draining):
            await asyncio.sleep(0)
        met += any(task.done() for task in batcher._draining)
        async with asyncio.timeout(2):  # not `wait_for`: its task would begin a moment later
            (second,) = await batcher.understand(["second"])
        assert second.text == "second"
        await first
    assert met  # else the moment that this is about never came
    await batcher.close()


async def test_a_text_that_breaks_the_model_fails_alone() -> None:
    gate = Gate()
    batcher = MicroBatcher(gate.read)
    first = asyncio.create_task(batcher.understand(["a"]))
    await gate.wait_entered()
    others = [asyncio.create_task(batcher.understand([text])) for text in ("b", "broken", "c")]
    await asyncio.sleep(0)
    gate.open.release(10)
    await first
    said = await asyncio.gather(*others, return_exceptions=True)
    assert isinstance(said[1], ReadingFailed)
    assert [answers[0].text for answers in (said[0], said[2]) if isinstance(answers, list)] == ["b", "c"]
    assert gate.batches == [["a"], ["b", "broken", "c"], ["b"], ["broken"], ["c"]]
    await batcher.close()


async def test_a_caller_who_gave_up_costs_no_reading() -> None:
    gate = Gate()
    batcher = MicroBatcher(gate.read)
    first = asyncio.create_task(batcher.understand(["a"]))
    await gate.wait_entered()
    second = asyncio.create_task(batcher.understand(["b"]))
    third = asyncio.create_task(batcher.understand(["c"]))
    await asyncio.sleep(0)
    second.cancel()
    gate.open.release(2)
    await asyncio.gather(first, third)
    assert gate.batches == [["a"], ["c"]]
    await batcher.close()


async def test_the_event_loop_turns_while_a_pass_runs() -> None:
    gate = Gate()
    batcher = MicroBatcher(gate.read)
    task = asyncio.create_task(batcher.understand(["a"]))
    await gate.wait_entered()
    turned = 0
    for _ in range(100):
        await asyncio.sleep(0)
        turned += 1
    assert not task.done()
    gate.open.release()
    await task
    assert turned == 100
    await batcher.close()


async def test_closing_answers_whoever_still_waits() -> None:
    gate = Gate()
    batcher = MicroBatcher(gate.read)
    first = asyncio.create_task(batcher.understand(["a"]))
    await gate.wait_entered()
    second = asyncio.create_task(batcher.understand(["b"]))
    await asyncio.sleep(0)
    closing = asyncio.create_task(batcher.close())
    with pytest.raises(ModelUnavailable, match="stopping"):
        await second
    gate.open.release()
    assert (await first)[0].text == "a"
    await closing


# ---- versions ----

EXTRA = tuple(
    Utterance(text=text, label="ask_frobnicator", language="en")
    for text in (PHRASE, "what is a frobnicator", "frobnicator details", "do you sell frobnicators")
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Registry, str, str]:
    """A registry with two versions; the second knows one more intent."""
    folder = tmp_path_factory.mktemp("models")
    registry = Registry(folder / "registry", ASSISTANT)
    return registry, filed(registry, folder / "a"), filed(registry, folder / "b", EXTRA)


@pytest.fixture
def registry(trained: tuple[Registry, str, str], tmp_path: Path) -> Registry:
    """A private copy of the trained registry, nothing promoted."""
    shutil.copytree(trained[0].root, tmp_path / "models" / ASSISTANT)
    return Registry(tmp_path / "models", ASSISTANT)


def versions(registry: Registry) -> tuple[str, str]:
    by_intents = sorted(registry.versions(KIND), key=lambda v: len(registry.manifest(KIND, v).intents))
    return by_intents[0], by_intents[1]


async def test_without_a_current_version_the_server_says_so_and_becomes_ready_when_there_is_one(
    registry: Registry,
) -> None:
    served = ServedUnderstander(registry, KIND)
    await served.start()
    with pytest.raises(ModelUnavailable, match="kefu train"):
        await served.understand(["hello"])
    assert not served.status().is_ready
    assert "kefu train" in (served.status().problem or "")
    first, _ = versions(registry)
    registry.promote(KIND, first)
    assert (await asyncio.wait_for(served.settled(first), 20)).version == first
    assert (await served.understand(["hello there"]))[0].intent.name == "greet"
    assert served.status().is_ready
    await served.stop()


async def test_a_server_leaves_the_cores_to_its_passes(registry: Registry) -> None:
    """A second BLAS thread would wait on the core that another pass needs."""
    threadpool_limits(2, user_api="blas")
    served = ServedUnderstander(registry, KIND)
    await served.start()
    await served.stop()
    assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}


async def test_promotion_and_rollback_swap_under_load_and_no_answer_is_lost_or_mixed(registry: Registry) -> None:
    first, second = versions(registry)
    registry.promote(KIND, first)
    served = ServedUnderstander(registry, KIND)
    await served.start()
    answers: list[Understanding] = []
    is_over = asyncio.Event()

    async def customer() -> int:
        sent = 0
        while not is_over.is_set():
            answers.extend(await served.understand([PHRASE, "hello there"]))
            sent += 2
            await asyncio.sleep(0)
        return sent

    customers = [asyncio.create_task(customer()) for _ in range(4)]
    registry.promote(KIND, second)
    assert (await asyncio.wait_for(served.settled(second), 20)).version == second
    assert (await served.understand([PHRASE]))[0].intent.name == "ask_frobnicator"
    assert registry.rollback(KIND) == first
    assert (await asyncio.wait_for(served.settled(first), 20)).version == first
    is_over.set()
    assert sum(await asyncio.gather(*customers)) == len(answers)
    assert {a.model_version for a in answers} == {first, second}
    for a in answers:
        knows = "ask_frobnicator" in {score.name for score in a.ranking}
        assert knows == (a.model_version == second)
    await served.stop()


async def test_a_version_whose_probes_answer_otherwise_never_serves(registry: Registry) -> None:
    first, second = versions(registry)
    registry.promote(KIND, first)
    served = ServedUnderstander(registry, KIND)
    await served.start()
    path = registry.path(KIND, second) / MANIFEST
    raw = json.loads(path.read_text())
    raw["probes"][0]["intent"] = "return_item"
    path.write_text(json.dumps(raw))
    registry.promote(KIND, second)
    status = await asyncio.wait_for(served.settled(second), 20)
    assert (status.version, status.wanted) == (first, second)
    assert "does not answer as when it was trained" in (status.problem or "")
    assert (await served.understand(["hello there"]))[0].model_version == first
    registry.promote(KIND, first)
    assert (await asyncio.wait_for(served.settled(first), 20)).problem is None
    await served.stop()


async def test_a_version_damaged_on_disk_never_serves(registry: Registry) -> None:
    first, second = versions(registry)
    registry.promote(KIND, first)
    served = ServedUnderstander(registry, KIND)
    await served.start()
    (registry.path(KIND, second) / "heads.npz").write_bytes(b"rotten")
    registry.current_file(KIND).write_text(second)
    status = await asyncio.wait_for(served.settled(second), 20)
    assert status.version == first
    assert "heads.npz: altered" in (status.problem or "")
    await served.stop()


async def test_a_version_written_otherwise_is_refused_and_the_next_one_serves(registry: Registry) -> None:
    first, second = versions(registry)
    registry.promote(KIND, first)
    served = ServedUnderstander(registry, KIND)
    await served.start()
    folder = registry.path(KIND, second)
    with np.load(folder / HEADS) as stored:  # of the right hash, and without what the loader looks for
        np.savez(folder / HEADS, **{name: stored[name] for name in stored.files if name != "intent.bias"})
    raw = json.loads((folder / MANIFEST).read_text())
    raw["files"][HEADS] = hashlib.sha256((folder / HEADS).read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(raw))
    registry.promote(KIND, second)
    status = await asyncio.wait_for(served.settled(second), 20)
    assert status.version == first
    assert "does not load (KeyError" in (status.problem or "")
    registry.promote(KIND, first)
    assert (await asyncio.wait_for(served.settled(first), 20)).problem is None
    await served.stop()


# ---- one version ----


def test_reading_gives_calibrated_sorted_rankings_and_everything_beside(trained: tuple[Registry, str, str]) -> None:
    registry, first, _ = trained
    reader = load_understander(registry.path(KIND, first), 1)
    greeting, chinese, odd = reader.read(["Hello there", "我的订单到哪了", "👍"])
    for understood in (greeting, chinese, odd):
        assert sum(s.confidence for s in understood.ranking) == pytest.approx(1, abs=1e-5)
        assert [s.confidence for s in understood.ranking] == sorted(
            (s.confidence for s in understood.ranking), reverse=True
        )
        assert understood.model_version == first
    assert (greeting.intent.name, greeting.language) == ("greet", "en")
    assert (chinese.intent.name, chinese.language) == ("order_status", "zh")
    assert odd.language == "und"
    assert reader.read([]) == []


def test_a_text_is_read_alike_alone_and_in_company(trained: tuple[Registry, str, str]) -> None:
    registry, first, _ = trained
    reader = load_understander(registry.path(KIND, first), 1)
    texts = [u.text for u in tiny_data().intents]
    together = reader.read(texts)
    for alone, other in zip((reader.read([text])[0] for text in texts), together, strict=True):
        assert alone.intent == other.intent
        assert alone.out_of_scope_score == pytest.approx(other.out_of_scope_score, abs=1e-4)


def test_values_annotated_in_examples_are_found_and_named(trained: tuple[Registry, str, str]) -> None:
    registry, first, _ = trained
    (understood,) = load_understander(registry.path(KIND, first), 1).read(["can I return my Trainers?"])
    assert [(e.entity, e.value, e.start, e.end) for e in understood.entities] == [("product", "shoes", 16, 24)]


def test_a_folder_of_another_kind_does_not_load(tmp_path: Path) -> None:
    train_tiny(tmp_path / "v")
    path = tmp_path / "v" / MANIFEST
    path.write_text(path.read_text().replace('"kind": "understanding"', '"kind": "generation"'))
    with pytest.raises(ArtifactInvalid, match="generation"):
        load_understander(tmp_path / "v", 1)


def test_serving_loads_no_training_library(trained: tuple[Registry, str, str]) -> None:
    registry, first, _ = trained
    program = (
        "import sys; from pathlib import Path; from models.runtime import ServedUnderstander; "
        "from models.understanding import load_understander; "
        f"load_understander(Path({str(registry.path(KIND, first))!r}), 1).read(['hello']); "
        "heavy = {'torch', 'transformers', 'sklearn', 'scipy', 'training', 'matplotlib'}; "
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
