"""The encoder that finds passages, tuned by sentence-transformers on a tiny random base, and served without PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.embeddings import EncoderEmbedder
from models.pretrained import resolve_base
from tests.tiny_encoders import make_encoder
from training.export import exported_encoder
from training.finetune_retrieval import Pair, RetrievalRecipe, tune_retriever

THINGS = ("order", "parcel", "money", "return", "lamp", "refund", "hello", "goodbye")
PAIRS = [
    Pair(question=f"where is my {thing}", passage=f"the {thing} is {place}")
    for thing, place in zip(THINGS, ("here", "there", "back", "free", "new", "late", "gone", "red"), strict=True)
] * 6


def test_questions_move_to_their_passages_and_the_files_serve_like_the_bases(tmp_path: Path) -> None:
    base = resolve_base(str(make_encoder("bert", tmp_path / "tiny")), tmp_path / "cache")
    steps: list[tuple[int, int]] = []
    recipe = RetrievalRecipe(epochs=12, batch_size=8, learning_rate=1e-3)
    tune_retriever(base, PAIRS, tmp_path / "tuned", recipe, lambda step, done, total: steps.append((done, total)))
    before = EncoderEmbedder(exported_encoder(base, lambda step, done, total: None), 1)
    after = EncoderEmbedder(tmp_path / "tuned", 1)
    assert before.name != after.name
    pairs = PAIRS[: len(THINGS)]

    def right(embedder: EncoderEmbedder) -> float:
        """The share of questions whose passage is the nearest."""
        questions = embedder.questions([pair.question for pair in pairs])
        scores = questions @ embedder.passages([pair.passage for pair in pairs]).T
        return float((scores.argmax(axis=1) == np.arange(len(pairs))).mean())

    assert right(after) > right(before)
    assert right(after) >= 0.75
    assert steps[-1][0] == steps[-1][1] > 0
    assert not (tmp_path / "tuned").is_symlink()
