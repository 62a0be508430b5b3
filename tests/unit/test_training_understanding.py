"""Training end to end on a small set: what is made, that it is the same each time, and that it learns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.artifact import read_manifest, sha256_file, verify
from models.base import BaseModelNotFound
from models.heads import Features
from models.ngrams import NgramVocabulary
from models.pretrained import BaseModel, ngram_base
from models.understanding import load_understander
from tests.tiny_models import ASSISTANT, tiny_data, train_tiny
from training.dataset import DataError, UnderstandingData, Utterance, assign_folds
from training.evaluate import evaluate_files, judge
from training.finetune_understanding import Recipe, fingerprint, train_understanding
from training.fit import Search, Task, fit_head
from training.report import CARD


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "version"
    train_tiny(folder)
    return folder


def test_a_version_is_whole_and_answers_its_probes(version: Path) -> None:
    manifest = read_manifest(version)
    verify(version, manifest)
    assert set(manifest.files) == {path.name for path in version.iterdir()} - {"manifest.json"}
    assert len(manifest.probes) >= 8
    assert manifest.intents == ("greet", "order_status", "return_item")
    assert manifest.sentiments == ("negative", "neutral", "positive")
    assert manifest.languages == ("en", "zh")
    assert manifest.base_source == "ngram"
    assert load_understander(version, 1).replay_probes() == []


def test_the_same_data_and_seed_make_the_same_model(version: Path, tmp_path: Path) -> None:
    train_tiny(tmp_path / "again")
    first, again = read_manifest(version), read_manifest(tmp_path / "again")
    assert again.fingerprint == first.fingerprint
    assert again.probes == first.probes
    assert again.thresholds == first.thresholds
    for name in ("ngrams.npz", "entities.json"):
        assert again.files[name] == first.files[name]


def test_fingerprint_follows_data_recipe_and_base() -> None:
    data, recipe, base = tiny_data(), Recipe(threads=1), ngram_base()
    same = fingerprint(data, recipe, base)
    assert fingerprint(replace(data, intents=data.intents + data.intents[:1]), recipe, base) == same
    more = replace(data, intents=(*data.intents, Utterance(text="ahoy", label="greet")))
    assert fingerprint(more, recipe, base) != same
    assert fingerprint(data, replace(recipe, seed=1), base) != same
    assert fingerprint(data, recipe, replace(base, name="other")) != same


def test_the_card_tells_before_and_after(version: Path) -> None:
    card = (version / CARD).read_text()
    assert "| intent | majority class |" in card
    assert "| intent | n-grams alone |" in card
    assert "| intent | ngram |" in card
    assert read_manifest(version).data_sha256 in card
    for picture in ("confusion.png", "reliability.png"):
        assert (version / picture).exists() == (f"({picture})" in card)


def test_what_was_taught_is_understood(version: Path) -> None:
    reader = load_understander(version, 1)
    held = [
        Utterance(text="hello, good morning", label="greet"),
        Utterance(text="has my order arrived", label="order_status"),
        Utterance(text="我想退货退款", label="return_item"),
        Utterance(text="订单什么时候到", label="order_status"),
    ]
    assert [j.is_right for j in judge(reader, held)] == [True] * 4
    moods = [
        Utterance(text="terrible, very angry", label="negative"),
        Utterance(text="great, I love it", label="positive"),
    ]
    assert [j.is_right for j in judge(reader, moods, "sentiment")] == [True] * 2


def test_progress_reaches_its_end(tmp_path: Path) -> None:
    steps: dict[str, tuple[int, int]] = {}

    def seen(step: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        assert done >= steps.get(step, (0, 0))[0]
        steps[step] = (done, total)

    train_understanding(tiny_data(), Recipe(threads=1), ngram_base(), tmp_path / "v", ASSISTANT, seen)
    assert {"intent", "sentiment", "write"} <= set(steps)
    assert all(done == total for done, total in steps.values())


def test_without_sentiment_examples_every_message_is_neutral_without_confidence(tmp_path: Path) -> None:
    data = replace(tiny_data(), sentiment=())
    train_understanding(data, Recipe(threads=1), ngram_base(), tmp_path / "v", ASSISTANT)
    (understood,) = load_understander(tmp_path / "v", 1).read(["this is terrible"])
    assert (understood.sentiment, understood.sentiment_confidence) == ("neutral", 0.0)


def test_examples_of_out_of_scope_are_an_intent_and_do_not_widen_the_scope(tmp_path: Path) -> None:
    strange = (
        "who won the football game",
        "write me a poem",
        "what is the capital of France",
        "今天天气怎么样",
        "讲个笑话",
    )
    extra = tuple(Utterance(text=text, label="out_of_scope") for text in strange)
    train_tiny(tmp_path / "v", extra)
    reader = load_understander(tmp_path / "v", 1)
    ours, theirs = reader.read(["where is my order", "who won the football game"])
    assert theirs.intent.name == "out_of_scope"
    assert theirs.out_of_scope_score > ours.out_of_scope_score
    assert theirs.is_out_of_scope
    assert not ours.is_out_of_scope


@pytest.mark.parametrize("count", [2, 3, 7])
def test_very_little_data_still_makes_a_model(tmp_path: Path, count: int) -> None:
    words = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta")[:count]
    rows = tuple(Utterance(text=f"{label} {word}", label=label) for label in ("yes", "no") for word in words)
    train_understanding(UnderstandingData(intents=rows), Recipe(threads=1), ngram_base(), tmp_path / "v", ASSISTANT)
    assert load_understander(tmp_path / "v", 1).read(["yes please"])[0].intent.name == "yes"


def test_data_that_cannot_teach_leaves_no_version(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least two"):
        train_understanding(UnderstandingData(intents=()), Recipe(threads=1), ngram_base(), tmp_path / "v", ASSISTANT)
    assert not (tmp_path / "v").exists()


def test_a_base_that_is_no_encoder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    base = BaseModel(name="broken", source="folder", folder=tmp_path / "base", sha256="1", exports=tmp_path / "exports")
    with pytest.raises(BaseModelNotFound):
        train_understanding(tiny_data(), Recipe(threads=1), base, tmp_path / "v", ASSISTANT)
    assert list((tmp_path / "exports").iterdir()) == []


def test_evaluate_files_reports_exactly_what_the_command_promises(tmp_path: Path) -> None:
    rows = tiny_data().intents
    (tmp_path / "train.csv").write_text("text,intent\n" + "".join(f'"{u.text}",{u.label}\n' for u in rows))
    (tmp_path / "test.jsonl").write_text(
        "".join(json.dumps({"text": u.text, "intent": u.label}) + "\n" for u in rows[:8])
    )
    (tmp_path / "oos.jsonl").write_text('{"text": "who won the football game", "intent": "oos"}\n')
    figures = evaluate_files(
        tmp_path / "train.csv", tmp_path / "test.jsonl", tmp_path / "oos.jsonl", ngram_base(), Recipe(threads=1), 3
    )
    assert list(figures) == [
        "accuracy",
        "macro_f1",
        "ece",
        "oos_auroc",
        "n_train",
        "n_test",
        "train_s",
        "predict_s",
        "seed",
    ]
    assert figures["accuracy"] == 1.0
    assert (figures["n_train"], figures["n_test"], figures["seed"]) == (len(rows), 8, 3)
    (tmp_path / "test.jsonl").write_text('{"text": "hi", "intent": "unheard_of"}\n')
    with pytest.raises(DataError, match="unheard_of"):
        evaluate_files(tmp_path / "train.csv", tmp_path / "test.jsonl", None, ngram_base(), Recipe(threads=1), 3)


@pytest.mark.parametrize("is_apart", [False, True])
def test_folding_centring_and_projection_into_the_weights_changes_no_logit(is_apart: bool) -> None:
    """The served head, on plain features, must give what the fit gave on its own columns."""
    rng = np.random.default_rng(0)
    utterances = [
        Utterance(text=f"{['yes', 'no', 'maybe'][i % 3]} word{i % 7} tail{i % 5}", label=str(i % 3)) for i in range(120)
    ]
    texts = tuple(u.text for u in utterances)
    targets = np.array([int(u.label) for u in utterances])
    dense = (rng.normal(3, 0.2, (120, 6)) + np.eye(6)[targets]).astype(np.float32)

    def learn(some: Sequence[str]) -> NgramVocabulary:
        return NgramVocabulary.learn(some, longest=4, word_pairs=True, min_count=2, max_features=500)

    task = Task(
        texts=texts,
        dense=dense,
        targets=targets,
        labels=("0", "1", "2"),
        folds=np.array(assign_folds(utterances, 5, 0)),
    )
    search = Search(rank=30, regularisation=(3.0, 10.0), start_c=10.0, sparse_weights=(0.5, 1.0), start_weight=0.5)
    search = replace(search, is_apart=is_apart)
    vocabulary = learn(texts)
    fitted = fit_head(task, vocabulary, learn, search, lambda done, total: None)
    served = fitted.head.logits(Features(dense=dense, sparse=[vocabulary.vector(text) for text in texts]))
    assert (served.argmax(axis=1) == targets).all()
    assert (fitted.logits.argmax(axis=1) == targets[fitted.held_out]).mean() > 0.95
    # A model of centred columns is blind to where the cone of embeddings lies.
    shifted = replace(task, dense=dense + np.float32(100))
    moved = fit_head(shifted, vocabulary, learn, search, lambda done, total: None)
    again = moved.head.logits(Features(dense=shifted.dense, sparse=[vocabulary.vector(text) for text in texts]))
    np.testing.assert_allclose(again, served, atol=0.05)


def test_fitted_apart_words_count_where_a_tuned_encoder_knows_its_own_rows_by_heart() -> None:
    """Seen rows' vectors tell their labels, new ones' only halfway: together, the words are left almost no weight."""
    rng = np.random.default_rng(0)
    cues = {0: "slow broken rude late", 1: "lovely quick kind neat", 2: "where when which size"}
    utterances = [
        Utterance(text=f"{rng.choice(cues[k % 3].split())} {rng.choice(WORDS)} {n}", label=str(k % 3))
        for n, k in enumerate(range(240))
    ]
    targets = np.array([int(u.label) for u in utterances])
    folds = np.array(assign_folds(utterances, 4, 0))
    blurred = np.eye(3)[targets] + rng.normal(0, 0.9, (240, 3))
    tuned = {
        fold: np.where((folds == fold)[:, None], blurred, np.eye(3)[targets]).astype(np.float32) for fold in range(4)
    }

    def learn(some: Sequence[str]) -> NgramVocabulary:
        return NgramVocabulary.learn(some, longest=4, word_pairs=False, min_count=2, max_features=500)

    task = Task(
        texts=tuple(u.text for u in utterances),
        dense=np.eye(3)[targets].astype(np.float32),
        targets=targets,
        labels=("0", "1", "2"),
        folds=folds,
        tuned=tuned,
    )
    search = Search(rank=30, regularisation=(1.0, 10.0), start_c=10.0, sparse_weights=(0.5, 1.0), start_weight=0.5)
    right = {}
    for is_apart in (False, True):
        chosen = replace(search, is_apart=is_apart)
        fitted = fit_head(task, learn(task.texts), learn, chosen, lambda done, total: None)
        right[is_apart] = float((fitted.logits.argmax(axis=1) == targets[fitted.held_out]).mean())
    assert right[True] > 0.9
    assert right[True] > right[False] + 0.05


WORDS = ["lamp", "rug", "shop", "order", "parcel", "blanket", "colour", "price", "box", "mail"]


def test_hashes_are_of_the_files_as_they_lie(version: Path) -> None:
    manifest = read_manifest(version)
    assert manifest.files["heads.npz"] == sha256_file(version / "heads.npz")
