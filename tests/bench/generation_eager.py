"""llama.cpp as it is served beside `transformers` eager: the same greedy replies? how many tokens a second?"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bot.answers.writer import MOST_TOKENS, Messages
from bot.answers.writers import MODEL
from models.pretrained import load_torch_generator, resolve_base
from models.prompting import prompt_ids
from tests.bench.local_writer import DEADLINE_S, Part, Trained, replies_to
from training.finetune_generation import ADAPTER
from training.scores import wilson_interval

TOKENS = 48
THREADS = (1, 2)


def acceptance_part(trained: Trained, n: int) -> Part:
    prompts = trained.prompts(n)
    ours = asyncio.run(replies_to(trained.writers, prompts))
    model, tokenizer = _adapted(trained)
    found = [_compared(model, tokenizer, prompt, text) for prompt, text in zip(prompts, ours, strict=True)]
    others = [one for one in found if not one["is_equal"]]
    equal, n = len(found) - len(others), len(found)
    figures = {
        "n": n,
        "equal": equal,
        "equal_interval": wilson_interval(equal / n, n),
        "tokens_of_a_reply_median": statistics.median(one["tokens"] for one in found),
        "common_prefix_of_the_others": [one["common_prefix"] for one in others],
        "unequal": others,
    }
    return figures, {f"llama.cpp's greedy reply is transformers' on {n} of {n} prompts": equal == n}


def _adapted(trained: Trained) -> tuple[Any, Any]:
    """The same weights by transformers, in float32, and the adapter as peft saved it."""
    from peft import PeftModel

    name = trained.assistant.config.generation.base
    model, tokenizer = load_torch_generator(resolve_base(name, trained.settings.bases_dir, print, "generator"))
    return PeftModel.from_pretrained(model, str(trained.folder / ADAPTER)).eval(), tokenizer


def _compared(model: Any, tokenizer: Any, prompt: Messages, ours: str) -> dict[str, Any]:
    """Both texts; where they part, by how much transformers finds its own token likelier (difference of logits)."""
    inputs = _inputs(tokenizer, prompt)
    out = model.generate(
        **inputs, max_new_tokens=MOST_TOKENS, do_sample=False, output_logits=True, return_dict_in_generate=True
    )
    tokens = out.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    theirs = tokenizer.decode(tokens, skip_special_tokens=True).strip()
    if ours == theirs:
        return {"is_equal": True, "tokens": len(tokens), "common_prefix": 1.0}
    said = [*tokenizer(ours, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    same = next((place for place, (a, b) in enumerate(zip(said, tokens, strict=False)) if a != b), len(said))
    found = {
        "is_equal": False,
        "question": prompt[-1]["content"].rpartition("Customer: ")[2],
        "llama_cpp": ours,
        "transformers": theirs,
        "tokens": len(tokens),
        "common_prefix": round(same / len(tokens), 4),
    }
    if same < min(len(said), len(tokens)):
        logits = out.logits[same][0]
        found["logits_apart"] = round(float(logits[tokens[same]] - logits[said[same]]), 4)
    return found


def _inputs(tokenizer: Any, prompt: Messages) -> Any:
    import torch

    ids = torch.tensor([prompt_ids(tokenizer, prompt, is_seq2seq=False)])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


Write = Callable[[Messages, int], None]
"""Continues a prompt by exactly so many tokens."""


def speed_part(trained: Trained, n: int) -> Part:
    import torch

    prompts = trained.prompts(n)
    model, tokenizer = _adapted(trained)
    single = model.merge_and_unload().eval()
    lengths = [_inputs(tokenizer, prompt)["input_ids"].shape[1] for prompt in prompts]
    half = copy.deepcopy(single).to(torch.bfloat16)
    with contextlib.ExitStack() as stack:
        variants: dict[str, Write] = {}
        for threads in THREADS:
            served = stack.enter_context(_llama_cpp(trained.folder, threads))
            variants[f"llama.cpp, {_named(threads)}"] = served
            for kind, torch_model in (("float32", single), ("bfloat16", half)):
                eager = _eager(torch_model, tokenizer, threads)
                variants[f"transformers {kind}, {_named(threads)}"] = eager
        rates = _rates(variants, prompts, lengths)
    figures = {
        "n_prompts": len(prompts),
        "prompt_tokens_median": statistics.median(lengths),
        "new_tokens": TOKENS,
        **{name: {part: _spread(values) for part, values in found.items()} for name, found in rates.items()},
    }
    targets = {}
    for threads in THREADS:
        ours = figures[f"llama.cpp, {_named(threads)}"]
        others = [found for name, found in figures.items() if "transformers" in name and name.endswith(_named(threads))]
        for part in ("prompt", "decode"):
            best = max(other[f"{part}_tokens_per_s"]["median"] for other in others)
            is_met = ours[f"{part}_tokens_per_s"]["median"] >= best
            targets[f"{part}, {_named(threads)}: llama.cpp at least as quick as transformers"] = is_met
    return figures, targets


def _named(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def _rates(
    variants: Mapping[str, Write], prompts: Sequence[Messages], lengths: Sequence[int]
) -> dict[str, dict[str, list[float]]]:
    """Tokens a second of each variant, by prompt."""
    rates: dict[str, dict[str, list[float]]] = {
        name: {"prompt_tokens_per_s": [], "decode_tokens_per_s": []} for name in variants
    }
    for write_more in variants.values():
        write_more(prompts[0], 2)
    for prompt, length in zip(prompts, lengths, strict=True):
        for name, write_more in variants.items():
            first_s, whole_s = (_took(write_more, prompt, tokens) for tokens in (1, 1 + TOKENS))
            rates[name]["prompt_tokens_per_s"].append(length / first_s)
            rates[name]["decode_tokens_per_s"].append(TOKENS / (whole_s - first_s))
    return rates


def _took(write_more: Write, prompt: Messages, tokens: int) -> float:
    began = time.perf_counter()
    write_more(prompt, tokens)
    return time.perf_counter() - began


def _spread(values: Sequence[float]) -> dict[str, float]:
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 1) for name, value in found.items()}


def _eager(model: Any, tokenizer: Any, threads: int) -> Write:
    import torch

    def write_more(prompt: Messages, tokens: int) -> None:
        torch.set_num_threads(threads)
        inputs = _inputs(tokenizer, prompt)
        out = model.generate(**inputs, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
        assert out.shape[1] == inputs["input_ids"].shape[1] + tokens

    return write_more


@contextmanager
def _llama_cpp(folder: Path, threads: int) -> Iterator[Write]:
    """The process of `Writers`, asked for what a `Generator` never asks: so many tokens, whatever was said before."""
    command = [sys.executable, "-P", "-m", "models.llama_server", str(folder / MODEL)]
    process = subprocess.Popen(
        [*command, "--threads", str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(b"key\n")
        process.stdin.flush()
        url = json.loads(process.stdout.readline())["url"]
        with httpx.Client(headers={"Authorization": "Bearer key"}, timeout=DEADLINE_S, trust_env=False) as http:

            def write_more(prompt: Messages, tokens: int) -> None:
                body = {"messages": prompt, "max_tokens": tokens, "temperature": 0}
                fixed = {"ignore_eos": True, "cache_prompt": False}
                answered = http.post(f"{url}/chat/completions", json={**body, **fixed}).raise_for_status().json()
                assert answered["usage"]["completion_tokens"] == tokens

            yield write_more
    finally:
        process.stdin.close()  # it ends with it
        process.wait()
        process.stdout.close()
