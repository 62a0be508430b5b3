"""Train one understanding version: features, heads, thresholds, and the folder that serves.

Plain data in, a version folder out; `bot/learning.py` brings the data and files the folder in the registry.
Invariant: features are computed by the very files that will serve, so that training and serving cannot drift apart.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from models.artifact import read_manifest, sha256_file, version_id, write_manifest
from models.base import KIND, Entity, Manifest, Probe
from models.clauses import PartsReader, Several
from models.encoder import Encoder
from models.heads import save_heads, softmax
from models.ngrams import NgramVocabulary
from models.pretrained import BaseModel
from models.selection import by_task
from models.tagging import Tagger, TagName
from models.understanding import ENTITIES, HEADS, KEYWORDS, NGRAMS, OUT_OF_SCOPE, load_understander
from training.dataset import UnderstandingData, Utterance, deduplicate, held_out_folds
from training.fit import Fitted, Search, Task, fit_head
from training.readings import Reading
from training.recipes import RECIPES, Recipe
from training.report import HeldOut, before_after, write_report
from training.scope import fit_scope
from training.scores import calibration_error, macro_f1
from training.selection import Selector, fit_selectors
from training.several import fit_several
from training.tagger import annotated_spans, fit_tagger, learnable, tag_labels, tag_targets

__all__ = ["RECIPES", "Progress", "Recipe", "fingerprint", "quiet", "train_understanding"]

Progress = Callable[[str, int, int], None]

# Raise when the same data and recipe would now make another model.
TRAINER = 7
PROBES = 12
# Texts that no training set holds and every channel brings.
ODD_PROBES = ("OK", "A-1001", "👍")
EMBED_CHUNK = 256
# Below this many texts a gram that occurs once may be all there is.
FEW_TEXTS = 200


def quiet(step: str, done: int, total: int) -> None:
    """A progress callback that shows nothing."""


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """One task's fit with what it was made from."""

    task: Task
    fitted: Fitted


def train_understanding(
    data: UnderstandingData,
    recipe: Recipe,
    base: BaseModel,
    out: Path,
    assistant_id: str,
    progress: Progress = quiet,
) -> Manifest:
    """Train into the empty or absent folder `out`, ready for `Registry.add`.

    Args:
        progress: called with (step, done, total); steps are "encoder", "read", "tune", "intent", "sentiment",
            "entities", "responses", "write".
    Raises:
        DataError: nothing can be learned from the data; says what to add.
        BaseModelNotFound: the base's files do not make an encoder.
    """
    started = time.perf_counter()
    data = replace(data, intents=deduplicate(data.intents), sentiment=deduplicate(data.sentiment))
    data.check()
    out.mkdir(parents=True, exist_ok=True)
    readings = _read(data, recipe, base, out, progress)
    vocabulary = _vocabulary([u.text for u in (*data.intents, *data.sentiment)], recipe)
    trained = _train_tasks(readings, recipe, vocabulary, progress)
    tagged = _train_tagger(data, recipe, readings, out, progress)
    selectors = _train_selectors(readings["intent"], recipe, vocabulary, progress)
    progress("write", 0, 1)
    intent = trained["intent"]
    scope = fit_scope(intent.task, intent.fitted, rejected_in_scope=recipe.rejected_in_scope)
    several = _learn_several(intent, vocabulary, Encoder(out, recipe.threads) if base.folder else None)
    extra = scope.scorer.arrays() | several.arrays() | (tagged.tagger.arrays() if tagged else {})
    heads = {name: one.fitted.head for name, one in trained.items()}
    save_heads(out / HEADS, heads | by_task(selector.head for selector in selectors), extra)
    vocabulary.save(out / NGRAMS)
    data.entity_rules().save(out / ENTITIES)
    if data.keywords:
        data.keywords.save(out / KEYWORDS)
    manifest = _manifest(data, recipe, base, assistant_id, trained, scope.threshold, time.perf_counter() - started)
    held_out = [_held_out(name, one, readings[name].utterances) for name, one in trained.items()]
    held_out[0] = replace(held_out[0], scope_scores=scope.scores, strange_scores=scope.strange)
    lines = before_after(held_out, base.name)
    metrics = {**manifest.metrics, **({"entity_held_out_f1": tagged.f1} if tagged and tagged.f1 is not None else {})}
    metrics |= {
        f"selector_{one.intent}_held_out_accuracy": one.held_out_accuracy
        for one in selectors
        if one.held_out_accuracy is not None
    }
    training = {**manifest.training, "before_after": [asdict(line) for line in lines]}
    manifest = replace(manifest, metrics=metrics, training=training)
    write_report(out, manifest, held_out, lines)
    _seal(out, manifest, data, recipe)
    progress("write", 1, 1)
    return read_manifest(out)


def fingerprint(data: UnderstandingData, recipe: Recipe, base: BaseModel) -> str:
    """What a version is made from: same fingerprint, same model, no need to train."""
    data = replace(data, intents=deduplicate(data.intents), sentiment=deduplicate(data.sentiment))
    parts = [TRAINER, data.sha256(), asdict(recipe), base.name, base.sha256, base.prefix, _libraries(recipe)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _read(
    data: UnderstandingData, recipe: Recipe, base: BaseModel, out: Path, progress: Progress
) -> dict[str, Reading]:
    """Every task's rows as the encoder that will serve reads them, that encoder left in `out`."""
    sets = {"intent": data.intents, "sentiment": data.sentiment}
    plain = {name: rows for name, rows in sets.items() if len({u.label for u in rows}) >= 2}
    folds = {name: np.array(held_out_folds(rows, recipe.folds, recipe.seed)) for name, rows in plain.items()}
    if base.folder is None:
        return {name: Reading.without_encoder(rows, folds[name]) for name, rows in plain.items()}
    from training.encoders import embed, frozen, tuned  # the n-gram base trains without what these need

    if not recipe.tunes:
        return frozen(plain, folds, data.entities, recipe, base, out, progress)
    real = {name: rows for name, rows in plain.items() if name != "intent" or not data.intents_stand_in}
    readings = tuned(real, {name: folds[name] for name in real}, data.entities, recipe, base, out, progress)
    encoder = Encoder(out, recipe.threads)
    for name in plain.keys() - real.keys():
        dense = embed(encoder, encoder.tokens([u.text for u in plain[name]]), progress)
        readings[name] = Reading(utterances=plain[name], folds=folds[name], dense=dense)
    return {name: readings[name] for name in plain}


def _vocabulary(texts: Sequence[str], recipe: Recipe) -> NgramVocabulary:
    return NgramVocabulary.learn(
        texts,
        longest=recipe.longest_ngram,
        word_pairs=recipe.word_pairs,
        min_count=recipe.min_count if len(texts) >= FEW_TEXTS else 1,
        max_features=recipe.max_features,
    )


def _train_tasks(
    readings: dict[str, Reading], recipe: Recipe, vocabulary: NgramVocabulary, progress: Progress
) -> dict[str, _Trained]:
    trained = {}
    for name, reading in readings.items():

        def tick(done: int, total: int, name: str = name) -> None:
            progress(name, done, total)

        task = reading.task()
        search = replace(_search(task, recipe), is_apart=recipe.tunes and name == "sentiment")
        # Matrices this small gain little from a second thread, and lose half their speed where another process has
        # the core.
        with threadpool_limits(1, user_api="blas"):
            fitted = fit_head(task, vocabulary, lambda texts: _vocabulary(texts, recipe), search, tick)
        trained[name] = _Trained(task=task, fitted=fitted)
    return trained


def _search(task: Task, recipe: Recipe) -> Search:
    return Search(
        rank=recipe.rank if task.dense.shape[1] else recipe.rank_alone,
        regularisation=recipe.regularisation,
        start_c=recipe.start_c,
        sparse_weights=recipe.sparse_weights,
        start_weight=recipe.start_weight,
    )


def _train_selectors(
    reading: Reading, recipe: Recipe, vocabulary: NgramVocabulary, progress: Progress
) -> tuple[Selector, ...]:
    """Which response of a retrieval intent fits; empty where no intent has several responses."""
    if all(utterance.response is None for utterance in reading.utterances):
        return ()
    progress("responses", 0, 1)
    with threadpool_limits(1, user_api="blas"):
        selectors = fit_selectors(
            reading,
            vocabulary,
            lambda texts: _vocabulary(texts, recipe),
            _search(reading.task(), recipe),
            folds=recipe.folds,
            seed=recipe.seed,
        )
    progress("responses", 1, 1)
    return selectors


def _learn_several(intent: _Trained, vocabulary: NgramVocabulary, encoder: Encoder | None) -> Several:
    reader = PartsReader(head=intent.fitted.head, vocabulary=vocabulary, encoder=encoder)
    return fit_several(intent.task.texts, intent.task.targets.tolist(), reader)


@dataclass(frozen=True, kw_only=True)
class _Tagged:
    """The tagger, and the span F1 on the first fold of one fitted without it.

    `f1` is None for a tuned encoder: its last tuning has seen every fold.
    """

    tagger: Tagger
    f1: float | None


def _train_tagger(
    data: UnderstandingData, recipe: Recipe, readings: dict[str, Reading], out: Path, progress: Progress
) -> _Tagged | None:
    """Entities from token vectors; None without an encoder or where too few are annotated."""
    learned = learnable(data.intents, tuple(name for name, _ in data.entities.regexes))
    if not learned or not readings["intent"].dense.shape[1]:
        return None
    encoder = Encoder(out, recipe.threads)
    progress("entities", 0, 3)
    tokens = encoder.tokens([u.text for u in data.intents])
    hidden = encoder.run(tokens, with_hidden=True).hidden
    assert hidden is not None
    progress("entities", 1, 3)
    labels = tag_labels(data.intents, learned)
    targets = tag_targets(data.intents, tokens, learned, labels)
    folds = readings["intent"].folds
    with threadpool_limits(1, user_api="blas"):
        tagger = fit_tagger(hidden, targets, labels, recipe.seed)
        progress("entities", 2, 3)
        if readings["intent"].tuned:
            return _Tagged(tagger=tagger, f1=None)
        seen = [row for row in range(len(folds)) if folds[row]]
        rehearsed = fit_tagger([hidden[r] for r in seen], [targets[r] for r in seen], labels, recipe.seed)
    unseen = [row for row in range(len(folds)) if not folds[row]]
    found = [rehearsed.find(data.intents[row].text, tokens[row].spans, hidden[row]) for row in unseen]
    meant = [annotated_spans(data.intents[row], learned) for row in unseen]
    progress("entities", 3, 3)
    return _Tagged(tagger=tagger, f1=_span_f1(found, meant))


def _span_f1(found: Sequence[Sequence[Entity]], meant: Sequence[Sequence[tuple[str, int, int]]]) -> float:
    said = {
        (row, str(TagName(entity=e.entity, role=e.role, group=e.group)), e.start, e.end)
        for row, line in enumerate(found)
        for e in line
    }
    true = {(row, *one) for row, line in enumerate(meant) for one in line}
    return 2 * len(said & true) / max(1, len(said) + len(true))


def _held_out(name: str, trained: _Trained, utterances: Sequence[Utterance] = ()) -> HeldOut:
    fitted, task = trained.fitted, trained.task
    rows = [utterances[row] for row in fitted.held_out.tolist()] if utterances else []
    probabilities = softmax(fitted.logits / fitted.head.temperature)
    return HeldOut(
        task=name,
        labels=task.labels,
        targets=task.targets[fitted.held_out],
        predicted=probabilities.argmax(axis=1),
        confidence=probabilities.max(axis=1),
        floor=fitted.floor.argmax(axis=1),
        majority=int(np.bincount(task.targets).argmax()),
        texts=tuple(u.text for u in rows),
        languages=tuple(u.language for u in rows),
    )


def _manifest(
    data: UnderstandingData,
    recipe: Recipe,
    base: BaseModel,
    assistant_id: str,
    trained: dict[str, _Trained],
    threshold: float,
    seconds: float,
) -> Manifest:
    created = datetime.now(UTC)
    stamp = fingerprint(data, recipe, base)
    metrics: dict[str, float] = {}
    for name, one in trained.items():
        held = _held_out(name, one)
        metrics[f"{name}_held_out_accuracy"] = float(np.mean(held.predicted == held.targets))
        metrics[f"{name}_held_out_macro_f1"] = macro_f1(held.predicted, held.targets)
        metrics[f"{name}_held_out_ece"] = calibration_error(held.confidence, held.predicted == held.targets)
        metrics[f"{name}_floor_accuracy"] = float(np.mean(held.floor == held.targets))
    return Manifest(
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
        intents=trained["intent"].task.labels,
        sentiments=trained["sentiment"].task.labels if "sentiment" in trained else (),
        temperature=trained["intent"].fitted.head.temperature,
        thresholds={OUT_OF_SCOPE: threshold},
        metrics=metrics,
        training={
            "examples": len(data.intents),
            "sentiment_examples": len(data.sentiment),
            "recipe": asdict(recipe),
            "regularisation": {name: one.fitted.regularisation for name, one in trained.items()},
            "sparse_weight": {name: one.fitted.sparse_weight for name, one in trained.items()},
            "libraries": _libraries(recipe),
            "seconds": round(seconds, 2),
        },
        probes=(),
    )


def _seal(out: Path, manifest: Manifest, data: UnderstandingData, recipe: Recipe) -> None:
    """Hash every file, then load the folder as a server would and note what it answers to the probes."""
    files = {path.name: sha256_file(path) for path in sorted(out.iterdir()) if path.name[0] != "."}
    manifest = replace(manifest, files=files)
    write_manifest(out, manifest)
    reader = load_understander(out, recipe.threads)
    step = max(1, len(data.intents) // PROBES)
    texts = [*dict.fromkeys([u.text for u in data.intents[::step]][:PROBES]), *ODD_PROBES]
    probes = tuple(
        Probe(text=a.text, intent=a.intent.name, confidence=a.intent.confidence, sentiment=a.sentiment)
        for a in reader.read(texts)
    )
    write_manifest(out, replace(manifest, probes=probes))


def _libraries(recipe: Recipe) -> dict[str, str]:
    """Versions of what decides the result."""
    names = ["numpy", "scikit-learn", "onnxruntime", "tokenizers"]
    if recipe.tunes:
        names += ["torch", "transformers", "onnx", *(["peft"] if recipe.lora_rank else [])]
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # said by whoever needs it
        return ""
