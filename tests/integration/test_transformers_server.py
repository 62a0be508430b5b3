"""A causal and a seq2seq base, random and trained for a moment, as `models.transformers_server` serves them."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from bot.answers.index_files import sync
from bot.answers.knowledge import Gate
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


@pytest.fixture(scope="module")
def tunings(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], Tuned]:
    """One of each kind, trained when it is first asked for."""

    @functools.cache
    def tune(kind: Kind) -> Tuned:
        folder, lessons = tmp_path_factory.mktemp(kind), tiny_lessons(kind)
        base = resolve_base(str(make_generator(kind, folder / "base")), folder / "cache", kind="generator")
        finetune_generator(base, lessons, [], folder / "out", RECIPE, lambda *step: None)
        return Tuned(kind=kind, base=folder / "base", adapter=folder / "out" / ADAPTER)

    return tune


@pytest.fixture(params=get_args(Kind))
def tuned(request: pytest.FixtureRequest, tunings: Callable[[Kind], Tuned]) -> Tuned:
    return tunings(request.param)


@pytest.fixture(scope="module")
def llama(tunings: Callable[[Kind], Tuned]) -> Tuned:
    return tunings("llama")


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


READ = {"t5": "Can I return it ? </s>", "llama": "<s> Can I return it ? A :", "chinese": "<user>可以退吗？<assistant>"}


@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_prompt_is_the_templates_or_has_its_tokenizers_marks(kind: Kind, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(make_generator(kind, tmp_path))
    message = tiny_lessons(kind)[0].messages[0]
    assert tokenizer.decode(prompt_ids(tokenizer, [message], is_seq2seq=kind == "t5")) == READ[kind]
    if kind == "t5":
        goes_on = prompt_ids(tokenizer, [message], is_seq2seq=False)
        assert tokenizer.decode(goes_on) == "Can I return it ? A :"


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


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server by itself, for what a `LocalGenerator` never asks."""

    url: str
    pid: int

    async def status(self, path: str = "chat/completions", key: str | None = KEY, **more: Any) -> int:
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        body = {"messages": asked(0), "max_tokens": MOST, "stream": True, **more}
        async with httpx.AsyncClient(timeout=300, trust_env=False) as http:
            return (await http.post(f"{self.url}/{path}", json=body, headers=headers)).status_code

    async def events(self, messages: Any, max_tokens: int = MOST) -> list[dict[str, Any]]:
        body = {"messages": messages, "max_tokens": max_tokens, "stream": True}
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=300, trust_env=False) as http:
            answered = (await http.post(f"{self.url}/chat/completions", json=body)).raise_for_status()
        *lines, last = [line for line in answered.text.split("\n") if line]
        assert last == "data: [DONE]"
        return [json.loads(line.removeprefix("data: ")) for line in lines]


@pytest.fixture(scope="module")
def running(llama: Tuned) -> Iterator[Running]:
    """The base as it came."""
    one = subprocess.Popen(
        llama.command(adapter=False), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert one.stdin is not None
    assert one.stdout is not None
    one.stdin.write(f"{KEY}\n".encode())
    one.stdin.flush()
    yield Running(url=json.loads(one.stdout.readline())["url"], pid=one.pid)
    one.stdin.close()
    assert one.wait(60) == 0, "it ends when its input closes"
    one.stdout.close()


def asked(number: int) -> list[dict[str, str]]:
    return [dict(message) for message in tiny_lessons("llama")[number].messages]


def written(heard: list[dict[str, Any]]) -> str:
    return "".join(each["choices"][0]["delta"].get("content", "") for each in heard if each["choices"])


async def test_without_an_adapter_it_is_the_base_and_says_how_it_ended(running: Running, llama: Tuned) -> None:
    heard = [await running.events(asked(number)) for number in range(3)]
    assert [written(each) for each in heard] == llama.expected(adapter=False)
    for each, prompt in zip(heard, prompts_of(llama), strict=True):
        *pieces, last, usage = each
        assert len(pieces) > 4, "it comes piece by piece"
        assert [piece["choices"][0]["finish_reason"] for piece in pieces] == [None] * len(pieces)
        assert last["choices"][0]["finish_reason"] == "length"
        assert usage["usage"] == {
            "prompt_tokens": len(prompt),
            "completion_tokens": MOST,
            "total_tokens": len(prompt) + MOST,
        }


async def test_only_who_knows_the_key_is_answered_and_only_what_it_can_do(running: Running) -> None:
    assert running.url.startswith("http://127.0.0.1:")
    assert await running.status() == 200
    assert [await running.status(key=key) for key in ("another", f"{KEY}!", None)] == [401, 401, 401]
    assert await running.status(stream=False) == 422
    assert await running.status(messages=[]) == 422
    assert await running.status(max_tokens=0) == 422
    assert await running.status(messages=[{"role": "user", "content": "lamp " * 5_000}]) == 400
    assert await running.status(path="models") == 404


async def test_the_second_waits_until_the_first_is_written(running: Running) -> None:
    ended: list[int] = []

    async def ask(number: int, most: int) -> None:
        await running.events(asked(2), most)
        ended.append(number)

    headers, body = {"Authorization": f"Bearer {KEY}"}, {"messages": asked(2), "max_tokens": LONG, "stream": True}
    async with (
        httpx.AsyncClient(headers=headers, timeout=300, trust_env=False) as http,
        http.stream("POST", f"{running.url}/chat/completions", json=body) as first,
    ):
        lines = first.aiter_lines()
        await anext(lines)  # it is being written
        second = asyncio.create_task(ask(2, 1))
        async for _ in lines:
            pass
        ended.append(1)
        await second
    assert ended == [1, 2]


async def test_its_memory_is_bounded(running: Running, llama: Tuned) -> None:
    files = sum(path.stat().st_size for path in llama.base.iterdir() if path.is_file())
    limits = Path(f"/proc/{running.pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max data size")]
    assert int(line.split()[3]) == pytest.approx(3 * 2**30 + 3 * files, abs=files)


BOUNDED = "import sys, models.transformers_server as it; it.MOST_BYTES = 40 * 2**20; sys.argv.pop(0); it.main()"


async def test_what_runs_away_ends_the_process_and_nothing_else(llama: Tuned) -> None:
    async with served([sys.executable, "-c", BOUNDED, *llama.command()[2:]]) as generator:
        with pytest.raises(GenerationFailed, match="did not start"):
            await said(generator, asked(0))


@pytest.fixture
async def local(llama: Tuned) -> AsyncIterator[LocalGenerator]:
    async with served(llama.command(adapter=False)) as generator:
        yield generator


async def test_killed_amid_a_reply_it_fails_at_once_and_comes_back(
    local: LocalGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.generation.START_AGAIN_AFTER_S", 0.0)
    pids = set()
    for _ in range(2):
        with pytest.raises(GenerationFailed, match=r"RemoteProtocolError|ReadError"):  # noqa: PT012
            async for _ in local.stream(asked(2), max_tokens=LONG, deadline_s=300):
                pids.add(local._process.pid)  # type: ignore[union-attr]
                os.kill(local._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
    assert len(pids) == 2
    assert local.usage.failures == 2


async def test_who_stops_listening_stops_the_writing(local: LocalGenerator) -> None:
    endless = [{"role": "user", "content": "What is the lamp?"}]

    async def cut(most: int) -> None:
        with pytest.raises(GenerationFailed, match="cut off"):
            await said(local, endless, max_tokens=most)

    await cut(2)  # it is here
    began = processor_s(local)
    await cut(LONG)
    whole_s, began = processor_s(local) - began, processor_s(local)
    pieces = local.stream(endless, max_tokens=3 * LONG, deadline_s=300)
    assert await anext(pieces)
    await pieces.aclose()
    await cut(2)
    assert processor_s(local) - began < whole_s / 2


def processor_s(local: LocalGenerator) -> float:
    """What its process has taken so far; unlike time, that is no longer on a busy machine."""
    after_name = Path(f"/proc/{local._process.pid}/stat").read_text().rpartition(")")[2].split()  # type: ignore[union-attr]
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


async def test_closed_it_is_gone_and_so_it_is_while_it_still_loads(llama: Tuned) -> None:
    async with served(llama.command(adapter=False)) as generator:
        with pytest.raises(GenerationFailed, match="still starting"):
            await said(generator, asked(2), deadline_s=0.3)
        pid = generator._process.pid  # type: ignore[union-attr]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


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
    generator, languages = writers.generator()
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
