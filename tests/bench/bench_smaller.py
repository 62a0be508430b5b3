"""Fewer layers: how much faster the English base reads, and what it costs on held-out BANKING77 training messages.

python -m tests.bench.bench_smaller [--kept 1 0.67 0.5] [--threads 2]  →  results/smaller.json

`full` with only a share of the layers kept, from the bottom; no test file is opened. Reading is timed with one thread,
the variants in turn, several times over, and the quickest pass counts: the machine may be shared.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from models.pretrained import resolve_base
from models.understanding import TrainedUnderstander, load_understander
from tests.bench.report import write
from training.dataset import UnderstandingData
from training.finetune_understanding import RECIPES, train_understanding
from training.readers import read_utterances
from training.scores import wilson_interval

ENGLISH = "all-MiniLM-L6-v2"
# A smaller variant would be shipped if it lost no more than this.
EQUAL = 0.003
ROUNDS, BATCH, BATCHES = 5, 32, 8


def reading_ms(reader: TrainedUnderstander, texts: Sequence[str]) -> float:
    """Milliseconds a message in batches of 32."""
    started = time.perf_counter()
    for k in range(BATCHES):
        reader.read(texts[k * BATCH : (k + 1) * BATCH])
    return (time.perf_counter() - started) * 1000 / (BATCH * BATCHES)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kept", type=float, nargs="+", default=[1, 0.67, 0.5])
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args()
    data = Path(os.environ.get("KEFU_DATA", "../shared/data"))
    utterances = tuple(read_utterances(data / "banking77/train.csv"))
    found: dict[str, Any] = {"base": ENGLISH, "data": "BANKING77, held-out training messages", "seed": 0}
    readers = {}
    with tempfile.TemporaryDirectory(prefix="kefu-bench-") as folder:
        base = resolve_base(ENGLISH, Path(folder) / "bases", print)
        for kept in given.kept:
            recipe = replace(RECIPES["full"], kept=kept, threads=given.threads)
            out = Path(folder) / str(kept)
            manifest = train_understanding(UnderstandingData(intents=utterances), recipe, base, out, "bench")
            accuracy = manifest.metrics["intent_held_out_accuracy"]
            n = len(utterances) // recipe.folds
            found[f"{kept:.0%} of the layers"] = {
                "held_out_accuracy": accuracy,
                "interval_95": wilson_interval(accuracy, n),
                "n": n,
                "train_s": manifest.training["seconds"],
            }
            print(f"{accuracy:.4f} with {kept:.0%} of the layers", flush=True)
            readers[kept] = load_understander(out, 1)
        texts = [u.text for u in utterances if 45 <= len(u.text) <= 65][: BATCH * BATCHES]
        with threadpool_limits(1, user_api="blas"):
            rounds = [{kept: reading_ms(reader, texts) for kept, reader in readers.items()} for _ in range(ROUNDS)]
        for kept in given.kept:
            found[f"{kept:.0%} of the layers"]["ms_a_message"] = round(min(one[kept] for one in rounds), 3)
    accuracies = {kept: found[f"{kept:.0%} of the layers"]["held_out_accuracy"] for kept in given.kept}
    targets = {
        f"{kept:.0%} of the layers lose at most {EQUAL:.1%}": max(accuracies.values()) - accuracy <= EQUAL
        for kept, accuracy in accuracies.items()
    }
    write("smaller", found, targets=targets)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
