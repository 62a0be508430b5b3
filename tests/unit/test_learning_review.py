"""Review files: what is written for people, and that a file with one mistake changes nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bot.assistant.loader import Assistant
from bot.errors import ReviewError
from bot.review import export_review, import_review
from bot.storage import predictions
from bot.storage.database import Database
from tests.learning import SMALL_SHOP, log_messages, prediction, write_assistant

MESSAGES = (
    prediction("my mail is anna.weber@example.com", confidence=0.95),
    prediction("asdf qwer", confidence=0.2, fallback=True),
    prediction("hello or bye", confidence=0.51),
    prediction("hi", confidence=0.99),
    prediction("good morning", confidence=0.98),
    prediction("call +49 30 1234567 now", confidence=0.3, fallback=True),
)


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database.open(f"sqlite:///{tmp_path / 'kefu.db'}")
    database.upgrade()
    yield database
    await database.close()


@pytest.fixture
def assistant(tmp_path: Path) -> Assistant:
    return write_assistant(tmp_path / "shop", SMALL_SHOP)


@pytest.fixture
async def review(db: Database, assistant: Assistant, tmp_path: Path) -> Path:
    """An exported file over `MESSAGES`."""
    await db.write(lambda c: log_messages(c, assistant.assistant_id, *MESSAGES))
    path = tmp_path / "review.jsonl"
    await export_review(db, assistant.assistant_id, path)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


async def stored(db: Database, assistant: Assistant) -> dict[str, tuple[str | None, str | None]]:
    labels = await db.read(lambda c: predictions.labels(c, assistant.assistant_id))
    return {label.text: (label.intent, label.sentiment) for label in labels}


async def test_an_export_holds_each_kind_redacted_and_unlabelled(review: Path) -> None:
    rows = read(review)
    assert [row["reason"] for row in rows] == sorted(
        (r["reason"] for r in rows), key=("fallback", "uncertain", "random").index
    )
    assert {row["text"] for row in rows if row["reason"] == "fallback"} == {"asdf qwer", "call [phone] now"}
    assert next(row for row in rows if row["text"] == "hello or bye")["reason"] == "uncertain"
    assert "my mail is [email]" in {row["text"] for row in rows}
    assert "anna" not in review.read_text(encoding="utf-8")
    first = rows[0]
    assert first["label"] is None
    assert first["sentiment_label"] is None
    assert (first["predicted"], first["language"], first["sentiment"]) == ("greet", "en", "neutral")
    assert first["model_version"] == "20261123T164000-ab12cd34"
    assert len(first["ranking"]) == 5
    assert datetime.fromisoformat(first["created_at"]).utcoffset() == timedelta(0)


async def test_an_export_is_bounded_repeatable_and_follows_its_seed(
    db: Database, assistant: Assistant, tmp_path: Path
) -> None:
    many = [prediction(f"message number {n} of many", confidence=0.9) for n in range(60)]
    await db.write(lambda c: log_messages(c, assistant.assistant_id, *many))
    texts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert await export_review(db, assistant.assistant_id, tmp_path / name, n=12, seed=seed) <= 12
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


async def test_an_export_can_start_late_and_go_to_standard_output(
    db: Database, assistant: Assistant, review: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(stderr=True)
    assert await export_review(db, assistant.assistant_id, None, console=console) == len(MESSAGES)
    written = capsys.readouterr()
    assert written.out == review.read_text(encoding="utf-8")
    assert "6 messages (2 fallback" in written.err
    later = datetime.now(UTC) + timedelta(hours=1)
    assert await export_review(db, assistant.assistant_id, review.with_name("none.jsonl"), since=later) == 0
    assert not review.with_name("none.jsonl").exists()


async def test_an_export_never_overwrites_somebodys_labels(db: Database, assistant: Assistant, review: Path) -> None:
    before = review.read_text()
    with pytest.raises(ReviewError, match="may hold labels"):
        await export_review(db, assistant.assistant_id, review)
    assert review.read_text() == before


async def test_labels_come_back_and_importing_twice_changes_nothing(
    db: Database, assistant: Assistant, review: Path
) -> None:
    rows = read(review)
    rows[0] |= {"label": "order_status", "sentiment_label": "negative"}
    rows[1]["label"] = "skip"
    write(review, rows)
    counts = await import_review(db, assistant, review)
    assert (counts.taken, counts.unchanged, counts.skips, counts.open) == (2, 0, 1, len(rows) - 2)
    again = await import_review(db, assistant, review)
    assert (again.taken, again.unchanged) == (0, 2)
    assert sorted((await stored(db, assistant)).values(), key=str) == [("order_status", "negative"), (None, None)]

    rows[0]["label"] = "greet"
    write(review, rows)
    assert (await import_review(db, assistant, review)).taken == 1
    assert ("greet", "negative") in (await stored(db, assistant)).values()


async def test_labelled_messages_are_not_asked_for_again(
    db: Database, assistant: Assistant, review: Path, tmp_path: Path
) -> None:
    rows = read(review)
    for row in rows[:3]:
        row["label"] = "greet"
    rows[3]["label"] = "skip"
    write(review, rows)
    await import_review(db, assistant, review)
    await export_review(db, assistant.assistant_id, tmp_path / "next.jsonl")
    assert {row["text"] for row in read(tmp_path / "next.jsonl")} == {row["text"] for row in rows[4:]}


def _no_such_intent(rows: list[dict[str, Any]]) -> None:
    rows[2]["label"] = "order_stats"


def _no_such_prediction(rows: list[dict[str, Any]]) -> None:
    rows[2] |= {"prediction_id": 987654, "label": "greet"}


def _another_database(rows: list[dict[str, Any]]) -> None:
    rows[2] |= {"text": "what a stranger wrote", "label": "greet"}


def _mistyped_key(rows: list[dict[str, Any]]) -> None:
    rows[2]["lable"] = "greet"


def _wrong_type(rows: list[dict[str, Any]]) -> None:
    rows[2]["label"] = 7


def _strange_sentiment(rows: list[dict[str, Any]]) -> None:
    rows[2] |= {"label": "greet", "sentiment_label": "furious"}


def _sentiment_alone(rows: list[dict[str, Any]]) -> None:
    rows[2]["sentiment_label"] = "negative"


def _passages_alone(rows: list[dict[str, Any]]) -> None:
    rows[2]["passages"] = []


def _no_such_passage(rows: list[dict[str, Any]]) -> None:
    rows[2] |= {"label": "skip", "passages": ["en/wool.md"]}


def _labelled_twice(rows: list[dict[str, Any]]) -> None:
    rows[2] |= {"prediction_id": rows[0]["prediction_id"], "label": "goodbye"}


def _fallback_as_label(rows: list[dict[str, Any]]) -> None:
    rows[2]["label"] = "nlu_fallback"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_no_such_intent, "(label): unknown intent 'order_stats'; did you mean 'order_status'?"),
        (_no_such_prediction, "(prediction_id): no prediction 987654 in this database"),
        (_another_database, "has another text here"),
        (_mistyped_key, "(lable): unknown key; known are prediction_id"),
        (_wrong_type, "(label): Input should be a valid string"),
        (_strange_sentiment, "(sentiment_label): Input should be 'negative', 'neutral' or 'positive'"),
        (_sentiment_alone, "(label): a sentiment_label needs a label too"),
        (_passages_alone, "(label): a passages needs a label too"),
        (_no_such_passage, "(passages): no document is 'en/wool.md'; `kefu knowledge search` says"),
        (_labelled_twice, "is labelled in line 1 already"),
        (_fallback_as_label, "(label): unknown intent 'nlu_fallback'"),
    ],
)
async def test_one_wrong_line_is_named_and_nothing_is_imported(
    db: Database, assistant: Assistant, review: Path, spoil: Any, says: str
) -> None:
    rows = read(review)
    rows[0]["label"] = "greet"
    spoil(rows)
    write(review, rows)
    with pytest.raises(ReviewError) as refused:
        await import_review(db, assistant, review)
    assert f"{review}:3" in str(refused.value)
    assert says in str(refused.value)
    assert await stored(db, assistant) == {}


async def test_broken_json_is_named_with_its_line(db: Database, assistant: Assistant, review: Path) -> None:
    lines = review.read_text(encoding="utf-8").splitlines()
    lines[1] = lines[1][:-5]
    lines.insert(3, "[1, 2]")
    review.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ReviewError) as refused:
        await import_review(db, assistant, review)
    assert f"{review}:2: not one JSON object" in str(refused.value)
    assert f"{review}:4: Input should be an object" in str(refused.value)


async def test_a_label_of_another_assistant_is_unknown_here(db: Database, assistant: Assistant, tmp_path: Path) -> None:
    [elsewhere] = await db.write(lambda c: log_messages(c, "another-shop", prediction("hello")))
    write(tmp_path / "r.jsonl", [{"prediction_id": elsewhere, "label": "greet"}])
    with pytest.raises(ReviewError, match=f"no prediction {elsewhere} in this database"):
        await import_review(db, assistant, tmp_path / "r.jsonl")


async def test_a_missing_file_is_an_error_for_people(db: Database, assistant: Assistant, tmp_path: Path) -> None:
    with pytest.raises(ReviewError, match=r"nowhere\.jsonl: cannot be read"):
        await import_review(db, assistant, tmp_path / "nowhere.jsonl")
