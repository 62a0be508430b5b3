"""The command line as a person uses it: real processes, readable errors, quick help."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import STARTER, kefu

COMMANDS = (
    "init", "train", "serve", "chat", "validate", "evaluate", "review", "retrain", "models", "db", "doctor",
)  # fmt: skip


def test_help_lists_every_command_and_is_quick(tmp_path: Path) -> None:
    kefu("--help", home=tmp_path)  # byte-compiles
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = kefu("--help", home=tmp_path).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time: the wall clock of a busy machine says nothing about the command.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
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


def test_db_upgrade_makes_the_schema(tmp_path: Path) -> None:
    kefu("db", "upgrade", home=tmp_path)
    assert (tmp_path / "kefu.db").exists()
    assert "kefu.db" in kefu("db", "upgrade", home=tmp_path).stdout


def test_evaluate_wants_both_files(tmp_path: Path) -> None:
    done = kefu("evaluate", "--train", "x.csv", home=tmp_path, check=False)
    assert done.returncode == 1
    assert "--test" in done.stderr
