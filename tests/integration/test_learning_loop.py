"""The loop over real parts: files, database, training (character n-grams: a second each), registry."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bot import learning
from bot.assistant.loader import Assistant
from bot.errors import AssistantError
from bot.learning import (
    Stopped,
    TrainOutcome,
    export_review,
    import_review,
    retrain,
)
from bot.lessons import fixed_tests
from bot.settings import Settings
from bot.storage.database import Database
from models.artifact import read_manifest, sha256_file, write_manifest
from models.base import KIND
from models.registry import Registry
from models.understanding import load_understander
from tests.learning import EXAMPLES, SMALL_SHOP, TESTED_SHOP, log_messages, nlu, prediction, write_assistant
from tests.server import database_of

CONVERSATIONS = """
conversations:
- name: in and out
  steps:
  - {user: hello there, actions: [utter_greet]}
  - {user: /order_status, actions: [utter_order]}
  - {user: zap zap zap, actions: [utter_greet]}
"""
ZAP = ("zap zap zap", "zap zap", "zap it zap", "well zap zap")


class Shop:
    """A KEFU_HOME and an assistant folder whose files a test changes between trainings."""

    def __init__(self, folder: Path, *, trained: Path | None = None) -> None:
        if trained is not None:
            shutil.copytree(trained / "home", folder / "home")
        self.folder = folder / "shop"
        self.settings = Settings(home=folder / "home", assistant=self.folder)
        self.printed = io.StringIO()
        self.console = Console(file=self.printed, width=200)
        self.assistant = self.write(TESTED_SHOP)

    def write(self, files: Mapping[str, str]) -> Assistant:
        self.assistant = write_assistant(self.folder, files)
        return self.assistant

    def train(self, **options: object) -> TrainOutcome:
        return learning.train(self.settings, self.assistant, console=self.console, **options)  # type: ignore[arg-type]

    @property
    def registry(self) -> Registry:
        return Registry(self.settings.models_dir, "small-shop")

    def reads(self, text: str) -> str:
        """The intent that the serving version names."""
        return load_understander(self.registry.path(KIND, serving(self)), 1).read([text])[0].intent.name


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Nothing trained yet."""
    return Shop(tmp_path)


@pytest.fixture(scope="module")
def once_trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("once-trained")
    assert Shop(folder).train().promoted
    return folder


@pytest.fixture
def trained_shop(once_trained: Path, tmp_path: Path) -> Shop:
    """One version serves, trained from the files as they are."""
    return Shop(tmp_path, trained=once_trained)


def serving(shop: Shop) -> str:
    version = shop.registry.current(KIND)
    assert version is not None
    return version


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = database_of(tmp_path)
    yield database
    await database.close()


def shuffled() -> dict[str, tuple[str, ...]]:
    """Every intent with another's examples: a model that is really worse."""
    names = list(EXAMPLES)
    return {name: EXAMPLES[names[(k + 1) % len(names)]] for k, name in enumerate(names)}


def test_the_first_version_serves_and_nothing_changed_trains_nothing(shop: Shop) -> None:
    first = shop.train()
    assert (first.promoted, first.skipped, first.verdict) == (True, False, None)
    assert shop.registry.current(KIND) == first.version
    assert shop.reads("hello everybody") == "greet"
    assert "majority class" in shop.printed.getvalue()

    steps: list[str] = []
    again = shop.train(progress=lambda step, done, total: steps.append(step))
    assert (again.skipped, again.promoted, again.version) == (True, False, first.version)
    assert steps == []

    forced = shop.train(force=True)
    assert (forced.skipped, forced.promoted) == (False, True)
    assert forced.version != first.version
    assert len(shop.registry.versions(KIND)) == 2


def test_changed_rules_and_responses_train_nothing(trained_shop: Shop) -> None:
    first = serving(trained_shop)
    domain = TESTED_SHOP["domain.yml"].replace("Hello!", "Good day!")
    rules = TESTED_SHOP["data/rules.yml"].replace("rule: hello", "rule: welcome")
    trained_shop.write({"domain.yml": domain, "data/rules.yml": rules})
    assert trained_shop.train().skipped
    trained_shop.write({"data/nlu.yml": nlu(EXAMPLES | {"greet": (*EXAMPLES["greet"], "ahoy sailors")})})
    assert trained_shop.train().version != first


def test_a_challenger_that_no_longer_finds_the_tested_entities_does_not_serve(shop: Shop) -> None:
    lookup = "- lookup: product\n  examples: |\n    - lamp\n    - rug\n"
    messages = "".join(
        f"    - where is my [{name}](product) number {n}\n" for n in range(20) for name in ("lamp", "rug")
    )
    tests = {"tests/nlu_en.yml": f'version: "3.1"\nnlu:\n- intent: order_status\n  examples: |\n{messages}'}
    domain = "entities: [product]\n" + TESTED_SHOP["domain.yml"]
    shop.write({"domain.yml": domain, "data/nlu.yml": nlu(EXAMPLES) + lookup, **tests})
    assert shop.train().promoted
    shop.write({"data/nlu.yml": nlu(EXAMPLES)})
    outcome = shop.train()
    assert not outcome.promoted
    assert "worse on entities" in outcome.reason


def test_a_worse_challenger_is_kept_but_does_not_serve(trained_shop: Shop) -> None:
    champion = serving(trained_shop)
    trained_shop.write({"data/nlu.yml": nlu(shuffled())})
    outcome = trained_shop.train()
    assert not outcome.promoted
    assert outcome.verdict is not None
    assert not outcome.verdict.is_promoted
    assert "worse on intent" in outcome.reason
    shown = trained_shop.printed.getvalue()
    assert "challenger" in shown
    assert "worse" in shown
    assert trained_shop.registry.current(KIND) == champion
    assert outcome.version in trained_shop.registry.versions(KIND)
    assert trained_shop.reads("hello everybody") == "greet"

    repeated = trained_shop.train()
    assert (repeated.version, repeated.promoted) == (outcome.version, False), "judged again, not trained again"
    assert trained_shop.train(promote="always").promoted
    assert trained_shop.registry.current(KIND) == outcome.version


def test_never_means_never(shop: Shop) -> None:
    outcome = shop.train(promote="never")
    assert not outcome.promoted
    assert shop.registry.current(KIND) is None
    assert shop.registry.versions(KIND) == [outcome.version]


def test_a_challenger_that_breaks_a_conversation_does_not_serve(shop: Shop) -> None:
    greets = {"data/nlu.yml": nlu(EXAMPLES | {"greet": EXAMPLES["greet"] + ZAP})}
    shop.write({**greets, "tests/conversations.yml": CONVERSATIONS})
    first = shop.train()
    assert [(result.name, result.passed) for result in first.conversations] == [("in and out", True)]

    shop.write({"data/nlu.yml": nlu(EXAMPLES | {"goodbye": EXAMPLES["goodbye"] + ZAP})})
    outcome = shop.train()
    assert outcome.verdict is not None
    assert outcome.verdict.is_promoted, "the test messages see no difference"
    assert not outcome.promoted
    assert "in and out" in outcome.reason
    assert shop.registry.current(KIND) == first.version
    shown = shop.printed.getvalue()
    assert "conversations.yml:7" in shown
    assert "expected  utter_greet\n  got       utter_goodbye" in shown


def test_what_a_person_rolled_back_does_not_come_back_by_itself(trained_shop: Shop) -> None:
    first = serving(trained_shop)
    trained_shop.write({"data/nlu.yml": nlu(EXAMPLES | {"greet": (*EXAMPLES["greet"], "ahoy sailors")})})
    second = trained_shop.train()
    assert second.promoted
    assert trained_shop.registry.rollback(KIND) == first
    outcome = trained_shop.train()
    assert (outcome.version, outcome.promoted) == (second.version, False)
    assert "it was rolled back on" in outcome.reason
    assert trained_shop.registry.current(KIND) == first
    assert trained_shop.train(promote="always").promoted


def test_without_test_files_a_hold_out_is_tested_on_and_that_is_said(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    (shop.folder / "tests" / "nlu_en.yml").unlink()
    shop.write(SMALL_SHOP)
    outcome = shop.train()
    assert "kept out of training and tested on" in " ".join(shop.printed.getvalue().split())
    held = fixed_tests(shop.assistant).intents
    assert outcome.manifest.training["examples"] == sum(map(len, EXAMPLES.values())) - len(held)


# ---- interruptions ----


def test_a_version_promoted_meanwhile_is_not_replaced_unseen(trained_shop: Shop) -> None:
    first = serving(trained_shop)
    trained_shop.write({"data/nlu.yml": nlu(EXAMPLES | {"greet": (*EXAMPLES["greet"], "good day")})})
    second = trained_shop.train(promote="never").version
    trained_shop.write({"data/nlu.yml": nlu(EXAMPLES | {"greet": (*EXAMPLES["greet"], "howdy")})})

    def somebody_promotes(step: str, done: int, total: int) -> None:
        if (step, done) == ("promote", 0):
            trained_shop.registry.promote(KIND, second)

    outcome = trained_shop.train(progress=somebody_promotes)
    assert not outcome.promoted
    assert "compare again: kefu retrain" in outcome.reason
    assert (serving(trained_shop), first) == (second, trained_shop.registry.history(KIND)[0].version)
    assert trained_shop.train().promoted


def test_an_error_between_filing_and_promoting_leaves_current_alone(trained_shop: Shop) -> None:
    champion = serving(trained_shop)

    def fail(step: str, done: int, total: int) -> None:
        if step == "promote":
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        trained_shop.train(force=True, progress=fail)
    assert trained_shop.registry.current(KIND) == champion
    assert len(trained_shop.registry.versions(KIND)) == 2
    assert list(trained_shop.settings.home.glob(".training-*")) == []


KILLED_TRAINING = """
import os, signal, sys
from pathlib import Path
from rich.console import Console
from bot.assistant.loader import load_assistant
from bot.learning import train
from bot.settings import Settings
folder, home = Path(sys.argv[1]), Path(sys.argv[2])
def die(step, done, total):
    if step == "promote":
        os.kill(os.getpid(), signal.SIGKILL)
train(Settings(home=home), load_assistant(folder, {}), force=True, progress=die, console=Console())
"""


def test_a_killed_training_leaves_current_alone_and_the_next_one_tidies_up(trained_shop: Shop) -> None:
    champion = serving(trained_shop)
    command = [sys.executable, "-c", KILLED_TRAINING, str(trained_shop.folder), str(trained_shop.settings.home)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert trained_shop.registry.current(KIND) == champion
    assert len(trained_shop.registry.versions(KIND)) == 2
    assert list(trained_shop.settings.home.glob(".training-*")), "what it was killed over"
    assert trained_shop.train().skipped
    assert list(trained_shop.settings.home.glob(".training-*")) == []


def test_a_second_training_waits_for_the_first(trained_shop: Shop) -> None:
    lock = (trained_shop.settings.home / "training.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    steps: list[str] = []

    def let_go(step: str, done: int, total: int) -> None:
        steps.append(step)
        lock.close()

    assert trained_shop.train(progress=let_go).skipped
    assert steps == ["wait for another training"]


async def test_a_cancelled_retraining_stops_and_promotes_nothing(shop: Shop, db: Database) -> None:
    reached, cancelled = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def wait_at_promotion(step: str, done: int, total: int) -> None:
        if step == "write" and done == 0:
            loop.call_soon_threadsafe(reached.set)
            assert cancelled.wait(30)

    work = asyncio.create_task(
        retrain(shop.settings, shop.assistant, db, progress=wait_at_promotion, console=shop.console)
    )
    await asyncio.wait({work, asyncio.ensure_future(reached.wait())}, return_when=asyncio.FIRST_COMPLETED)
    assert not work.done(), work.exception()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    cancelled.set()

    def until_it_let_go() -> None:
        with (shop.settings.home / "training.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

    await asyncio.to_thread(until_it_let_go)
    assert shop.registry.current(KIND) is None
    assert shop.registry.versions(KIND) == []


def test_stopping_is_possible_until_the_last_step(shop: Shop) -> None:
    def stop(step: str, done: int, total: int) -> None:
        if step == "promote":
            raise Stopped

    with pytest.raises(Stopped):
        shop.train(progress=stop)
    assert shop.registry.current(KIND) is None


def test_a_damaged_champion_is_said_and_replaced(trained_shop: Shop) -> None:
    champion = serving(trained_shop)
    heads = trained_shop.registry.path(KIND, champion) / "heads.npz"
    heads.write_bytes(heads.read_bytes()[:-100])
    outcome = trained_shop.train()
    assert (outcome.skipped, outcome.promoted) == (False, True)
    assert outcome.version != champion
    assert "damaged" in trained_shop.printed.getvalue()


def test_a_champion_that_this_program_cannot_load_is_said_and_replaced(trained_shop: Shop) -> None:
    folder = trained_shop.registry.path(KIND, serving(trained_shop))
    (folder / "heads.npz").unlink()
    np.savez(folder / "heads.npz", of_another_release=np.zeros(1))
    manifest = read_manifest(folder)
    hashes = manifest.files | {"heads.npz": sha256_file(folder / "heads.npz")}
    write_manifest(folder, replace(manifest, files=hashes, fingerprint="of another release"))
    outcome = trained_shop.train()
    assert (outcome.promoted, outcome.verdict) == (True, None)
    assert "does not load" in trained_shop.printed.getvalue()


# ---- from the log ----


async def test_a_reviewed_message_is_learned_and_personal_data_is_not(
    trained_shop: Shop, db: Database, tmp_path: Path
) -> None:
    first = serving(trained_shop)
    assert trained_shop.reads("wibble wobble quux") != "return_item"
    logged = (
        prediction("wibble wobble anna.weber@example.com", confidence=0.2, fallback=True),
        prediction("quux wibble wobble", confidence=0.2, fallback=True),
        prediction("hi team", confidence=0.99),
    )
    await db.write(lambda c: log_messages(c, "small-shop", *logged))

    file = tmp_path / "review.jsonl"
    await export_review(db, "small-shop", file)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows:
        row["label"] = "return_item" if "wibble" in row["text"] else None
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert (await import_review(db, trained_shop.assistant, file)).taken == 2

    outcome = await retrain(trained_shop.settings, trained_shop.assistant, db, console=trained_shop.console)
    assert outcome.promoted, outcome.reason
    assert outcome.version != first
    assert trained_shop.reads("wibble wobble quux") == "return_item"
    for path in trained_shop.registry.path(KIND, outcome.version).iterdir():
        assert b"anna" not in path.read_bytes(), path
    assert (await retrain(trained_shop.settings, trained_shop.assistant, db, console=trained_shop.console)).skipped

    assert trained_shop.registry.rollback(KIND) == first
    assert trained_shop.reads("wibble wobble quux") != "return_item"


async def test_wrong_labels_do_not_reach_customers(trained_shop: Shop, db: Database) -> None:
    champion = serving(trained_shop)
    names = list(EXAMPLES)
    wrong = {
        f"{text} {n}": names[(names.index(name) + 1) % 4] for name in names for text in EXAMPLES[name] for n in "xyz"
    }
    ids = await db.write(lambda c: log_messages(c, "small-shop", *(prediction(text) for text in wrong)))
    file = trained_shop.settings.home / "wrong.jsonl"
    rows = zip(ids, wrong.values(), strict=True)
    file.write_text("".join(json.dumps({"prediction_id": number, "label": name}) + "\n" for number, name in rows))
    await import_review(db, trained_shop.assistant, file)
    outcome = await retrain(trained_shop.settings, trained_shop.assistant, db, console=trained_shop.console)
    assert not outcome.promoted
    assert trained_shop.registry.current(KIND) == champion


# ---- bases and errors ----


def test_a_base_that_cannot_be_had_falls_back_loudly_and_once(shop: Shop) -> None:
    shop.write({"kefu.yml": "base: no-such-owner-of-kefu/no-such-base\n"})
    outcome = shop.train()
    assert outcome.manifest.base == "ngram"
    shown = shop.printed.getvalue()
    assert shown.count("no pretrained model") == 1
    assert "no-such-owner-of-kefu/no-such-base" in shown
    assert shop.train().skipped


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"kefu.yml": "base: ngram\nrecipe: slow\n"}, "unknown recipe 'slow'; one of quick"),
        ({"data/nlu.yml": nlu({"greet": EXAMPLES["greet"]})}, "a model needs at least two"),
    ],
)
def test_what_cannot_be_trained_is_said_with_its_place(shop: Shop, files: dict[str, str], says: str) -> None:
    shop.write(files)
    with pytest.raises(AssistantError) as refused:
        shop.train()
    assert says in str(refused.value)
    assert str(shop.folder) in str(refused.value)
    assert shop.registry.versions(KIND) == []
