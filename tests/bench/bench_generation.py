"""The local writer as it is served (llama.cpp, 16-bit weights with what was learned), beside `transformers` eager.

python -m tests.bench.bench_generation --of writer  →  results/generation.json (beside, faq), in the trained home after
    `kefu knowledge tune --only judge --only writer`
python -m tests.bench.bench_generation --of engine  →  results/generation_engine.json (acceptance, speed):
    needs no judge

- beside: how long understanding takes with the runtime, in this process as in `kefu serve`, while nothing is written;
  while the generator writes without a pause, in its own process; and while the whole writer does (generator and check).
  The three take turns.
- faq: ROUGE-L and support of replies to questions of faq_retrieval_en (KEFU_DATA), each with its first gold entry as
  the passage, beside what is quoted of that passage. The data set has two answers of its own. The entry's answer *is*
  the passage, and no longer than what is quoted whole: against it the quoted words have ROUGE-L 1 by construction. The
  other is what a person replied, who had read customers' reviews too. Replies are measured as written, before the
  check, which then says which of them a customer would have got. Nothing was tuned on them.
- acceptance: greedy replies of llama.cpp and of transformers in float32 to the starter's held-out questions, each with
  its passage. Both have the same weights, but llama.cpp rounds them, and what it multiplies them with: where two
  tokens are about as likely, they may part.
- speed: the same prompts, the same number of tokens, nothing kept from the prompt before; all variants take turns at
  each prompt. A prompt's time is that of one token, a token's that of TOKENS more, less the first. For transformers
  the adapter is merged into the weights, its quickest way.

PyTorch comes last: no server has it in its process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from bot.answers.compose import quote
from bot.answers.documents import Passage
from bot.answers.index_files import GUARD
from bot.answers.writer import MOST_TOKENS
from bot.answers.writers import named
from models.base import KIND
from models.generation import GenerationFailed
from models.registry import Registry
from models.runtime import ServedUnderstander
from models.understanding import load_understander
from tests.bench.bench_understanding import messages as test_messages
from tests.bench.generation_eager import acceptance_part, speed_part
from tests.bench.generation_faq import faq_part
from tests.bench.local_writer import DEADLINE_S, Part, Trained, writing
from tests.bench.report import latency, percentile, write

ROUNDS = 3
WARM_UP = 32
TIMES_SLOWER = 2.0


def beside(trained: Trained, given: argparse.Namespace) -> Part:
    registry = Registry(trained.settings.models_dir, trained.assistant.assistant_id)
    version = registry.current(KIND)
    assert version is not None
    texts = test_messages(load_understander(registry.path(KIND, version), 1))
    waits, replies = asyncio.run(_waits(trained, registry, texts, given.messages))
    figures: dict[str, Any] = {
        "n_messages": ROUNDS * given.messages,
        "rounds": ROUNDS,
        "understanding_threads": trained.settings.inference_threads,
        "generator_threads": trained.writers.threads,
    }
    targets = {}
    for name, rounds in waits.items():
        figures[name] = latency([wait for one in rounds for wait in one])
        if name == "idle":
            continue
        ratios = [percentile(one, 99) / percentile(idle, 99) for one, idle in zip(rounds, waits["idle"], strict=True)]
        times = figures[name]["p99_ms"] / figures["idle"]["p99_ms"]
        figures[name] |= {
            "times_idle_p50": round(figures[name]["p50_ms"] / figures["idle"]["p50_ms"], 2),
            "times_idle_p99": round(times, 2),
            "times_idle_p99_by_round": [round(ratio, 2) for ratio in ratios],
            "replies_meanwhile": replies[name],
        }
        targets[f"understanding's p99 at most {TIMES_SLOWER:g} times as long beside: {name}"] = times <= TIMES_SLOWER
    return figures, targets


async def _waits(
    trained: Trained, registry: Registry, texts: Sequence[str], n: int
) -> tuple[dict[str, list[list[float]]], Counter[str]]:
    """Seconds of each reading, one after the other, by what goes on meanwhile and by round; and the replies written."""
    questions = trained.questions()
    served = ServedUnderstander(registry, KIND, threads=trained.settings.inference_threads)
    await served.start()
    waits: dict[str, list[list[float]]] = {}
    replies: Counter[str] = Counter()
    async with writing(trained.writers) as writer:

        async def generates(question: str, passage: Passage) -> None:
            prompt = trained.prompt(question, passage)
            pieces = writer.generator.stream(prompt, max_tokens=MOST_TOKENS, deadline_s=DEADLINE_S)
            async with aclosing(pieces):
                with contextlib.suppress(GenerationFailed):
                    async for _ in pieces:
                        pass

        async def words(question: str, passage: Passage) -> None:
            await writer.worded(question, quote(passage, trained.assistant.brand), "en")

        for _ in range(ROUNDS):
            for name, write_one in (("idle", None), ("generator", generates), ("generator and check", words)):
                load = asyncio.create_task(_without_a_pause(write_one, questions, name, replies)) if write_one else None
                await served.understand(texts[:WARM_UP])
                waits.setdefault(name, []).append(await _read_alone(served, texts, n))
                if load is not None:
                    load.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await load  # raises what ended the writing before, if anything did
    await served.stop()
    return waits, replies


async def _without_a_pause(
    write_one: Callable[[str, Passage], Any], questions: Sequence[tuple[str, Passage]], name: str, done: Counter[str]
) -> None:
    while True:
        for question, passage in questions:
            await write_one(question, passage)
            done[name] += 1


async def _read_alone(served: ServedUnderstander, texts: Sequence[str], n: int) -> list[float]:
    waits = []
    for k in range(n):
        began = time.perf_counter()
        await served.understand([texts[k % len(texts)]])
        waits.append(time.perf_counter() - began)
    return waits


def faq(trained: Trained, given: argparse.Namespace) -> Part:
    return faq_part(trained, given.n)


def acceptance(trained: Trained, given: argparse.Namespace) -> Part:
    return acceptance_part(trained, given.prompts)


def speed(trained: Trained, given: argparse.Namespace) -> Part:
    return speed_part(trained, given.prompts)


PARTS: Mapping[str, Mapping[str, Callable[[Trained, argparse.Namespace], Part]]] = {
    "writer": {"beside": beside, "faq": faq},
    "engine": {"acceptance": acceptance, "speed": speed},
}
RESULT = {"writer": "generation", "engine": "generation_engine"}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--of", choices=PARTS, required=True)
    options.add_argument("--prompts", type=int, default=20, help="of the starter, for acceptance and speed")
    options.add_argument("--n", type=int, default=100, help="questions of faq_retrieval_en")
    options.add_argument("--messages", type=int, default=500, help="read in each round beside the writer")
    given = options.parse_args()
    trained = Trained.found(has_judge=given.of == "writer")
    figures: dict[str, Any] = {"writer": trained.folder.name, "judge": named(trained.store / GUARD)}
    targets: dict[str, bool] = {}
    for name, measure in PARTS[given.of].items():
        found, met = measure(trained, given)
        figures[name] = found
        targets |= {f"{name}: {target}": is_met for target, is_met in met.items()}
    write(RESULT[given.of], figures, targets=targets)
    return 0 if all(targets.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
