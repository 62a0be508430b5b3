"""Reading messages through the runtime with all heads, beside `transformers` eager in the same run.

python -m tests.bench.bench_understanding [--threads 2]  →  results/understanding.json

One customer at a time gives the latency; 32 customers, each waiting for the answer before the next message, give the
throughput. Messages are the starter's fixed test messages of 13 to 17 tokens, each read once a pass. Eager reads the
same texts with the same base: tokenizer, forward pass and the heads' matrix product, alone and in batches of 32.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.assistant.loader import load_assistant
from bot.lessons import collect_lessons, fixed_tests
from bot.settings import STARTER
from models.base import KIND
from models.pretrained import BaseModel, load_torch_model, pooling, resolve_base
from models.registry import Registry
from models.runtime import ServedUnderstander
from models.understanding import TrainedUnderstander, load_understander
from tests.bench.report import latency, write
from training.finetune_understanding import RECIPES, Recipe, train_understanding

ENGLISH, MULTILINGUAL = "all-MiniLM-L6-v2", "multilingual-e5-small"
TOKENS = range(13, 18)
ALONE = 300
CONCURRENT, ROUNDS = 32, 40
# Name in the results → base and recipe; of the recipe only how many layers it keeps takes part in the time.
VARIANTS = {
    ENGLISH: (ENGLISH, RECIPES["quick"]),
    f"{ENGLISH}, small": (ENGLISH, replace(RECIPES["small"], epochs=1)),
    MULTILINGUAL: (MULTILINGUAL, RECIPES["quick"]),
}
P50_MS, PER_S, TIMES_EAGER = 3.5, 700.0, 3.0


def version(base: BaseModel, recipe: Recipe, home: Path, threads: int) -> tuple[Registry, TrainedUnderstander]:
    """A version of the starter on `base`, promoted in a registry of its own."""
    assistant = load_assistant(STARTER, {})
    lessons = collect_lessons(assistant, (), fixed_tests(assistant))
    out = home / "made"
    train_understanding(lessons.data, replace(recipe, threads=threads), base, out, assistant.assistant_id)
    registry = Registry(home / "models", assistant.assistant_id)
    name = registry.add(KIND, out)
    registry.promote(KIND, name)
    return registry, load_understander(registry.path(KIND, name), threads)


def messages(reader: TrainedUnderstander) -> list[str]:
    """Test messages of about 15 tokens for this base."""
    assert reader.encoder is not None
    texts = [u.text for u in fixed_tests(load_assistant(STARTER, {})).intents]
    return [t for t, read in zip(texts, reader.encoder.tokens(texts), strict=True) if len(read.ids) in TOKENS]


async def through_runtime(registry: Registry, texts: Sequence[str], threads: int) -> dict[str, Any]:
    served = ServedUnderstander(registry, KIND, threads)
    await served.start()
    try:
        await served.understand(texts[:CONCURRENT])
        alone = []
        for k in range(ALONE):
            started = time.perf_counter()
            await served.understand([texts[k % len(texts)]])
            alone.append(time.perf_counter() - started)
        waits: list[float] = []

        async def customer(number: int) -> None:
            for turn in range(ROUNDS):
                started = time.perf_counter()
                await served.understand([texts[(number + turn * CONCURRENT) % len(texts)]])
                waits.append(time.perf_counter() - started)

        rates = []
        for _ in range(3):
            started = time.perf_counter()
            await asyncio.gather(*(customer(number) for number in range(CONCURRENT)))
            rates.append(CONCURRENT * ROUNDS / (time.perf_counter() - started))
        return {"alone": latency(alone), "concurrent": latency(waits), "per_s": [round(rate, 1) for rate in rates]}
    finally:
        await served.stop()


def eager(base: BaseModel, reader: TrainedUnderstander, texts: Sequence[str], threads: int) -> dict[str, Any]:
    """The same base in PyTorch, as a first server would have it."""
    import torch

    torch.set_num_threads(threads)
    model, encoder = load_torch_model(base), reader.encoder
    assert encoder is not None
    head = torch.from_numpy(reader.intent_head.dense)
    pool = pooling(base)

    def read(batch: Sequence[str]) -> None:
        ids = [found.ids for found in encoder.tokens(batch)]
        longest = max(map(len, ids))
        padded = torch.tensor([one + [encoder.spec.pad_id] * (longest - len(one)) for one in ids])
        mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids])
        with torch.inference_mode():
            hidden = model(input_ids=padded, attention_mask=mask).last_hidden_state
            vector = hidden[:, 0] if pool == "cls" else (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            (torch.nn.functional.normalize(vector, dim=-1) @ head).softmax(dim=-1)

    read(texts[:CONCURRENT])
    alone = _times(lambda k: read([texts[k % len(texts)]]), ALONE // 3)
    batches = _times(lambda k: read([texts[(k * CONCURRENT + i) % len(texts)] for i in range(CONCURRENT)]), 20)
    return {"alone": latency(alone), "per_s": round(CONCURRENT / statistics.median(batches), 1)}


def _times(work: Callable[[int], None], times: int) -> list[float]:
    out = []
    for k in range(times):
        started = time.perf_counter()
        work(k)
        out.append(time.perf_counter() - started)
    return out


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args()
    found: dict[str, Any] = {"threads": given.threads}
    with tempfile.TemporaryDirectory(prefix="kefu-bench-") as folder:
        for name, (base_name, recipe) in VARIANTS.items():
            base = resolve_base(base_name, Path(folder) / "bases", print)
            registry, reader = version(base, recipe, Path(folder) / name, given.threads)
            texts = messages(reader)
            runtime = asyncio.run(through_runtime(registry, texts, given.threads))
            beside = eager(base, reader, texts, given.threads)
            times = statistics.median(runtime["per_s"]) / beside["per_s"]
            found[name] = {"n_texts": len(texts), "runtime": runtime, "eager": beside, "times_eager": round(times, 2)}
    targets = {}
    for name in (name for name in VARIANTS if name.startswith(ENGLISH)):
        runtime = found[name]["runtime"]
        targets[f"{name}: one message, p50 ≤ {P50_MS} ms"] = runtime["alone"]["p50_ms"] <= P50_MS
        targets[f"{name}: 32 at once, ≥ {PER_S:.0f} a second"] = statistics.median(runtime["per_s"]) >= PER_S
        targets[f"{name}: ≥ {TIMES_EAGER:.0f} times eager"] = found[name]["times_eager"] >= TIMES_EAGER
    write("understanding", found, targets=targets)
    return 0 if all(targets.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
