"""The command line as a person uses it: real processes, readable errors, quick help."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from bot.storage import arrivals, inbox, predictions
from bot.storage.predictions import Label
from bot.storage.tables import events
from models.registry import Registry
from tests.contract.turns import NOON, finish, message
from tests.learning import EXAMPLES, SMALL_SHOP, TESTED_SHOP, log_messages, prediction, write_assistant
from tests.server import STARTER, database_of, kefu, stored

TESTS = Path(__file__).parents[1]
COMMANDS = (
    "init", "train", "serve", "chat", "validate", "evaluate", "explain", "review", "retrain", "models", "db", "doctor",
    "handoffs", "outbox",
)  # fmt: skip


def processor_seconds(*arguments: str, home: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    kefu(*arguments, home=home)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_lists_every_command_and_is_quick(tmp_path: Path) -> None:
    text = kefu("--help", home=tmp_path).stdout  # byte-compiles too
    # Processor time, and the best of three: a busy machine's clock says nothing about the command.
    assert min(processor_seconds("--help", home=tmp_path) for _ in range(3)) < 1.5
    assert all(command in text for command in COMMANDS)


@pytest.mark.parametrize(
    "command",
    [*COMMANDS, "review export", "review import", "models list", "models show", "models promote", "models rollback"],
)
def test_every_command_explains_itself(command: str, tmp_path: Path) -> None:
    assert "Usage" in kefu(*command.split(), "--help", home=tmp_path).stdout


def test_help_and_serving_import_no_torch() -> None:
    loads = (
        "import sys, bot.cli, bot.app; print(sorted({'torch', 'transformers', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_init_copies_a_project_that_validates(tmp_path: Path) -> None:
    kefu("init", str(tmp_path / "shop"), home=tmp_path)
    assert "ok" in kefu("validate", str(tmp_path / "shop"), home=tmp_path).stdout


def test_init_refuses_a_folder_with_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    done = kefu("init", str(tmp_path), home=tmp_path / "home", check=False)
    assert done.returncode == 1
    assert "not empty" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt"]


def test_validate_names_file_line_and_remedy(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    kefu("init", str(shop), home=tmp_path)
    rules = shop / "data" / "rules.yml"
    lines = rules.read_text(encoding="utf-8").splitlines()
    line = next(number for number, text in enumerate(lines) if text.strip().startswith("- intent: goodbye"))
    lines[line] = lines[line].replace("goodbye", "goodbuy")
    rules.write_text("\n".join(lines), encoding="utf-8")
    done = kefu("validate", str(shop), home=tmp_path, check=False)
    assert done.returncode == 1
    assert f"rules.yml:{line + 1}" in done.stderr
    assert "goodbuy" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_folder_is_an_error_with_its_name(tmp_path: Path) -> None:
    done = kefu("train", str(tmp_path / "nowhere"), home=tmp_path / "home", check=False)
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_warns_when_the_disclosure_is_off(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    kefu("init", str(shop), home=tmp_path)
    assert "OFF" not in kefu("doctor", str(shop), home=tmp_path, COLUMNS="200").stdout
    brand = shop / "brand.yml"
    brand.write_text(brand.read_text(encoding="utf-8").replace("enabled: true", "enabled: false"), encoding="utf-8")
    text = kefu("doctor", str(shop), home=tmp_path, COLUMNS="200").stdout
    assert "OFF" in text
    assert "brand.yml" in text


def test_doctor_shows_the_models_licences(tmp_path: Path) -> None:
    text = kefu("doctor", str(STARTER), home=tmp_path, COLUMNS="200").stdout
    assert "multilingual-e5-small" in text
    assert "MIT" in text


@pytest.mark.sqlite("the default")
def test_db_upgrade_makes_the_schema(tmp_path: Path) -> None:
    kefu("db", "upgrade", home=tmp_path)
    assert (tmp_path / "kefu.db").exists()
    assert "kefu.db" in kefu("db", "upgrade", home=tmp_path).stdout


def test_init_over_a_file_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    done = kefu("init", str(tmp_path / "mine.txt"), home=tmp_path / "home", check=False)
    assert (done.returncode, "is a file" in done.stderr, "Traceback" in done.stderr) == (1, True, False)


@pytest.mark.parametrize("command", ["doctor", "db upgrade"])
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://kefu:s3cr3t@127.0.0.1:1/shop", "127.0.0.1:1/shop"),
        ("postgresql://kefu:s3cr3t@127.0.0.1:x/shop", "PORT a number"),
    ],
)
def test_a_database_that_is_away_or_misspelt_is_one_message(command: str, url: str, says: str, tmp_path: Path) -> None:
    done = kefu(*command.split(), home=tmp_path, check=False, KEFU_DATABASE_URL=url, COLUMNS="400")
    printed = done.stdout + done.stderr
    assert done.returncode == 1
    assert says in printed
    assert "Traceback" not in printed
    assert "s3cr3t" not in printed


UPGRADE = pytest.param("db upgrade", marks=pytest.mark.sqlite("on PostgreSQL it needs no folder"))


@pytest.mark.parametrize("command", ["doctor", UPGRADE, "train", "chat"])
def test_a_home_that_cannot_be_made_is_one_message(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    write_assistant(tmp_path / "shop", SMALL_SHOP)
    home = tmp_path / "file" / "home"
    done = kefu(*command.split(), home=home, check=False, KEFU_ASSISTANT=str(tmp_path / "shop"), COLUMNS="400")
    printed = done.stdout + done.stderr
    assert done.returncode == 1
    assert "KEFU_HOME" in printed
    assert "Traceback" not in printed


def test_a_taken_port_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = kefu("serve", "--port", port, home=tmp_path / "home", check=False)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "training" not in done.stderr


def test_the_starter_taken_for_want_of_another_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    note = "no assistant in this folder"
    assert note in kefu("models", "list", home=tmp_path, PYTHONPATH=str(TESTS.parent)).stderr
    kefu("init", "shop", home=tmp_path, PYTHONPATH=str(TESTS.parent))
    monkeypatch.chdir(tmp_path / "shop")
    assert note not in kefu("models", "list", home=tmp_path, PYTHONPATH=str(TESTS.parent)).stderr


def test_nothing_to_explain_is_an_error(tmp_path: Path) -> None:
    done = kefu("explain", " ", home=tmp_path, check=False)
    assert (done.returncode, "nothing to explain" in done.stderr) == (1, True)


def test_what_looks_like_markup_is_printed_whole(tmp_path: Path) -> None:
    folder = tmp_path / "[red]shop[/sale]"
    folder.mkdir(parents=True)
    (folder / "domain.yml").write_text("intents: [greet]\n")
    (folder / "config.yml").write_text("assistant_id: '[/x]'\n")
    done = kefu("validate", str(folder), home=tmp_path, check=False)
    assert done.returncode == 1
    assert "[red]shop[/sale]/config.yml:1" in done.stderr
    assert "'[/x]' cannot name a folder" in done.stderr
    done = kefu("train", str(folder), home=tmp_path, check=False)
    assert "'[/x]' cannot name a folder" in done.stderr
    assert "[/x]" in kefu("doctor", str(folder), home=tmp_path, check=False, COLUMNS="400").stdout


def test_training_after_retraining_unlearns_nothing(tmp_path: Path) -> None:
    assistant = write_assistant(tmp_path / "shop", TESTED_SHOP)
    folder = str(tmp_path / "shop")
    first = kefu("train", folder, home=tmp_path / "home").stdout
    assert "serves now" in first
    db = database_of(tmp_path / "home")

    async def label() -> None:
        one, two = await db.write(
            lambda c: log_messages(c, "small-shop", prediction("zap zap zap"), prediction("zap it zap"))
        )
        labels = [Label(prediction_id=n, intent="return_item", sentiment=None, labelled_by="ann") for n in (one, two)]
        await db.write(lambda c: predictions.add_labels(c, "small-shop", labels, datetime.now(UTC)))
        await db.close()

    asyncio.run(label())
    assert "nothing changed" not in kefu("retrain", folder, home=tmp_path / "home").stdout
    registry = Registry(tmp_path / "home" / "models", assistant.assistant_id)
    serving, versions = registry.current("understanding"), registry.versions("understanding")
    assert "nothing changed" in kefu("train", folder, home=tmp_path / "home").stdout
    assert (registry.current("understanding"), registry.versions("understanding")) == (serving, versions)


def test_an_export_takes_how_many_and_since_when(tmp_path: Path) -> None:
    folder = str(tmp_path / "shop")
    write_assistant(tmp_path / "shop", SMALL_SHOP)
    db = database_of(tmp_path / "home")

    async def log() -> None:
        await db.write(lambda c: log_messages(c, "small-shop", *(prediction(f"message {n}") for n in range(6))))
        await db.close()

    asyncio.run(log())
    exports = {
        options: len(kefu("review", "export", folder, *options, home=tmp_path / "home").stdout.splitlines())
        for options in (("-n", "3"), ("--n", "6"), ("--since", "2020-01-31"), ("--since", "2999-01-31"))
    }
    assert list(exports.values()) == [2, 4, 6, 0]  # a third each is for fallbacks, of which there are none
    done = kefu("review", "export", folder, "--since", "yesterday", home=tmp_path / "home", check=False)
    assert done.returncode == 2


def test_a_handoff_is_listed_with_its_contact_until_a_person_took_it(tmp_path: Path) -> None:
    write_assistant(tmp_path / "shop", SMALL_SHOP)
    db = database_of(tmp_path / "home")
    request = {"event": "handoff", "contact": "[ann]@example.com", "reason": None, "timestamp": 1763900000.0}

    def ask(conn: Connection) -> None:
        arrivals.accept(conn, "small-shop", [message("a person please", "ann")], [], NOON)
        (held,) = inbox.claim(conn, "small-shop", "test", NOON, 60.0, 1)
        finish(conn, held, events=[request], status="waiting")

    async def log() -> None:
        await db.write(ask)
        await db.close()

    asyncio.run(log())

    def handoffs(*options: str, check: bool = True) -> str:
        done = kefu("handoffs", str(tmp_path / "shop"), *options, home=tmp_path / "home", check=check, COLUMNS="200")
        return done.stdout + done.stderr

    assert "[ann]@example.com" in handoffs()
    assert "no conversation 'bob'" in handoffs("--done", "bob", check=False)
    assert "ann is resolved" in handoffs("--done", "ann")
    assert "nobody waits" in handoffs()


# ---- projects that come from Rasa ----


def test_cross_validation_trains_its_own_versions_and_writes_rasas_reports(tmp_path: Path) -> None:
    shop, out = tmp_path / "shop", tmp_path / "reports"
    write_assistant(shop, SMALL_SHOP)
    done = kefu("test", str(shop), "--cross-validation", "--folds", "2", "--out", str(out), home=tmp_path / "home")
    report = json.loads((out / "intent_report.json").read_text(encoding="utf-8"))
    examples = sum(map(len, EXAMPLES.values()))
    assert report["weighted avg"]["support"] == examples  # each example is read once, by a version that never saw it
    assert report["accuracy"] > 0.5
    assert str(examples) in done.stdout
    assert (out / "intent_confusion_matrix.png").stat().st_size > 1_000
    assert Registry(tmp_path / "home" / "models", "small-shop").versions("understanding") == []


def test_conversations_of_a_rasa_tracker_store_come_in_once(tmp_path: Path) -> None:
    store = tmp_path / "rasa.db"
    with closing(sqlite3.connect(store)) as db:
        db.executescript((TESTS / "rasa" / "tracker_store.sql").read_text(encoding="utf-8"))
    command = ("import-rasa", str(TESTS / "bots" / "labbot"), "--tracker-store", f"sqlite:///{store}", "--json")
    first = json.loads(kefu(*command, home=tmp_path, check=False).stdout)["history"]
    again = json.loads(kefu(*command, home=tmp_path, check=False).stdout)["history"]
    assert (first["new"], first["events"]) == (10, 339)
    assert (again["new"], again["unchanged"], again["events"]) == (0, 10, 0)
    assert len(stored(tmp_path, select(events.c.seq))) == 339
