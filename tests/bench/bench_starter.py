"""The starter on its fixed test messages, by another author than the training text: `quick` and `full`, both languages.

python -m tests.bench.bench_starter [--recipes quick full]  →  results/starter_quick.json, results/starter_full.json

Beside the figures of `kefu evaluate`: how long `kefu train` took, and what the same heads say of the encoder's vectors
in float32.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bot import learning
from bot.assistant.loader import load_assistant
from bot.evaluation import evaluate_assistant
from bot.lessons import fixed_tests
from bot.settings import STARTER, load_settings
from models.base import KIND
from models.encoder import Encoder
from models.pretrained import load_torch_model, pooling, resolve_base
from models.registry import Registry
from models.understanding import TrainedUnderstander, load_understander
from tests.bench.report import write
from training.attribution import tuned_weights

SECONDS = {"quick": 90.0, "full": 900.0}
GAP = 0.03
INT8_LOSS = 0.003
CALIBRATION = 0.03


def float_intents(
    reader: TrainedUnderstander, folder: Path, texts: list[str], base_name: str, cache: Path
) -> list[str]:
    """The intents that the version's own heads read from float32 vectors of the same encoder."""
    import torch

    base = resolve_base(base_name, cache)
    model, encoder = load_torch_model(base), reader.encoder
    assert isinstance(encoder, Encoder)
    tuned_weights(model, folder)
    plain = [unicodedata.normalize("NFC", text) for text in texts]
    vectors = []
    for tokens in encoder.tokens(plain):
        embeds = torch.from_numpy(encoder.words(np.array([tokens.ids])))
        with torch.inference_mode():
            hidden = model(inputs_embeds=embeds, attention_mask=torch.ones(1, len(tokens.ids))).last_hidden_state[0]
        vector = hidden[0] if pooling(base) == "cls" else hidden.mean(0)
        vectors.append(torch.nn.functional.normalize(vector, dim=-1).numpy())
    features = replace(reader.features(texts), dense=np.stack(vectors))
    best = reader.intent_head.logits(features).argmax(axis=1)
    return [reader.intent_head.labels[k] for k in best]


def measure(recipe: str, cache: Path) -> dict[str, Any]:
    assistant = load_assistant(STARTER, {})
    with tempfile.TemporaryDirectory(prefix="kefu-bench-") as home:
        settings = replace_home(Path(home), cache)
        started = time.perf_counter()
        learning.train(settings, assistant, promote="always", recipe=recipe, console=Console(quiet=True))
        train_s = time.perf_counter() - started
        report = evaluate_assistant(settings, assistant, console=Console(quiet=True))
        registry = Registry(settings.models_dir, assistant.assistant_id)
        folder = registry.path(KIND, report.version)
        reader = load_understander(folder, settings.inference_threads)
        tests = fixed_tests(assistant).intents
        texts = [u.text for u in tests]
        found = float_intents(reader, folder, texts, assistant.config.base, settings.bases_dir)
        right = float(np.mean([said == u.label for said, u in zip(found, tests, strict=True)]))
        manifest = registry.manifest(KIND, report.version)
        slices = [vars(one) for one in report.tasks["intent"].slices]
        return {
            "base": manifest.base,
            "recipe": manifest.training["recipe"],
            "train_s": round(train_s, 1),
            **report.figures(),
            "intent_accuracy_float32": right,
            "intent_floor_held_out": manifest.metrics["intent_floor_accuracy"],
            "temperature": manifest.temperature,
            "slices": slices,
            "gaps": [vars(gap) for gap in report.tasks["intent"].gaps],
            "coverage": [vars(row) for row in report.tasks["intent"].coverage],
        }


def replace_home(home: Path, cache: Path) -> Any:
    """Settings with a home of their own, base models shared."""
    (home / "bases").symlink_to(cache)
    return load_settings().model_copy(update={"home": home})


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--recipes", nargs="+", default=["quick", "full"], choices=sorted(SECONDS))
    given = options.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory(prefix="kefu-bench-") as cache:
        for recipe in given.recipes:
            found = measure(recipe, Path(cache))
            gap = abs(found["intent_accuracy_en"] - found["intent_accuracy_zh"])
            targets = {
                f"trained in ≤ {SECONDS[recipe]:.0f} s": found["train_s"] <= SECONDS[recipe],
                "English and Chinese intents within 3 points": gap <= GAP,
                "int8 within 0.3 points of float32": found["intent_accuracy_float32"] - found["intent_accuracy"]
                <= INT8_LOSS,
                "calibration error of intents ≤ 0.03": found["intent_ece"] <= CALIBRATION,
            }
            write(f"starter_{recipe}", found, targets=targets)
            missed += not all(targets.values())
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
