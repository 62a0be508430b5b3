"""A generator in a process of its own: the real llama.cpp over the real SmolLM2; a LoRA adapter trained and served."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import httpx
import numpy as np
import pytest

from models.generation import GenerationFailed, LocalGenerator, ServedGenerator
from models.pretrained import SMOLLM2_FILE, BaseModel, load_torch_generator, resolve_base
from models.prompting import prompt_ids
from tests.server import TEST_HOME
from tests.tiny_generators import Kind, make_generator, tiny_lessons
from training.finetune_generation import (
    ADAPTER,
    MODEL_GGUF,
    GenerationRecipe,
    Lesson,
    finetune_generator,
)
from training.gguf_model import write_model

FILE = "adapter_model.safetensors"
ASKED = [{"role": "system", "content": "You are Lumi."}, {"role": "user", "content": "Say hello in five words."}]
LONG = [{"role": "user", "content": "Tell a very long story about a lamp, with many chapters."}]


@pytest.fixture(scope="module")
def smollm2() -> BaseModel:
    return resolve_base("smollm2-135m-instruct", TEST_HOME / "bases", kind="generator")


@pytest.fixture
async def local(smollm2: BaseModel) -> AsyncIterator[LocalGenerator]:
    generator = LocalGenerator(command(smollm2), "smollm2")
    yield generator
    await generator.close()


def command(base: BaseModel | Path, *more: str) -> list[str]:
    if isinstance(base, BaseModel):
        assert base.folder is not None
        base = base.folder / SMOLLM2_FILE
    return [sys.executable, "-m", "models.llama_server", str(base), *more]


async def said(generator: LocalGenerator | ServedGenerator, asked: list[dict[str, str]] = ASKED, **more: float) -> str:
    options = {"max_tokens": 24, "deadline_s": 30.0, **more}
    return "".join([piece async for piece in generator.stream(asked, **options)])  # type: ignore[arg-type]


async def test_it_answers_the_same_each_time_counts_and_ends_with_us(local: LocalGenerator) -> None:
    first = await said(local)
    assert first
    assert await said(local) == first
    assert local.usage.requests == 2
    assert local.usage.completion_tokens > 2
    pid = local._process.pid  # type: ignore[union-attr]
    await local.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_nobody_else_on_this_machine_may_ask_it(local: LocalGenerator) -> None:
    await said(local)
    url = local._client._url  # type: ignore[union-attr]
    async with httpx.AsyncClient() as http:
        answered = await http.post(url, json={"messages": ASKED})
    assert answered.status_code == 401


async def test_killed_amid_a_reply_it_fails_at_once_and_comes_back(
    local: LocalGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.generation.START_AGAIN_AFTER_S", 0.0)
    await said(local)
    with pytest.raises(GenerationFailed):  # noqa: PT012
        async for _ in local.stream(LONG, max_tokens=800, deadline_s=60):
            os.kill(local._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
    assert await said(local)
    assert local.usage.failures == 1


async def test_who_stops_listening_stops_the_writing(local: LocalGenerator) -> None:
    await said(local)
    pieces = local.stream(LONG, max_tokens=1_500, deadline_s=120)
    assert await anext(pieces)
    await pieces.aclose()
    async with asyncio.timeout(10):  # 1,500 tokens would take longer than that
        assert await said(local)


async def test_a_deadline_holds_for_the_whole_reply_and_for_who_waits(local: LocalGenerator) -> None:
    await said(local)
    with pytest.raises(GenerationFailed, match="within"):
        await said(local, LONG, max_tokens=1_500, deadline_s=0.5)
    first = local.stream(LONG, max_tokens=1_500, deadline_s=60)
    assert await anext(first)
    with pytest.raises(GenerationFailed, match="others were served"):
        await said(local, deadline_s=0.3)
    await first.aclose()


async def test_one_that_starts_slowly_costs_its_first_caller_the_deadline_and_no_more(smollm2: BaseModel) -> None:
    slow = [
        sys.executable,
        "-c",
        "import subprocess, sys, time; time.sleep(2); sys.exit(subprocess.call(sys.argv[1:]))",
    ]
    generator = LocalGenerator([*slow, *command(smollm2)], "slow")
    with pytest.raises(GenerationFailed, match="still starting"):
        await said(generator, deadline_s=0.3)
    assert await said(generator)
    await generator.close()


async def test_closed_amid_a_reply_it_is_a_failure_like_any_other(local: LocalGenerator) -> None:
    with pytest.raises(GenerationFailed):  # noqa: PT012
        async for _ in local.stream(LONG, max_tokens=800, deadline_s=60):
            await local.close()


async def test_what_a_caller_does_between_two_pieces_is_not_cancelled(local: LocalGenerator) -> None:
    await said(local)
    finished = False
    with pytest.raises(GenerationFailed, match="within"):  # noqa: PT012
        async for _ in local.stream(LONG, max_tokens=1_500, deadline_s=4.0):
            if not finished:
                await asyncio.sleep(4.5)  # a check that takes longer than the deadline
                finished = True
    assert finished


async def test_a_reply_that_is_cut_off_is_none(local: LocalGenerator) -> None:
    with pytest.raises(GenerationFailed, match="cut off"):
        await said(local, LONG, max_tokens=5)


async def test_once_closed_it_does_not_come_back(local: LocalGenerator) -> None:
    await said(local)
    await local.close()
    with pytest.raises(GenerationFailed, match="closed"):
        await said(local)


async def test_what_is_on_this_machine_goes_through_no_proxy(
    local: LocalGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert await said(local)


async def test_a_program_that_is_no_generator_is_an_answer_too() -> None:
    generator = LocalGenerator([sys.executable, "-c", "print('hello')"], "none")
    with pytest.raises(GenerationFailed, match="did not start"):
        await said(generator)
    await generator.close()


REPLIES = (
    "Yes, within 30 days, with pleasure.",
    "Sorry, that lamp is sold out.",
    "It costs €4.90 in Germany.",
)


def lessons() -> list[Lesson]:
    asked = ("Can I return it?", "Is the moon lamp back?", "What is postage?")
    return [
        Lesson(messages=[{"role": "user", "content": question}], reply=reply)
        for question, reply in zip(asked, REPLIES, strict=True)
    ]


async def test_an_adapter_learns_and_llama_cpp_says_what_transformers_says(smollm2: BaseModel, tmp_path: Path) -> None:
    recipe = GenerationRecipe(epochs=8, batch_size=3, learning_rate=2e-3)
    steps: list[int] = []
    outcome = finetune_generator(
        smollm2, lessons(), lessons(), tmp_path, recipe, lambda step, done, total: steps.append(done)
    )
    assert outcome.loss_after < outcome.loss_before / 3
    assert steps[-1] == 8

    import torch
    from peft import PeftModel

    model, tokenizer = load_torch_generator(smollm2)
    adapted = PeftModel.from_pretrained(model, str(tmp_path / ADAPTER)).eval()
    generator = LocalGenerator(command(tmp_path / MODEL_GGUF), "adapted")
    for lesson in lessons():
        ids = torch.tensor([prompt_ids(tokenizer, lesson.messages, is_seq2seq=False)])
        out = adapted.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)
        ours = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        assert await said(generator, [dict(message) for message in lesson.messages]) == ours.strip()
    await generator.close()


async def test_without_a_template_llama_cpp_reads_what_training_read(smollm2: BaseModel) -> None:
    import torch

    model, tokenizer = load_torch_generator(smollm2)
    tokenizer.chat_template = None
    ids = torch.tensor([prompt_ids(tokenizer, ASKED, is_seq2seq=False)])
    assert tokenizer.decode(ids[0]).endswith(f"{ASKED[-1]['content']}\n\nA:"), "no end of the question"
    out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
    expected = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
    generator = LocalGenerator(command(smollm2, "--without-template"), "plain")
    heard = ""
    with contextlib.suppress(GenerationFailed):  # it may have more to say
        async for piece in generator.stream(ASKED, max_tokens=12, deadline_s=60):
            heard += piece
    await generator.close()
    assert expected.strip()
    assert heard == expected


@pytest.mark.parametrize(("architecture", "is_interleaved"), [("llama", True), ("gemma3", False)])
def test_what_was_learned_is_merged_into_the_rows_as_llama_cpp_keeps_them(
    architecture: str, is_interleaved: bool, tmp_path: Path
) -> None:
    from gguf import GGUFReader

    write_base(tmp_path / "base.gguf", architecture)
    write_lora(tmp_path, "self_attn.q_proj")
    write_model(tmp_path / "base.gguf", tmp_path, tmp_path / "merged.gguf")
    read = GGUFReader(tmp_path / "merged.gguf")
    assert read.fields["general.architecture"].contents() == architecture
    assert read.fields["general.file_type"].contents() == 1, "16 bits"
    assert read.fields["tokenizer.ggml.tokens"].contents() == ["a", "b"]
    found = {one.name: one.data for one in read.tensors}
    # Two heads of four rows; the scale is alpha / rank = 2, and each row of B meets six ones in two ranks.
    order = [0, 2, 1, 3, 4, 6, 5, 7] if is_interleaved else list(range(8))
    learned = 2.0 * ROWS.sum(axis=1)[order]
    assert found["blk.0.attn_q.weight"].tolist() == (0.5 + np.repeat(learned[:, None], 6, axis=1)).tolist()
    assert str(found["blk.0.attn_q.weight"].dtype) == "float16"
    assert found["blk.0.attn_norm.weight"].tolist() == [0.25] * 6
    assert str(found["blk.0.attn_norm.weight"].dtype) == "float32"


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    write_base(tmp_path / "base.gguf", "llama")
    write_lora(tmp_path, "mlp.up_proj")
    with pytest.raises(ValueError, match=r"base.gguf has no blk.0.ffn_up.weight"):
        write_model(tmp_path / "base.gguf", tmp_path, tmp_path / "merged.gguf")
    write_lora(tmp_path, "self_attn.strange")
    with pytest.raises(ValueError, match="no place for"):
        write_model(tmp_path / "base.gguf", tmp_path, tmp_path / "merged.gguf")
    write_base(tmp_path / "base.gguf", "qwen2")
    with pytest.raises(ValueError, match="nothing is known of a qwen2"):
        write_model(tmp_path / "base.gguf", tmp_path, tmp_path / "merged.gguf")


ROWS = np.arange(16, dtype=np.float32).reshape(8, 2)


def write_base(path: Path, architecture: str) -> None:
    from gguf import GGUFWriter

    writer = GGUFWriter(path, architecture)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_token_list(["a", "b"])
    writer.add_tensor("blk.0.attn_q.weight", np.full((8, 6), 0.5, np.float32))
    writer.add_tensor("blk.0.attn_norm.weight", np.full(6, 0.25, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_lora(folder: Path, place: str) -> None:
    from safetensors.numpy import save_file

    key = f"base_model.model.model.layers.0.{place}.lora_"
    save_file({f"{key}A.weight": np.ones((2, 6), np.float32), f"{key}B.weight": ROWS}, folder / FILE)
    (folder / "adapter_config.json").write_text('{"lora_alpha": 4, "r": 2}')


@pytest.mark.parametrize("computes", [True, False])
def test_half_precision_is_for_processors_that_compute_in_it(
    computes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not is several times slower with it."""
    import torch
    from transformers import TrainingArguments

    given: list[bool] = []
    post_init = TrainingArguments.__post_init__

    def noted(arguments: TrainingArguments) -> None:
        given.append(arguments.bf16)
        post_init(arguments)

    monkeypatch.setattr(TrainingArguments, "__post_init__", noted)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: computes)
    base = resolve_base(str(make_generator("llama", tmp_path / "base")), tmp_path / "cache", kind="generator")
    recipe = GenerationRecipe(batch_size=3)
    finetune_generator(base, tiny_lessons("llama"), [], tmp_path / "out", recipe, lambda *step: None)
    assert given == [computes]


@pytest.mark.parametrize("kind", get_args(Kind))
def test_seq2seq_and_other_causal_bases_learn_their_replies_too(kind: Kind, tmp_path: Path) -> None:
    base = resolve_base(str(make_generator(kind, tmp_path / "base")), tmp_path / "cache", kind="generator")
    recipe = GenerationRecipe(epochs=60, batch_size=3, learning_rate=1e-2, dropout=0.0)
    known = tiny_lessons(kind)
    outcome = finetune_generator(base, known, known, tmp_path / "out", recipe, lambda *step: None)
    assert outcome.loss_after < 0.2 * outcome.loss_before
    assert outcome.has_template is (kind == "chinese")
    assert (tmp_path / "out" / ADAPTER / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "out" / MODEL_GGUF).exists(), "llama.cpp does not serve it"


# ---- a server elsewhere ----

SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
kind = sys.argv[1]
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert body["stream"] and body["temperature"] == 0 and body["model"] == "qwen"
        self.send_response(500 if kind == "broken" else 200)
        self.end_headers()
        if self.headers["authorization"] != "Bearer key":
            return
        events = [{"choices": [{"delta": {"content": word}}]} for word in ("Hello ", "there.")]
        events += [{"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 500}}]
        for event in events if kind == "good" else [json.loads(kind)] if kind != "broken" else []:
            self.wfile.write(f"data: {json.dumps(event)}\\n\\n".encode())
        self.wfile.write(b"data: [DONE]\\n\\n")
    def log_message(self, *args):
        pass
server = HTTPServer(("127.0.0.1", 0), Handler)
print(json.dumps({"url": f"http://127.0.0.1:{server.server_port}/v1"}), flush=True)
server.serve_forever()
"""


@pytest.fixture
async def served(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, request.param, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    yield json.loads(await process.stdout.readline())["url"]
    process.kill()
    await process.wait()


@pytest.mark.parametrize("served", ["good"], indirect=True)
async def test_any_server_with_openais_api_words_answers_and_is_paid_for(served: str) -> None:
    from models.generation import Prices

    generator = ServedGenerator(served, "qwen", api_key="key", prices=Prices(prompt=2.0, completion=6.0))
    assert await said(generator) == "Hello there."
    usage = generator.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (1000, 500)
    assert usage.cost == pytest.approx(0.005)
    await generator.close()


@pytest.mark.parametrize(
    "served",
    [
        "broken",
        '"text"',
        '{"error": "no"}',
        '{"choices": {"a": 1}}',
        '{"choices": [{"delta": ["x"]}]}',
        '{"usage": [1]}',
        '{"choices": [{"delta": {"content": 5}}]}',
        '{"usage": {"prompt_tokens": [1]}}',
    ],
    indirect=True,
)
async def test_a_server_that_fails_three_times_is_left_alone(served: str) -> None:
    generator = ServedGenerator(served, "qwen", api_key="key")
    for _ in range(3):
        with pytest.raises(GenerationFailed, match="qwen: ValueError"):
            await said(generator)
    with pytest.raises(GenerationFailed, match="left alone"):
        await said(generator)
    assert generator.usage.requests == 3
    await generator.close()
