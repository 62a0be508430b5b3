"""The starter on its fixed test messages, by another author than the training text: `quick` and `full`, both languages.

python -m tests.bench.bench_starter [--recipes quick full] [--seeds 0 1 2]  →  results/starter_quick.json, _full.json

Beside the figures of `kefu evaluate`: how long `kefu train` took, what the same heads say of the encoder's vectors in
float32, and the standard errors of what is compared, by drawing the test messages again. Figures are means over the
seeds, with the interval of those that are compared; the first seed's slices. A difference is within its limit where it
is not more than one standard error beyond it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bot import learning
from bot.assistant.loader import load_assistant
from bot.evaluation import evaluate_assistant
from bot.lessons import FixedTests, fixed_tests
from bot.settings import STARTER, load_settings
from models.base import KIND, OUT_OF_SCOPE_INTENTS
from models.encoder import Encoder
from models.pretrained import load_torch_model, pooling, resolve_base
from models.registry import Registry
from models.understanding import TrainedUnderstander, load_understander
from tests.bench.bench_banking77 import interval
from tests.bench.report import write
from training.attribution import tuned_weights
from training.evaluate import judged_as, read_all, sum_up
from training.parts import meant_spans, said_spans
from training.scores import span_score

SECONDS = {"quick": 90.0, "full": 900.0, "small": 900.0}
GAP = 0.03
INT8_LOSS = 0.003
CALIBRATION = 0.03
LANGUAGES = ("_en", "_zh")
BY_LANGUAGE = ("intent_accuracy", "sentiment_macro_f1", "entity_f1", "oos_auroc")
REDRAWS = 200


def float_intents(
    reader: TrainedUnderstander, folder: Path, texts: list[str], base_name: str, cache: Path
) -> list[str]:
    """The intents that the version's own heads read from float32 vectors of the same encoder."""
    import torch

    base = resolve_base(base_name, cache)
    model, encoder = load_torch_model(base), reader.encoder
    assert isinstance(encoder, Encoder)
    tuned_weights(model, folder, reader.manifest)
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


def gap_errors(reader: TrainedUnderstander, tests: FixedTests) -> dict[str, float]:
    """Standard errors of the differences between the languages, by redrawing the test messages of each."""
    understood, moods = read_all(reader, tests.intents), read_all(reader, tests.sentiment)
    types = {value.entity for u in tests.intents for value in u.entities}
    spoken = {language: [k for k, u in enumerate(tests.intents) if u.language == language] for language in ("en", "zh")}
    felt = {language: [k for k, u in enumerate(tests.sentiment) if u.language == language] for language in ("en", "zh")}
    intents, feelings = judged_as(tests.intents, understood, "intent"), judged_as(tests.sentiment, moods, "sentiment")
    pairs = [(meant_spans(u), said_spans(answer, types)) for u, answer in zip(tests.intents, understood, strict=True)]
    rng = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {name: [] for name in BY_LANGUAGE}
    for _ in range(REDRAWS):
        figures = []
        for language in ("en", "zh"):
            rows, moody = (
                rng.choice(spoken[language], len(spoken[language])),
                rng.choice(felt[language], len(felt[language])),
            )
            strange = [intents[k] for k in rows if intents[k].label in OUT_OF_SCOPE_INTENTS]
            familiar = [intents[k] for k in rows if intents[k].label not in OUT_OF_SCOPE_INTENTS]
            figures.append(
                {
                    "intent_accuracy": float(np.mean([intents[k].is_right for k in rows])),
                    "sentiment_macro_f1": sum_up([feelings[k] for k in moody]).macro_f1,
                    "entity_f1": span_score(language, [pairs[k] for k in rows]).f1,
                    "oos_auroc": sum_up(familiar, strange).oos_auroc or 0.0,
                }
            )
        for name in BY_LANGUAGE:
            drawn[name].append(figures[0][name] - figures[1][name])
    return {name: float(np.std(values, ddof=1)) for name, values in drawn.items()}


def measure(recipe: str, seed: int, cache: Path) -> dict[str, Any]:
    """One training through `kefu train`'s own function, everything that is said of it."""
    assistant = load_assistant(STARTER, {})
    resolve_base(assistant.config.base, cache)  # the network's time is not the training's
    with tempfile.TemporaryDirectory(prefix="kefu-bench-") as home:
        settings = replace_home(Path(home), cache)
        started = time.perf_counter()
        learning.train(settings, assistant, promote="always", recipe=recipe, seed=seed, console=Console(quiet=True))
        train_s = time.perf_counter() - started
        report = evaluate_assistant(settings, assistant, console=Console(quiet=True))
        registry = Registry(settings.models_dir, assistant.assistant_id)
        folder = registry.path(KIND, report.version)
        reader = load_understander(folder, settings.inference_threads)
        tests = fixed_tests(assistant)
        texts = [u.text for u in tests.intents]
        found = float_intents(reader, folder, texts, assistant.config.base, settings.bases_dir)
        right = np.array([name == u.label for name, u in zip(found, tests.intents, strict=True)])
        served = np.array([j.is_right for j in judged_as(tests.intents, read_all(reader, tests.intents), "intent")])
        manifest = registry.manifest(KIND, report.version)
        return {
            "seed": seed,
            "base": manifest.base,
            "recipe": manifest.training["recipe"],
            "train_s": round(train_s, 1),
            **report.figures(),
            "intent_accuracy_float32": float(right.mean()),
            "int8_loss_error": float((right.astype(float) - served).std(ddof=1) / np.sqrt(len(right))),
            **{f"{name}_gap_error": error for name, error in gap_errors(reader, tests).items()},
            "intent_floor_held_out": manifest.metrics["intent_floor_accuracy"],
            "temperature": manifest.temperature,
            "slices": [vars(one) for one in report.tasks["intent"].slices],
            "gaps": [vars(gap) for gap in report.tasks["intent"].gaps],
            "coverage": [vars(row) for row in report.tasks["intent"].coverage],
        }


def summed_up(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the runs, 95 % intervals of what is given by language, and each run's numbers."""
    figures = {name: [float(run[name]) for run in runs] for name, value in runs[0].items() if _is_number(value)}
    numbers = [{name: run[name] for name in figures} for run in runs]
    intervals = {}
    for name, values in figures.items():
        mean, half = interval(values)
        if len(values) > 1 and name.endswith(LANGUAGES):
            intervals[name] = [round(mean - half, 4), round(mean + half, 4)]
    means = {name: round(float(np.mean(values)), 4) for name, values in figures.items() if name != "seed"}
    return {**runs[0], **means, "seeds": len(runs), "interval_95": intervals, "runs": numbers}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def targets_of(recipe: str, found: dict[str, Any]) -> dict[str, bool]:
    met = {f"trained in ≤ {SECONDS[recipe]:.0f} s": max(run["train_s"] for run in found["runs"]) <= SECONDS[recipe]}
    for name in BY_LANGUAGE:
        gap, error = abs(found[f"{name}_en"] - found[f"{name}_zh"]), found[f"{name}_gap_error"]
        met[f"English and Chinese within 3 points: {name} ({gap:.1%}, standard error {error:.1%})"] = gap <= GAP + error
    loss, error = found["intent_accuracy_float32"] - found["intent_accuracy"], found["int8_loss_error"]
    met[f"int8 within 0.3 points of float32 ({loss:.2%}, standard error {error:.2%})"] = loss <= INT8_LOSS + error
    met["calibration error of intents ≤ 0.03"] = found["intent_ece"] <= CALIBRATION
    met["calibration error of moods ≤ 0.03"] = found["sentiment_ece"] <= CALIBRATION
    return met


def replace_home(home: Path, cache: Path) -> Any:
    """Settings with a home of their own, base models shared."""
    (home / "bases").symlink_to(cache)
    return load_settings().model_copy(update={"home": home})


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--recipes", nargs="+", default=["quick", "full"], choices=sorted(SECONDS))
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = options.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory(prefix="kefu-bench-") as cache:
        for recipe in given.recipes:
            runs = []
            for seed in given.seeds:
                runs.append(measure(recipe, seed, Path(cache)))
                found = summed_up(runs)
                targets = targets_of(recipe, found)
                write(f"starter_{recipe}", found, targets=targets)
            missed += not all(targets.values())
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
