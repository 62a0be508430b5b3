"""Train one understanding version: features, heads, thresholds, and the folder that serves.

Plain data in, a version folder out; `bot/learning.py` brings the data and files the folder in the registry.
Invariant: features are computed by the very files that will serve, so that training and serving cannot drift apart.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from models.artifact import read_manifest, sha256_file, version_id, write_manifest
from models.base import Manifest, Probe
from models.encoder import Encoder
from models.heads import Floats, energy, save_heads, softmax
from models.ngrams import NgramVocabulary, SparseVector
from models.pretrained import BaseModel
from models.understanding import ENTITIES, HEADS, KIND, NGRAMS, load_understander
from training.dataset import UnderstandingData, Utterance, assign_folds, deduplicate
from training.evaluate import score_predictions
from training.fit import Design, Fitted, fit_head, to_csr

Progress = Callable[[str, int, int], None]

OUT_OF_SCOPE_INTENTS = frozenset({"out_of_scope", "oos"})
PROBES = 12
# Texts that no training set holds and every channel brings.
ODD_PROBES = ("OK", "A-1001", "👍")
EMBED_CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a version is trained; the values were chosen on splits of BANKING77's and CLINC150's training data."""

    name: str = "quick"
    # Seeds the split on which C, temperature and threshold are chosen; the fits themselves are deterministic.
    seed: int = 0
    folds: int = 5
    # Grams up to 4 characters hold most Chinese words and the stems of English ones; 5 gave no more and cost half
    # again.
    longest_ngram: int = 4
    word_pairs: bool = True
    # A gram of one text can only memorise it.
    min_count: int = 2
    max_features: int = 30_000
    # Scale of the n-grams beside an embedding of length 1.
    sparse_weight: float = 1.0
    # Ascending; small data sets end at the upper values' side as often as at the lower.
    grid: tuple[float, ...] = (3.0, 10.0, 30.0)
    # Share of held-out in-scope messages that may be taken for out of scope.
    rejected_in_scope: float = 0.05
    threads: int = 2


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """One task's fit with the utterances it was made from."""

    fitted: Fitted
    design: Design


def train_understanding(
    data: UnderstandingData,
    recipe: Recipe,
    base: BaseModel,
    out: Path,
    assistant_id: str,
    progress: Progress = lambda step, done, total: None,
) -> Manifest:
    """Train into the empty or absent folder `out`, ready for `Registry.add`.

    Args:
        progress: called with (step, done, total); steps are "encoder", "read", "intent", "sentiment", "write".
    Raises:
        DataError: nothing can be learned from the data; says what to add.
        BaseModelNotFound: the base's files do not make an encoder.
    """
    started = time.perf_counter()
    data.check()
    data = replace(data, intents=deduplicate(data.intents), sentiment=deduplicate(data.sentiment))
    data.check()
    created = datetime.now(UTC)
    stamp = fingerprint(data, recipe, base)
    out.mkdir(parents=True, exist_ok=True)
    encoder = _place_encoder(base, out, recipe, progress)
    vocabulary = NgramVocabulary.learn(
        [u.text for u in (*data.intents, *data.sentiment)],
        longest=recipe.longest_ngram,
        word_pairs=recipe.word_pairs,
        min_count=recipe.min_count,
        max_features=recipe.max_features,
    )
    tasks = _fit_tasks(data, recipe, encoder, vocabulary, progress)
    threshold = out_of_scope_threshold(tasks["intent"], recipe)
    save_heads(out / HEADS, {name: task.fitted.head for name, task in tasks.items()}, {})
    vocabulary.save(out / NGRAMS)
    data.entity_rules().save(out / ENTITIES)
    progress("write", 0, 1)
    intent = tasks["intent"].fitted
    manifest = Manifest(
        version=version_id(created, stamp),
        kind=KIND,
        assistant_id=assistant_id,
        created_at=created.isoformat(timespec="seconds"),
        base=base.name,
        base_source=base.source,
        base_sha256=base.sha256,
        recipe=recipe.name,
        fingerprint=stamp,
        data_sha256=data.sha256(),
        languages=tuple(sorted({u.language for u in data.intents if u.language})),
        intents=intent.head.labels,
        sentiments=tasks["sentiment"].fitted.head.labels if "sentiment" in tasks else (),
        temperature=intent.head.temperature,
        thresholds={"out_of_scope": threshold},
        metrics=_metrics(tasks),
        training={
            "examples": len(data.intents),
            "sentiment_examples": len(data.sentiment),
            "recipe": asdict(recipe),
            "regularisation": {name: task.fitted.regularisation for name, task in tasks.items()},
            "libraries": _libraries(),
            "seconds": round(time.perf_counter() - started, 2),
        },
        probes=(),
        files=_hashes(out),
    )
    return _with_probes(out, manifest, data, recipe, progress)


def fingerprint(data: UnderstandingData, recipe: Recipe, base: BaseModel) -> str:
    """What a version is made from: same fingerprint, same model, no need to train."""
    parts = [data.sha256(), asdict(recipe), base.name, base.sha256, base.prefix, _libraries()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def out_of_scope_threshold(task: _Trained, recipe: Recipe) -> float:
    """The energy that `rejected_in_scope` of the held-out in-scope messages exceed."""
    labels = task.design.labels
    in_scope = [k for k, label in enumerate(labels) if label not in OUT_OF_SCOPE_INTENTS]
    targets = task.design.targets[task.fitted.held_out]
    scores = energy(task.fitted.held_out_logits)[np.isin(targets, in_scope)]
    return float(np.quantile(scores, 1 - recipe.rejected_in_scope))


def _place_encoder(base: BaseModel, out: Path, recipe: Recipe, progress: Progress) -> Encoder | None:
    if base.folder is None:
        return None
    from training.export import exported_encoder  # PyTorch loads here, and only where a base is not yet exported

    files = exported_encoder(base, progress)
    for source in sorted(files.iterdir()):
        _link(source, out / source.name)
    return Encoder(out, recipe.threads)


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _fit_tasks(
    data: UnderstandingData, recipe: Recipe, encoder: Encoder | None, vocabulary: NgramVocabulary, progress: Progress
) -> dict[str, _Trained]:
    tasks = {}
    total = len(data.intents) + len(data.sentiment)
    done = 0
    for name, utterances in (("intent", data.intents), ("sentiment", data.sentiment)):
        if len({u.label for u in utterances}) < 2:
            continue
        dense = np.zeros((len(utterances), encoder.spec.dimensions if encoder else 0), dtype=np.float32)
        vectors: list[SparseVector] = []
        for start in range(0, len(utterances), EMBED_CHUNK):
            texts = [u.text for u in utterances[start : start + EMBED_CHUNK]]
            if encoder:
                dense[start : start + len(texts)] = encoder.embed(texts)
            vectors += [vocabulary.vector(text) for text in texts]
            done += len(texts)
            progress("read", done, total)
        design = _design(utterances, dense, vectors, vocabulary, recipe)
        fitted = fit_head(
            design,
            sparse_weight=recipe.sparse_weight,
            grid=recipe.grid,
            tick=lambda d, t, name=name: progress(name, d, t),  # type: ignore[misc]
        )
        tasks[name] = _Trained(fitted=fitted, design=design)
    return tasks


def _design(
    utterances: Sequence[Utterance],
    dense: Floats,
    vectors: Sequence[SparseVector],
    vocabulary: NgramVocabulary,
    recipe: Recipe,
) -> Design:
    labels = tuple(sorted({u.label for u in utterances}))
    index = {label: k for k, label in enumerate(labels)}
    return Design(
        dense=dense,
        sparse=to_csr(vectors, len(vocabulary.grams)),
        targets=np.array([index[u.label] for u in utterances], dtype=np.int64),
        labels=labels,
        folds=np.array(assign_folds(utterances, recipe.folds, recipe.seed), dtype=np.int64),
    )


def _metrics(tasks: dict[str, _Trained]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name, task in tasks.items():
        probabilities = softmax(task.fitted.held_out_logits / task.fitted.head.temperature)
        scores = score_predictions(probabilities, task.design.targets[task.fitted.held_out], task.design.labels)
        metrics |= {f"{name}_held_out_{key}": value for key, value in scores.items()}
    return metrics


def _with_probes(
    out: Path, manifest: Manifest, data: UnderstandingData, recipe: Recipe, progress: Progress
) -> Manifest:
    write_manifest(out, manifest)
    reader = load_understander(out, recipe.threads)
    step = max(1, len(data.intents) // PROBES)
    texts = [*dict.fromkeys([u.text for u in data.intents[::step]][:PROBES]), *ODD_PROBES]
    # One at a time, as a lone customer would: int8 rounding may differ a little inside a batch.
    answers = [reader.read([text])[0] for text in texts]
    probes = tuple(
        Probe(text=a.text, intent=a.intent.name, confidence=a.intent.confidence, sentiment=a.sentiment) for a in answers
    )
    write_manifest(out, replace(manifest, probes=probes))
    progress("write", 1, 1)
    return read_manifest(out)


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir()) if not path.name.startswith(".")}


def _libraries() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("numpy", "scikit-learn", "onnxruntime", "tokenizers")}
