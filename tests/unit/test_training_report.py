"""The model card: every figure with its n and interval, for whom it is good, pictures that are the same each time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.base import Manifest
from training.pictures import SCOPE_PNG, confusion_matrix, most_confused
from training.report import CARD, HeldOut, before_after, write_report
from training.scores import wilson_interval

LABELS = tuple(f"intent_{k}" for k in range(30))


def held_out(task: str = "intent", *, texts: bool = True) -> HeldOut:
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(30), 4)
    predicted = targets.copy()
    predicted[::10] = (predicted[::10] + 1) % 30
    confidence = np.where(predicted == targets, 0.9, 0.4).astype(np.float32) + rng.random(120).astype(np.float32) / 20
    words = tuple("where is it" if k % 2 else "请问在哪" for k in range(120))
    return HeldOut(
        task=task,
        labels=LABELS,
        targets=targets,
        predicted=predicted,
        confidence=confidence,
        floor=np.zeros(120, dtype=np.int64),
        majority=0,
        texts=words if texts else (),
        languages=tuple("en" if k % 2 else "zh" for k in range(120)) if texts else (),
        scope_scores=rng.normal(0, 1, 120).astype(np.float32) if texts else None,
        strange_scores=rng.normal(4, 1, 20).astype(np.float32) if texts else None,
    )


def manifest() -> Manifest:
    return Manifest(
        version="20261123T164000-ab12cd34",
        kind="understanding",
        assistant_id="shop",
        created_at="2026-11-23T16:40:00+00:00",
        base="multilingual-e5-small",
        base_source="wheel",
        base_sha256="0",
        recipe="quick",
        fingerprint="f",
        data_sha256="d",
        languages=("en", "zh"),
        intents=LABELS,
        sentiments=(),
        temperature=0.5,
        thresholds={"out_of_scope": 2.0},
        metrics={"intent_held_out_accuracy": 0.9},
        training={"examples": 120, "sentiment_examples": 0, "seconds": 12.3},
        probes=(),
    )


def card(folder: Path, *tasks: HeldOut) -> str:
    write_report(folder, manifest(), tasks, before_after(tasks, "multilingual-e5-small"))
    return (folder / CARD).read_text(encoding="utf-8")


def test_a_card_says_what_whose_how_good_and_for_whom(tmp_path: Path) -> None:
    text = card(tmp_path, held_out(), held_out("sentiment", texts=False))
    low, high = wilson_interval(0.9, 120)
    assert f"| intent | multilingual-e5-small | 120 | 90.0% | {low:.1%} – {high:.1%} |" in text
    for said in (
        "MIT (weights of https://huggingface.co/intfloat/multilingual-e5-small)",
        "120 messages of 30 intents",
    ):
        assert said in text
    for section in ("What it is for", "Limits", "Figures", "For whom", "Answering only", "Confused most", "Pictures"):
        assert f"## {section}" in text
    assert "| intent | language | zh | 60 | 80.0% |" in text
    assert "- intent, by language: en is 20.0 points above zh" in text
    assert "| intent | 90% | 108 |" in text
    assert "| intent_0 | intent_1 | 1 |" in text


@pytest.mark.parametrize("name", ["confusion.png", "reliability.png", "coverage.png", SCOPE_PNG])
def test_every_picture_is_drawn_named_and_the_same_each_time(tmp_path: Path, name: str) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        assert f"({name})" in card(tmp_path / folder, held_out())
    content = (tmp_path / "one" / name).read_bytes()
    assert content.startswith(b"\x89PNG")
    assert content == (tmp_path / "two" / name).read_bytes()


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    text = card(tmp_path, held_out(texts=False))
    assert "## For whom" not in text
    assert SCOPE_PNG not in text
    assert not (tmp_path / SCOPE_PNG).exists()


def test_the_confusion_picture_shows_the_twenty_that_err_most() -> None:
    task = held_out()
    quiet = replace(task, predicted=np.where(task.targets < 25, task.targets, task.predicted))
    shown = most_confused(quiet)
    assert len(shown) == 20
    erring = {int(k) for pair in zip(quiet.targets, quiet.predicted, strict=True) if pair[0] != pair[1] for k in pair}
    assert erring
    assert erring <= set(shown.tolist())
    assert confusion_matrix(task).sum() == 120
