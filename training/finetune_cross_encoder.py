"""Fine-tunes an encoder to read two texts together: does the passage answer, does the source support? PyTorch lives in
`tuning.py`; what is written here loads as `models.cross_encoder.CrossEncoder`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.artifact import link_file
from models.cross_encoder import HEADS, MAX_TOKENS, TASKS, Task, joined
from models.encoder import Encoder
from models.pretrained import BaseModel, load_torch_model, pooling
from training.export import export_tuned, exported_encoder
from training.recipes import Recipe

Progress = Callable[[str, int, int], None]

RECIPE = Recipe(name="cross-encoder", epochs=2, most_read=60_000, learning_rate=1e-4, head_rate=1e-3)
"""All layers: with the lower half frozen, or heads that begin from a probe, nothing was learned in as many steps."""
SPREAD = 10.0
START = 0.02
"""Standard deviation of the heads' first weights."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A text and a source; `holds`: the source answers it, or supports it."""

    text: str
    source: str
    holds: bool


def tune_cross_encoder(
    base: BaseModel, lessons: Mapping[Task, Sequence[Judged]], out: Path, progress: Progress, recipe: Recipe = RECIPE
) -> None:
    """Write the files of a cross-encoder to `out`, which must not exist. `lessons` has all of TASKS."""
    from training.tuning import Feed, Lesson, tune

    exported = exported_encoder(base, progress)
    encoder = Encoder(exported, recipe.threads, MAX_TOKENS)
    width = encoder.spec.dimensions

    rng = np.random.default_rng(recipe.seed)

    def lesson(pairs: Sequence[Judged]) -> Lesson:
        tokens = encoder.tokens([joined(pair.text, pair.source) for pair in pairs], with_spans=False, prefix="")
        return Lesson(
            tokens=[one.ids for one in tokens],
            targets=np.array([pair.holds for pair in pairs], dtype=np.int64),
            classes=2,
            start=(rng.normal(0, START, (width, 2)).astype(np.float32), np.zeros(2, dtype=np.float32)),
        )

    feed = Feed(words=encoder.words, pad_id=encoder.spec.pad_id, pool=pooling(base), longest=MAX_TOKENS, spread=SPREAD)
    tuned = tune(
        load_torch_model(base), feed, [lesson(lessons[task]) for task in TASKS], recipe,
        lambda done, total: progress("cross-encoder", done, total),
    )  # fmt: skip
    out.mkdir(parents=True)
    for file in exported.iterdir():
        link_file(file, out / file.name)
    export_tuned(tuned.model, base, out)
    heads: dict[str, NDArray[np.float32]] = {}
    for task, (weights, bias) in zip(TASKS, tuned.heads, strict=True):
        heads[f"{task}_weights"] = SPREAD * (weights[:, 1] - weights[:, 0])
        heads[f"{task}_bias"] = bias[1] - bias[0]
    np.savez(out / HEADS, **heads)  # type: ignore[arg-type]
