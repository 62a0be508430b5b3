"""Which server words answers with what was trained, in which languages, and what is said where packages are missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bot.answers.index_files import GUARD, write_name
from bot.answers.writers import ABOUT, PACKAGES, WRITER, About, Writers, writer_name
from bot.assistant.config import GenerationConfig
from bot.assistant.loader import load_assistant
from bot.doctor import examine
from bot.settings import load_settings
from models.base import ArtifactInvalid
from tests.lab import LABBOT

NAME = "writer-made"
SAID = {"name": "tiny/writer-made", "server": "transformers", "languages": ["zh"], "base_sha256": "0"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def writers(home: Path, said: object = SAID, **config: Any) -> Writers:
    """Of a store where this was trained, and a judge."""
    assistant = load_assistant(LABBOT, {})
    store = load_settings(home=home).knowledge_dir(assistant.assistant_id)
    (store / NAME / "base").mkdir(parents=True, exist_ok=True)
    (store / NAME / ABOUT).write_text(said if isinstance(said, str) else json.dumps(said), encoding="utf-8")
    write_name(store / WRITER, NAME)
    write_name(store / GUARD, "judge")
    return Writers(store=store, config=GenerationConfig(is_on=True, **config), brand=assistant.brand)


def command(of: Writers) -> list[str]:
    return of.about().command(of.store / NAME, 2)  # type: ignore[union-attr]


def test_each_kind_of_base_has_its_server(home: Path) -> None:
    folder = writers(home).store / NAME
    assert command(writers(home))[1:] == [
        *("-P", "-m", "models.transformers_server", str(folder / "base"), str(folder / "adapter")),
        *("--threads", "2"),
    ]
    llama = ["-P", "-m", "models.llama_server", str(folder / "merged.gguf")]
    before = {"name": "smollm2/writer-made", "languages": ["en"]}  # as it was written until there were two
    assert command(writers(home, before))[1:] == [*llama, "--threads", "2"]
    plain = {**before, "server": "llama.cpp", "has_template": False}
    assert command(writers(home, plain))[1:] == [*llama, "--without-template", "--threads", "2"]


@pytest.mark.parametrize(
    ("asked", "written"), [(None, ("en", "zh")), (("zh",), ("zh",)), (("zh", "fr", "en"), ("en", "zh")), (("fr",), ())]
)
def test_it_writes_what_it_was_trained_in_and_no_more(
    asked: tuple[str, ...] | None, written: tuple[str, ...], home: Path
) -> None:
    assert writers(home, {**SAID, "languages": ["en", "zh"]}, languages=asked).generator()[1] == written


@pytest.mark.parametrize("said", ["no json", "[]", {"name": "x"}, {**SAID, "server": "ollama"}])
def test_damaged_it_says_what_to_do(said: object, home: Path) -> None:
    damaged = writers(home, said)
    assert damaged.wanted() == f"{NAME}/judge"
    with pytest.raises(ArtifactInvalid, match="kefu knowledge tune"):
        damaged.generator()


def test_without_the_packages_of_its_server_answers_are_quoted_and_doctor_says_why(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert writers(home).wanted() == f"{NAME}/judge"
    assert generator(home)["level"] == "ok"
    assert "served by transformers, writes zh" in generator(home)["found"]
    monkeypatch.setitem(PACKAGES, "transformers", {"no_such_torch": "train", "json": "train"})  # type: ignore[arg-type]
    assert writers(home).wanted() is None
    assert generator(home) == {
        "level": "error",
        "found": "answers are quoted: transformers serves tiny/writer-made, and no_such_torch is missing: "
        "pip install 'kefu[train]'",
    }
    assert writers(home, {**SAID, "server": "llama.cpp"}).about().server == "llama.cpp"  # type: ignore[union-attr]
    assert generator(home)["level"] == "ok", "another server needs other packages"


def test_doctor_says_what_is_not_trained_or_not_learned(home: Path) -> None:
    assert "is not trained yet" in generator(home)["found"]
    writers(home)
    assert generator(home, "generation: {languages: [zh, en]}\n")["found"].endswith(
        "has not learned en: kefu knowledge tune --only writer"
    )
    assert generator(home, "generation: off\n") == {}
    assert generator(home, "generation: {server: 'http://127.0.0.1:1/v1', model: m}\n") == {}


def generator(home: Path, config: str = "generation: on\n") -> dict[str, str]:
    """Level and words of the finding, in a copy of the lab's assistant with this kefu.yml."""
    root = home / "root" / LABBOT.name
    root.mkdir(parents=True, exist_ok=True)
    for path in LABBOT.iterdir():
        if path.name != "kefu.yml" and not (root / path.name).exists():
            (root / path.name).symlink_to(path)
    (root / "kefu.yml").write_text(config)
    found = [one for one in examine(load_settings(home=home), root) if one.check == "generator"]
    return {"level": found[0].level, "found": found[0].found} if found else {}


def test_what_an_earlier_version_trained_is_trained_anew(home: Path) -> None:
    of = writers(home)
    (of.store / "judge-judge").mkdir()
    assert of.untrained() == ()
    (of.store / NAME / "base").rmdir()
    (of.store / NAME / "adapter.gguf").touch()
    assert (of.untrained(), of.wanted()) == (("writer",), None)
    (of.store / NAME / "merged.gguf").touch()
    assert of.untrained() == ()


def test_another_adapter_or_base_has_another_name(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"a")
    other.write_bytes(b"b")
    names = {writer_name("1", one), writer_name("1", other), writer_name("2", one)}
    assert len(names) == 3
    assert writer_name("1", one) in names


def test_what_writer_json_may_leave_out() -> None:
    assert About(name="x", languages=("en",)).server == "llama.cpp"
