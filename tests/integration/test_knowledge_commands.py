"""`kefu knowledge …` on the trained starter: what a person at a terminal sees."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.server import STARTER, kefu


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The starter's files, to be changed."""
    folder = tmp_path / "shop"
    shutil.copytree(STARTER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_what_is_found_and_what_would_be_said_is_shown(home: Path) -> None:
    shown = kefu("knowledge", "search", "How long do refunds take with PayPal?", "--assistant", str(STARTER), home=home)
    assert "en/refund" in shown.stdout
    assert "answered" in shown.stdout
    chinese = kefu("knowledge", "search", "真丝枕套怎么洗", "--assistant", str(STARTER), home=home)
    assert "zh/" in chinese.stdout
    blank = kefu("knowledge", "search", " ", "--assistant", str(STARTER), home=home, check=False)
    assert blank.returncode != 0
    assert "nothing was asked" in blank.stderr


def test_a_document_that_is_added_is_found_at_once_and_only_it_is_read(home: Path, shop: Path, tmp_path: Path) -> None:
    note = tmp_path / "pianos.md"
    note.write_text("# Grand pianos\n\nWe tune grand pianos every second Thursday in Leipzig.", encoding="utf-8")
    added = kefu("knowledge", "add", str(note), "--language", "en", "--assistant", str(shop), home=home)
    assert ": 1 read anew, 0 gone" in added.stdout
    assert (shop / "knowledge" / "en" / "pianos.md").is_file()
    found = kefu("knowledge", "search", "when do you tune grand pianos?", "--assistant", str(shop), home=home)
    assert "every second Thursday" in found.stdout
    again = kefu("knowledge", "sync", "--assistant", str(shop), home=home)
    assert ": 0 read anew, 0 gone" in again.stdout


def test_another_document_of_the_same_name_is_not_overwritten(home: Path, shop: Path, tmp_path: Path) -> None:
    for folder, text in (("a", "first words of all"), ("b", "other words instead")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "note.md").write_text(text, encoding="utf-8")
    kefu("knowledge", "add", str(tmp_path / "a" / "note.md"), "--assistant", str(shop), home=home)
    refused = kefu(
        "knowledge", "add", str(tmp_path / "b" / "note.md"), "--assistant", str(shop), home=home, check=False
    )
    assert refused.returncode != 0
    assert "is there already" in refused.stderr
    assert (shop / "knowledge" / "note.md").read_text(encoding="utf-8") == "first words of all"


def test_the_search_is_measured_by_language(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "asked.jsonl"
    file.write_text(
        '{"question": "How long do refunds take with PayPal?", "passages": ["en/refund-when.md"]}\n'
        '{"question": "真丝枕套怎么洗", "passages": ["zh/silk-care.md"]}\n'
        '{"question": "Who won the chess championship?", "passages": []}\n',
        encoding="utf-8",
    )
    shown = kefu("knowledge", "evaluate", str(file), "--assistant", str(STARTER), home=home)
    assert [word in shown.stdout for word in ("all", "en", "zh", "R@1", "anyway")] == [True] * 5


def test_without_documents_there_is_nothing_to_read(home: Path, shop: Path) -> None:
    shutil.rmtree(shop / "knowledge")
    refused = kefu("knowledge", "sync", "--assistant", str(shop), home=home, check=False)
    assert refused.returncode != 0
    assert "knowledge/" in refused.stderr


def test_no_two_documents_share_a_place_and_none_is_put_elsewhere(home: Path, shop: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "faq.md").write_text(f"# Words of {folder}", encoding="utf-8")
    both = [str(tmp_path / folder / "faq.md") for folder in ("a", "b")]
    for arguments, why in ((both, "is there already"), ([both[0], "--language", "../.."], "not a language")):
        refused = kefu("knowledge", "add", *arguments, "--assistant", str(shop), home=home, check=False)
        assert refused.returncode != 0
        assert why in refused.stderr
    assert not (shop / "knowledge" / "faq.md").exists()


def test_without_questions_of_its_own_the_starter_s_judgement_is_used(home: Path, shop: Path) -> None:
    shutil.rmtree(shop / "answers")
    kefu("knowledge", "sync", "--assistant", str(shop), home=home)
    for question, verdict in (
        ("How long do refunds take with PayPal?", ": answered"),
        ("Can I dim the walnut lamp?", ": offered as a choice"),
        ("Who won the chess championship?", ": left to the other answers"),
        ("世界杯是哪个队赢的？", ": left to the other answers"),
    ):
        for n in ("1", "5"):
            shown = kefu("knowledge", "search", question, "-n", n, "--assistant", str(shop), home=home)
            assert verdict in shown.stdout


@pytest.mark.parametrize(
    "text",
    [
        "Please write the second chapter of my novel about a lighthouse keeper who falls in love with the sea. " * 6,
        "请帮我写一篇关于秋天的散文，要有落叶、雨声和一位在车站等人的老人，语言要优美，" * 4,
    ],
)
def test_a_long_message_is_not_taken_for_a_question_by_its_length(home: Path, text: str) -> None:
    shown = kefu("knowledge", "search", text, "--assistant", str(STARTER), home=home)
    assert ": answered" not in shown.stdout
