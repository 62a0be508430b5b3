"""Which words drove an answer, by integrated gradients through the encoder and, exactly, through the n-grams.

The cheap way, without PyTorch, is `models/explain.py`. Invariant: the effects and the rest sum to the difference
between the answer's logit and that of a text of the same length without words, within `TOLERANCE` of it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.base import Manifest, ModelError
from models.encoder import Encoder
from models.explain import Effect, Task, parts_of
from models.heads import LinearHead
from models.ngrams import NgramVocabulary, normalise, pieces
from models.pretrained import BaseModel, load_torch_model, pooling
from models.understanding import TrainedUnderstander
from training.export import TUNED_WEIGHTS

TOLERANCE = 0.05
STEPS, MOST_STEPS = 64, 1024
STEP_BATCH = 32
# Quantising moves a vector by less than this; another model's lies far off.
SAME_VECTOR = 0.9

Values = NDArray[np.float64]


class AttributionError(ModelError):
    """The gradients of this version cannot be had."""


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """What each part of a text added to the logit of one answer.

    Attributes:
        rest: what fell on no part: marks around the text, blanks.
        difference: the answer's logit minus that of the wordless text.
        steps: of the integral.
        gap: how far the sum missed `difference`, as a share of it.
    """

    answer: str
    effects: tuple[Effect, ...]
    rest: float
    difference: float
    steps: int
    gap: float


def attribute(reader: TrainedUnderstander, folder: Path, base: BaseModel, text: str, task: Task) -> Attribution:
    """Attribute the answer that the version gives to `text`. Source: Sundararajan et al. 2017.

    Args:
        folder: of the version; its `encoder.safetensors`, where there is one, takes the place of the base's weights.
        base: the one it was trained from.
    Raises:
        AttributionError: the version does not name moods, or its tuned weights were not kept.
        BaseModelNotFound: the base's files do not load.
    """
    head = reader.intent_head if task == "intent" else reader.sentiment_head
    if head is None:
        raise AttributionError(f"version {reader.version} was trained without sentiment; nothing to explain")
    plain = unicodedata.normalize("NFC", text)
    answer = int(head.logits(reader.features([plain]))[0].argmax())
    sparse = _from_grams(plain, reader.vocabulary, head, answer)  # (characters + 1,)
    if reader.encoder is None or head.dense is None:
        dense, difference, steps = np.zeros(len(plain) + 1), 0.0, 0
    else:
        model = _Weighted(reader.encoder, folder, base, reader.manifest)
        dense, difference, steps = model.integrate(plain, head.dense[:, answer])
    every = dense + sparse
    difference += float(sparse.sum())
    parts = parts_of(plain)
    effects = tuple(Effect(part=part, effect=float(every[part.start : part.end].sum())) for part in parts)
    return Attribution(
        answer=head.labels[answer],
        effects=effects,
        rest=float(every.sum()) - sum(effect.effect for effect in effects),
        difference=difference,
        steps=steps,
        gap=_gap(float(every.sum()), difference),
    )


def tuned_weights(model: Any, folder: Path, manifest: Manifest) -> None:
    """Make the base's `model` what the version in `folder` was tuned to; where no weights were kept, none change."""
    if not (folder / TUNED_WEIGHTS).is_file():
        return
    from safetensors.torch import load_file

    from training.tuning import keep_lowest

    recipe = manifest.training["recipe"]
    assert isinstance(recipe, dict)
    keep_lowest(model, recipe.get("kept", 1.0))
    model.load_state_dict(load_file(folder / TUNED_WEIGHTS), strict=False)


class _Weighted:
    """The encoder in PyTorch, with the weights that the served one was made of."""

    def __init__(self, encoder: Encoder, folder: Path, base: BaseModel, manifest: Manifest) -> None:
        self._encoder, self._pool = encoder, pooling(base)
        self._model = load_torch_model(base)
        tuned_weights(self._model, folder, manifest)
        self._version = folder.name

    def integrate(self, text: str, weights: NDArray[np.float32]) -> tuple[Values, float, int]:
        """What each character added to `vector · weights`, the difference to be explained, and the steps it took.

        The last entry is what marks and prefix added. Steps are doubled until the sum fits.
        """
        import torch
        from captum.attr import IntegratedGradients  # type: ignore[import-untyped]

        (tokens,) = self._encoder.tokens([text])
        ids = np.array([tokens.ids], dtype=np.int64)  # (1, T)
        is_word = np.array([[end > start for start, end in tokens.spans]])
        words = torch.from_numpy(self._encoder.words(ids).copy())  # (1, T, D)
        # Marks stay: a text without words still begins and ends.
        empty = torch.from_numpy(self._encoder.words(np.where(is_word, self._encoder.spec.pad_id, ids)).copy())
        self._check(text, words)
        direction = torch.from_numpy(np.ascontiguousarray(weights, dtype=np.float32))

        def logit(embeddings: Any) -> Any:
            return self._vectors(embeddings) @ direction

        with torch.no_grad():
            difference = float((logit(words) - logit(empty))[0])
        gradients, steps = IntegratedGradients(logit), STEPS
        while True:
            found = gradients.attribute(words, baselines=empty, n_steps=steps, internal_batch_size=STEP_BATCH)
            per_token = found.detach()[0].sum(dim=1).numpy().astype(np.float64)  # (T,)
            if _gap(float(per_token.sum()), difference) <= TOLERANCE or steps >= MOST_STEPS:
                return _on_characters(per_token, tokens.spans, len(text)), difference, steps
            steps *= 2

    def _check(self, text: str, words: Any) -> None:
        import torch

        with torch.no_grad():
            vector = self._vectors(words)[0].numpy()
        served = self._encoder.embed([text])[0]
        cosine = float(vector @ served / max(1e-9, float(np.linalg.norm(vector) * np.linalg.norm(served))))
        if cosine < SAME_VECTOR:
            raise AttributionError(
                f"{self._version}: the base's weights are not what serves (cosine {cosine:.2f}): the encoder was tuned "
                f"and {TUNED_WEIGHTS} was not kept; use --method occlusion"
            )

    def _vectors(self, embeddings: Any) -> Any:
        import torch

        from training.tuning import pooled

        mask = torch.ones(embeddings.shape[:2], dtype=torch.int64)
        hidden = self._model(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
        return pooled(hidden, mask, self._pool)


def _on_characters(per_token: Values, spans: list[tuple[int, int]], length: int) -> Values:
    out = np.zeros(length + 1)
    for value, (start, end) in zip(per_token, spans, strict=True):
        if end > start:
            out[start:end] += value / (end - start)
        else:
            out[length] += value
    return out


def _from_grams(text: str, vocabulary: NgramVocabulary, head: LinearHead, answer: int) -> Values:
    """What each character added through the n-grams, each gram's share spread over where it stands; exact in sum."""
    out = np.zeros(len(text) + 1)
    vector = vocabulary.vector(text)
    folded, origin = _folded(text)
    for index, weight in zip(vector.indices, vector.weights, strict=True):
        value = float(weight * head.sparse[index, answer])
        places = [origin[at] for span in _places(vocabulary.grams[index], folded) for at in range(*span)]
        for at in places or [len(text)]:
            out[at] += value / max(1, len(places))
    return out


def _folded(text: str) -> tuple[str, list[int]]:
    """The text as n-grams see it, and for each of its characters the one of `text` that it comes from."""
    folded, origin = "", []
    for at, character in enumerate(text):
        for one in normalise(character) or " ":
            if one != " " or (folded and folded[-1] != " "):
                folded += one
                origin.append(at)
    return folded, origin


def _places(gram: str, folded: str) -> Iterator[tuple[int, int]]:
    """Where a gram stands in the normalised text, blanks around its words left aside."""
    spans = pieces(folded)
    if gram.startswith("w:"):
        words = gram[2:].split(" ")
        for first in range(len(spans) - len(words) + 1):
            run = spans[first : first + len(words)]
            if [folded[start:end] for start, end in run] == words:
                yield run[0][0], run[-1][1]
        return
    for start, end in spans:
        padded = f" {folded[start:end]} "
        at = padded.find(gram)
        while at >= 0:
            yield max(start, start + at - 1), min(end, start + at - 1 + len(gram))
            at = padded.find(gram, at + 1)


def _gap(total: float, difference: float) -> float:
    return abs(total - difference) / max(abs(difference), 1e-6)
