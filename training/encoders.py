"""From a base to the encoder that serves and what it makes of the training texts: frozen as it came, or tuned.

The tuning itself is `tuning.py`'s, the files are `export.py`'s. Invariant: vectors of training texts come from the
exported int8 files, the very ones that will serve; those of held-out rows from an encoder that saw no label of theirs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from models.artifact import link_file
from models.encoder import Encoder
from models.entities import EntityRules
from models.pretrained import BaseModel, load_torch_model, pooling
from models.tokens import Tokens
from training.dataset import Utterance
from training.export import TUNED_WEIGHTS, export_tuned, exported_encoder
from training.fit import probe
from training.readings import EMBED_CHUNK, Reading, label_indices
from training.recipes import Recipe
from training.tagger import learnable, tag_labels, tag_targets

Progress = Callable[[str, int, int], None]
Sets = Mapping[str, Sequence[Utterance]]
Folds = Mapping[str, NDArray[np.int64]]

# The probe that heads begin from: free enough to separate, and the same for every data set.
PROBE_C = 10.0


def frozen(
    sets: Sets, folds: Folds, rules: EntityRules, recipe: Recipe, base: BaseModel, out: Path, progress: Progress
) -> dict[str, Reading]:
    """The base as it came, its files in `out`."""
    encoder = _placed(base, out, recipe, progress)
    tokens = {name: encoder.tokens([u.text for u in rows]) for name, rows in sets.items()}
    return {
        name: Reading(utterances=rows, folds=folds[name], dense=embed(encoder, tokens[name], progress))
        for name, rows in sets.items()
    }


def tuned(
    sets: Sets, folds: Folds, rules: EntityRules, recipe: Recipe, base: BaseModel, out: Path, progress: Progress
) -> dict[str, Reading]:
    """The base tuned on all sets together: once without each measured fold and, where rows are few, once with all."""
    encoder = _placed(base, out, recipe, progress)
    tokens = {name: encoder.tokens([u.text for u in rows]) for name, rows in sets.items()}
    start = {name: embed(encoder, tokens[name], progress) for name in sets}
    measured = _measured_folds(folds, recipe)
    refits = sum(map(len, sets.values())) < recipe.refit_below
    runs: list[int | None] = [*measured, *([None] if refits else [])]
    ticks = _Ticks(progress, len(runs))
    dense: dict[str, dict[int, NDArray[np.float32]]] = {name: {} for name in sets}
    final: dict[str, NDArray[np.float32]] = {}
    for fold in runs:
        with _copy_of(out) as folder:
            _tune_into(folder, _Without(sets, folds, tokens, start, rules, fold), recipe, base, encoder, ticks)
            made = Encoder(folder, recipe.threads)
            final = {name: embed(made, tokens[name], progress) for name in sets}
            if fold is not None:
                for name in sets:
                    dense[name][fold] = final[name]
            if fold == runs[-1]:
                _replace(out, folder)
        ticks.next_run()
    return {
        name: Reading(utterances=rows, folds=folds[name], dense=final[name], tuned=dense[name])
        for name, rows in sets.items()
    }


def embed(encoder: Encoder, tokens: Sequence[Tokens], progress: Progress) -> NDArray[np.float32]:
    """N texts' vectors, (N, D)."""
    out = np.zeros((len(tokens), encoder.spec.dimensions), dtype=np.float32)
    for start in range(0, len(tokens), EMBED_CHUNK):
        rows = slice(start, start + EMBED_CHUNK)
        out[rows] = encoder.run(tokens[rows]).vectors
        progress("read", min(start + EMBED_CHUNK, len(tokens)), len(tokens))
    return out


class _Without:
    """All sets without the rows of one fold (None: with all), as lessons of a tuning."""

    def __init__(
        self,
        sets: Sets,
        folds: Folds,
        tokens: Mapping[str, Sequence[Tokens]],
        start: Mapping[str, NDArray[np.float32]],
        rules: EntityRules,
        fold: int | None,
    ) -> None:
        self.sets, self.tokens, self.start = sets, tokens, start
        self.patterns = tuple(name for name, _ in rules.regexes)
        self.rows = {
            name: np.flatnonzero(folds[name] != fold) if fold is not None else np.arange(len(rows))
            for name, rows in sets.items()
        }


def _tune_into(folder: Path, part: _Without, recipe: Recipe, base: BaseModel, encoder: Encoder, ticks: _Ticks) -> None:
    from training.tuning import Feed, Lesson, tune

    lessons = []
    for name, rows in part.rows.items():
        utterances = [part.sets[name][row] for row in rows.tolist()]
        tokens = [part.tokens[name][row] for row in rows.tolist()]
        labels, targets = label_indices(part.sets[name])
        with threadpool_limits(recipe.threads, user_api="blas"):
            start = probe(part.start[name][rows], targets[rows], len(labels), PROBE_C)
        learned = learnable(utterances, part.patterns)
        tags = tag_labels(utterances, learned)
        lessons.append(
            Lesson(
                tokens=[one.ids for one in tokens],
                targets=targets[rows],
                classes=len(labels),
                start=start,
                tags=tag_targets(utterances, tokens, learned, tags) if learned else None,
                tag_classes=len(tags),
            )
        )
    feed = Feed(words=encoder.words, pad_id=encoder.spec.pad_id, pool=pooling(base))
    model = tune(load_torch_model(base), feed, lessons, recipe, ticks).model
    export_tuned(model, base, folder)
    _keep_weights(model, folder)


def _keep_weights(model: Any, folder: Path) -> None:
    """The tuned weights at half precision, for `kefu explain --method gradients`; serving does not read them."""
    from safetensors.torch import save_file

    words = set(map(id, model.get_input_embeddings().parameters()))
    kept = {
        name: value.detach().half().contiguous() for name, value in model.named_parameters() if id(value) not in words
    }
    (folder / TUNED_WEIGHTS).unlink(missing_ok=True)
    save_file(kept, folder / TUNED_WEIGHTS)


def _measured_folds(folds: Folds, recipe: Recipe) -> list[int]:
    """Folds held out in turn until every task has rows enough to choose its settings on."""
    out: list[int] = []
    for fold in range(recipe.folds):
        out.append(fold)
        if all(int(np.isin(found, out).sum()) >= recipe.enough_held_out for found in folds.values()):
            break
    return out


class _Ticks:
    """Steps of several tunings, shown as one."""

    def __init__(self, progress: Progress, runs: int) -> None:
        self._progress, self._runs, self._run = progress, runs, 0

    def __call__(self, done: int, total: int) -> None:
        self._progress("tune", self._run * total + done, self._runs * total)

    def next_run(self) -> None:
        self._run += 1


def _placed(base: BaseModel, out: Path, recipe: Recipe, progress: Progress) -> Encoder:
    for source in sorted(exported_encoder(base, progress).iterdir()):
        link_file(source, out / source.name)
    return Encoder(out, recipe.threads)


@contextmanager
def _copy_of(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tuned-") as work:
        for source in sorted(folder.iterdir()):
            if source.is_file():
                link_file(source, Path(work) / source.name)
        yield Path(work)


def _replace(out: Path, made: Path) -> None:
    for source in sorted(made.iterdir()):
        link_file(source, out / source.name)
