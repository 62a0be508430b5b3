"""A causal and a seq2seq base, random and trained for a moment, as `models.transformers_server` serves them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from bot.answers.knowledge import Gate, sync
from bot.answers.writer import messages
from bot.answers.writers import ABOUT, BASE, WRITER, named
from bot.app import writers_of
from bot.assistant.loader import Assistant, load_assistant
from bot.errors import KefuError
from bot.settings import Settings, load_settings
from bot.tuning import tune_writer
from models.generation import GenerationFailed, LocalGenerator
from models.pretrained import load_torch_generator, resolve_base
from models.prompting import prompt_ids
from tests.bag_of_words import BagOfWords
from tests.tiny_generators import Kind, make_generator, tiny_lessons
from training.finetune_generation import ADAPTER, GenerationRecipe, finetune_generator

RECIPE = GenerationRecipe(epochs=60, batch_size=3, learning_rate=1e-2, dropout=0.0)
MOST = 24
LONG = 600
"""Tokens: seconds of writing."""


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A base's folder with its adapter's, and what transformers says by itself to the lessons' prompts."""

    kind: Kind
    base: Path
    adapter: Path

    def command(self, *more: str, adapter: bool = True) -> list[str]:
        parts = [str(self.base), *([str(self.adapter)] if adapter else []), *more]
        return [sys.executable, "-m", "models.transformers_server", *parts]

    def expected(self, *, adapter: bool) -> list[str]:
        """By `generate` alone, the adapter beside the weights."""
        import torch
        from peft import PeftModel

        model, tokenizer = load_torch_generator(resolve_base(str(self.base), self.base / "cache", kind="generator"))
        if adapter:
            model = PeftModel.from_pretrained(model, str(self.adapter)).eval()
        said = []
        for lesson in tiny_lessons(self.kind):
            ids = torch.tensor([prompt_ids(tokenizer, lesson.messages, is_seq2seq=self.kind == "t5")])
            out = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=MOST, do_sample=False
            )
            new = out[0] if self.kind == "t5" else out[0, ids.shape[1] :]
            said.append(tokenizer.decode(new, skip_special_tokens=True))
        return said


@pytest.fixture(scope="module", params=get_args(Kind))
def tuned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return tune(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return tune("llama", tmp_path_factory.mktemp("served"))


def tune(kind: Kind, folder: Path) -> Tuned:
    base = resolve_base(str(make_generator(kind, folder / "base")), folder / "cache", kind="generator")
    lessons = tiny_lessons(kind)
    finetune_generator(base, lessons, [], folder / "out", RECIPE, lambda *step: None)
    return Tuned(kind=kind, base=folder / "base", adapter=folder / "out" / ADAPTER)


@asynccontextmanager
async def served(command: list[str]) -> AsyncGenerator[LocalGenerator]:
    generator = LocalGenerator(command, "tiny", start_within_s=300)
    try:
        yield generator
    finally:
        await generator.close()


async def said(generator: LocalGenerator, asked: Any, *, max_tokens: int = MOST, deadline_s: float = 300.0) -> str:
    pieces = generator.stream(list(asked), max_tokens=max_tokens, deadline_s=deadline_s)
    return "".join([piece async for piece in pieces])


async def test_it_says_what_transformers_says_and_the_adapter_what_it_learned(tuned: Tuned) -> None:
    lessons = tiny_lessons(tuned.kind)
    learned = tuned.expected(adapter=True)
    async with served(tuned.command()) as generator:
        assert [await said(generator, each.messages) for each in lessons] == learned
        usage = generator.usage
    assert [text.replace(" ", "") for text in learned] == [each.reply.replace(" ", "") for each in lessons]
    assert learned != tuned.expected(adapter=False)
    assert (usage.requests, usage.failures) == (3, 0)
    assert usage.prompt_tokens == sum(map(len, prompts_of(tuned)))
    assert usage.completion_tokens == sum(len(tokens_of(tuned, text)) + 1 for text in learned)  # with its end


async def test_without_an_adapter_it_is_the_base(llama: Tuned) -> None:
    expected = llama.expected(adapter=False)
    with process(llama.command(adapter=False)) as (url, _):
        found = [written(await events(url, each.messages)) for each in tiny_lessons("llama")]
    assert found == expected


def tokenizer_of(tuned: Tuned) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tuned.base)


def prompts_of(tuned: Tuned) -> list[list[int]]:
    is_seq2seq = tuned.kind == "t5"
    tokenizer = tokenizer_of(tuned)
    return [prompt_ids(tokenizer, each.messages, is_seq2seq=is_seq2seq) for each in tiny_lessons(tuned.kind)]


def tokens_of(tuned: Tuned, text: str) -> list[int]:
    return list(tokenizer_of(tuned)(text, add_special_tokens=False)["input_ids"])


# ---- the process ----

KEY = "a key"


@contextmanager
def process(command: list[str]) -> Iterator[tuple[str, int]]:
    """The server by itself, where what a `LocalGenerator` never asks is asked: its address and its id."""
    one = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert one.stdin is not None
    assert one.stdout is not None
    try:
        one.stdin.write(f"{KEY}\n".encode())
        one.stdin.flush()
        yield json.loads(one.stdout.readline())["url"], one.pid
    finally:
        one.stdin.close()
        assert one.wait(60) == 0, "it ends when its input closes"
        one.stdout.close()


async def events(url: str, messages: Any, max_tokens: int = MOST) -> list[dict[str, Any]]:
    body = {"messages": list(messages), "max_tokens": max_tokens, "stream": True}
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=300, trust_env=False) as http:
        answered = (await http.post(f"{url}/chat/completions", json=body)).raise_for_status()
    *lines, last = [line for line in answered.text.split("\n") if line]
    assert last == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def written(heard: list[dict[str, Any]]) -> str:
    return "".join(each["choices"][0]["delta"].get("content", "") for each in heard if each["choices"])


async def test_only_who_knows_the_key_is_answered_and_only_what_it_can_do(llama: Tuned) -> None:
    asked = tiny_lessons("llama")[0].messages
    body = {"messages": list(asked), "max_tokens": MOST, "stream": True}
    with process(llama.command()) as (url, _):
        assert url.startswith("http://127.0.0.1:")
        async with httpx.AsyncClient(timeout=300, trust_env=False) as http:

            async def status(path: str = "chat/completions", key: str | None = KEY, **more: Any) -> int:
                headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
                return (await http.post(f"{url}/{path}", json={**body, **more}, headers=headers)).status_code

            assert await status() == 200
            assert [await status(key=key) for key in ("another", "", None)] == [401, 401, 401]
            assert await status(stream=False) == 422
            assert await status(messages=[]) == 422
            assert await status(max_tokens=0) == 422
            assert await status(messages=[{"role": "user", "content": "lamp " * 5_000}]) == 400
            assert (await http.get(f"{url}/models", headers={"Authorization": f"Bearer {KEY}"})).status_code == 404


async def test_a_reply_says_how_it_ended_and_what_it_took(llama: Tuned) -> None:
    lesson, prompt = tiny_lessons("llama")[0], prompts_of(llama)[0]
    reply = len(tokens_of(llama, lesson.reply))
    with process(llama.command()) as (url, _):
        whole, cut = await events(url, lesson.messages), await events(url, lesson.messages, max_tokens=3)
    assert [each["choices"][0]["finish_reason"] for each in (whole[-2], cut[-2])] == ["stop", "length"]
    assert [each["choices"][0]["finish_reason"] for each in whole[:-2]] == [None] * (len(whole) - 2)
    assert len(whole) > 4, "it comes piece by piece"
    assert [(each[-1]["usage"]["prompt_tokens"], each[-1]["usage"]["completion_tokens"]) for each in (whole, cut)] == [
        (len(prompt), reply + 1),
        (len(prompt), 3),
    ]
    assert written(whole).startswith(written(cut))


async def test_the_second_waits_until_the_first_is_written(llama: Tuned) -> None:
    lesson = tiny_lessons("llama")[0]
    with process(llama.command(adapter=False)) as (url, _):
        first = asyncio.create_task(events(url, endless(llama), max_tokens=LONG))
        await asyncio.sleep(0)
        ended: list[str] = []
        first.add_done_callback(lambda _: ended.append("first"))
        await started(first)
        await events(url, lesson.messages, max_tokens=1)
        ended.append("second")
        await first
    assert ended == ["first", "second"]


async def started(task: asyncio.Task[Any]) -> None:
    """Its request has gone out: the loop has turned while it did not end."""
    for _ in range(50):
        await asyncio.sleep(0.01)
    assert not task.done()


def endless(llama: Tuned) -> list[dict[str, str]]:
    """What the untrained base never comes to an end of."""
    return [{"role": "user", "content": "the moon lamp is sold out"}]


@pytest.fixture
async def local(llama: Tuned) -> AsyncIterator[LocalGenerator]:
    async with served(llama.command(adapter=False)) as generator:
        yield generator


async def test_a_reply_that_is_cut_off_is_none(local: LocalGenerator, llama: Tuned) -> None:
    with pytest.raises(GenerationFailed, match="cut off"):
        await said(local, endless(llama), max_tokens=5)


async def test_killed_amid_a_reply_it_fails_at_once_and_comes_back(
    local: LocalGenerator, llama: Tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.generation.START_AGAIN_AFTER_S", 0.0)
    pids = set()
    for _ in range(2):
        with pytest.raises(GenerationFailed, match=r"RemoteProtocolError|ReadError"):  # noqa: PT012
            async for _ in local.stream(endless(llama), max_tokens=LONG, deadline_s=300):
                pids.add(local._process.pid)  # type: ignore[union-attr]
                os.kill(local._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
    assert len(pids) == 2
    assert local.usage.failures == 2


async def test_who_stops_listening_stops_the_writing(local: LocalGenerator, llama: Tuned) -> None:
    async def took(most: int) -> float:
        began = time.monotonic()
        with pytest.raises(GenerationFailed, match="cut off"):
            await said(local, endless(llama), max_tokens=most)
        return time.monotonic() - began

    await took(2)  # it is here
    whole_s = await took(LONG)
    pieces = local.stream(endless(llama), max_tokens=LONG, deadline_s=300)
    assert await anext(pieces)
    await pieces.aclose()
    assert await took(2) < whole_s / 3


async def test_closed_it_is_gone_and_so_it_is_while_it_still_loads(llama: Tuned) -> None:
    async with served(llama.command(adapter=False)) as generator:
        with pytest.raises(GenerationFailed, match="still starting"):
            await said(generator, endless(llama), deadline_s=0.3)
        pid = generator._process.pid  # type: ignore[union-attr]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


BOUNDED = "import sys, models.transformers_server as it; it.MOST_BYTES = 40 * 2**20; sys.argv.pop(0); it.main()"


async def test_what_runs_away_ends_the_process_and_nothing_else(llama: Tuned) -> None:
    with process(llama.command()) as (url, pid):
        assert await events(url, tiny_lessons("llama")[0].messages)
        limits = Path(f"/proc/{pid}/limits").read_text()
    files = sum(path.stat().st_size for path in llama.base.iterdir() if path.is_file())
    (line,) = [line for line in limits.splitlines() if line.startswith("Max data size")]
    assert int(line.split()[3]) == pytest.approx(3 * 2**30 + 3 * files, abs=files)
    async with served([sys.executable, "-c", BOUNDED, *llama.command()[2:]]) as generator:
        with pytest.raises(GenerationFailed, match="did not start"):
            await said(generator, tiny_lessons("llama")[0].messages)


# ---- from an assistant's written replies to what a customer reads ----

SURE = Gate(weights=tuple(8.0 * (place == 5) for place in range(15)), bias=-3.0, threshold=0.5)


def assistant_with(folder: Path, base: Path, languages: str, replies: dict[str, int]) -> tuple[Settings, Assistant]:
    """One that has read a page in each language, with so many written replies to it."""
    page = {"zh": "# 售后\n\n## 退货\n30天内都行。", "en": "# Returns\n\n## How\nWithin 30 days."}
    reply = {"zh": tiny_lessons("chinese")[0].reply, "en": tiny_lessons("llama")[0].reply}
    files = {
        "domain.yml": "version: '3.1'\nintents: [ask_knowledge]\n",
        "kefu.yml": f"answers: {{}}\ngeneration: {{base: '{base}', languages: {languages}}}\n",
    }
    for language, count in replies.items():
        source = f"{language}/returns.md"
        ask = "第{}双鞋可以退吗" if language == "zh" else "can I return the pair of shoes number {}?"
        files[f"knowledge/{source}"] = page[language]
        files[f"answers/{language}.jsonl"] = "\n".join(
            json.dumps({"question": ask.format(n), "passages": [source], "reply": reply[language]})
            for n in range(count)
        )
    for name, text in files.items():
        path = folder / "assistant" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    settings, assistant = load_settings(home=folder / "home"), load_assistant(folder / "assistant", {})
    store = settings.knowledge_dir(assistant.assistant_id)
    sync(folder / "assistant" / "knowledge", store, BagOfWords(), lambda index: {"other": SURE})
    return settings, assistant


async def test_what_kefu_yml_names_is_trained_and_served_in_its_language(tmp_path: Path) -> None:
    base = make_generator("chinese", tmp_path / "base")
    (base / "notes.txt").write_text("not the model's")
    settings, assistant = assistant_with(tmp_path, base, "[zh, en]", {"zh": 60, "en": 4})
    heard: list[str] = []
    recipe = GenerationRecipe(epochs=12, batch_size=8, learning_rate=1e-2, dropout=0.0)
    outcome = tune_writer(settings, assistant, lambda *step: None, heard.append, recipe)
    assert outcome.trained_on == 60
    assert "4 written replies in en are too few to learn from: it is not written." in heard
    writers = writers_of(settings, assistant)
    folder = writers.store / str(named(writers.store / WRITER))
    about = json.loads((folder / ABOUT).read_text())
    assert (about["server"], about["languages"], "terms" in about) == ("transformers", ["zh"], False)
    assert {path.name for path in (folder / BASE).iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert not (folder / BASE / "notes.txt").exists()
    make_generator("llama", base)  # what becomes of the folder is nothing to it
    generator, languages = writers._generator()
    assert languages == ("zh",)
    assert isinstance(generator, LocalGenerator)
    try:
        prompt = messages("小鹿", "Lumi", "售后 – 退货\n30天内都行。", "第7双鞋可以退吗")
        assert await said(generator, prompt) == tiny_lessons("chinese")[0].reply
    finally:
        await generator.close()


def test_with_too_few_replies_in_every_language_nothing_is_trained(tmp_path: Path) -> None:
    settings, assistant = assistant_with(tmp_path, tmp_path / "none", "[zh]", {"zh": 4, "en": 60})
    with pytest.raises(KefuError, match="4 written replies to learn from; at least 50 are needed"):
        tune_writer(settings, assistant, lambda *step: None, print)
