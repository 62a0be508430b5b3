"""From a question to a reply in a generator's words: the real SmolLM2, trained for a moment, over a test's document."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from bot.answers.guard import THRESHOLDS
from bot.answers.index_files import GUARD, judge_folder, sync, write_name
from bot.answers.knowledge import Gate
from bot.answers.rephraser import Rephraser
from bot.answers.service import Knowledge
from bot.answers.writers import WRITER, CurrentWriter, Writers
from bot.app import actions_of, writers_of
from bot.assistant.loader import load_assistant
from bot.settings import Settings, load_settings
from bot.tuning import tune_writer
from bot.turns import Bot
from models.cross_encoder import CrossEncoder
from models.generation import LocalGenerator
from models.pretrained import resolve_base
from tests.bag_of_words import BagOfWords
from tests.dialogue import assistant_of
from tests.lab import Reader, running
from tests.server import TEST_HOME
from tests.tiny_encoders import make_encoder
from training.finetune_cross_encoder import Judged, tune_cross_encoder
from training.finetune_generation import GenerationRecipe
from training.recipes import Recipe

SURE = Gate(weights=tuple(8.0 * (place == 5) for place in range(15)), bias=-3.0, threshold=0.5)
QUESTION = "how do I wash wool blankets?"
QUOTED = "Wash wool blankets by hand in cold water."


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Writers]:
    """A store with an index, a guard that lets everything pass that can be looked up, and a generator."""
    folder = tmp_path_factory.mktemp("written")
    root = folder / "assistant"
    files = {
        "domain.yml": "version: '3.1'\nintents: [ask_knowledge]\n",
        "kefu.yml": "answers: {}\ngeneration: {deadline_s: 30}\n",
        "knowledge/en/wool-care.md": f"# Care\n\n## Wool\n{QUOTED}",
        "answers/en.jsonl": "\n".join(
            json.dumps(
                {"question": f"how is wool washed, blanket {n}?", "passages": ["en/wool-care.md"], "reply": QUOTED}
            )
            for n in range(80)
        ),
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    settings = load_settings(home=folder / "home")
    assistant = load_assistant(root, {})
    store = settings.knowledge_dir(assistant.assistant_id)
    settings.bases_dir.parent.mkdir(parents=True, exist_ok=True)
    (TEST_HOME / "bases").mkdir(parents=True, exist_ok=True)
    settings.bases_dir.symlink_to(TEST_HOME / "bases")
    sync(root / "knowledge", store, BagOfWords(), lambda index: {"other": SURE})
    outcome = tune_writer(settings, assistant, lambda *step: None, print, GenerationRecipe(epochs=1))
    assert outcome.trained_on == 80
    made = folder / "judge"
    pairs = [Judged(text="a", source="b", holds=True), Judged(text="c", source="d", holds=False)] * 4
    base = resolve_base(str(make_encoder("bert", folder / "tiny")), folder / "cache")
    lessons: Any = {"answers": pairs, "supports": pairs}
    tune_cross_encoder(base, lessons, made, lambda *step: None, Recipe(name="tiny", epochs=1))
    (made / THRESHOLDS).write_text('{"other": -1000000.0}', encoding="utf-8")
    name = CrossEncoder(made, 1).name
    made.rename(judge_folder(store, name))
    write_name(store / GUARD, name)
    return settings, writers_of(settings, assistant)


@asynccontextmanager
async def knowing(writers: Writers) -> AsyncIterator[Knowledge]:
    today = date(2026, 11, 30)
    knowledge = Knowledge(
        writers.store, writers.brand, embedder=BagOfWords(), today=lambda: today, writing=CurrentWriter(writers)
    )
    yield knowledge
    await knowledge.close()


async def asked(knowledge: Knowledge, **more: Any) -> dict[str, Any]:
    found = await knowledge.look_up(QUESTION, **more)
    assert found is not None
    return found


async def test_the_reply_is_the_generators_and_says_so(written: tuple[Settings, Writers]) -> None:
    async with knowing(written[1]) as knowledge:
        found = await asked(knowledge)
        assert found["kind"] == "generated"
        assert "Written by our assistant" in found["text"]
        assert found["generation"]["model"].startswith("smollm2-135m-instruct/writer-")
        assert knowledge.usage()["requests"] == 1


async def test_no_generator_reads_what_seems_to_be_an_attack(written: tuple[Settings, Writers]) -> None:
    async with knowing(written[1]) as knowledge:
        found = await asked(knowledge, is_guarded=True)
        assert (found["kind"], "generation" in found) == ("extracted", False)
        assert knowledge.usage() == {}, "it was not even loaded"


async def test_killed_it_leaves_the_passage_to_the_customer(written: tuple[Settings, Writers]) -> None:
    async with knowing(written[1]) as knowledge:
        assert (await asked(knowledge))["kind"] == "generated"
        generator = knowledge._writing._writer.generator  # type: ignore[union-attr]
        assert isinstance(generator, LocalGenerator)
        os.kill(generator._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
        found = await asked(knowledge)
        assert found["kind"] == "extracted"
        assert QUOTED in found["text"]
        assert found["generation"]["problem"]


async def test_a_running_server_follows_when_the_writer_goes(written: tuple[Settings, Writers], tmp_path: Path) -> None:
    store = written[1].store
    async with knowing(written[1]) as knowledge:
        name = (store / WRITER).read_text(encoding="utf-8")
        (store / WRITER).unlink()
        assert "generation" not in await asked(knowledge)
        write_name(store / WRITER, name.strip())
        assert (await asked(knowledge))["kind"] == "generated"


TEMPLATE = "Please wash wool blankets by hand in cold water."
REPHRASING = {
    "config.yml": "language: en\npolicies: [{name: RulePolicy}]\n",
    "domain.yml": f"""
version: "3.1"
intents: [care, advice]
responses:
  utter_care: [{{text: "{TEMPLATE}", buttons: [{{title: More, payload: /advice}}], metadata: {{rephrase: True}}}}]
  utter_advice: [{{text: "{TEMPLATE}"}}]
""",
    "data/rules.yml": """
version: "3.1"
rules:
- rule: care
  steps: [{intent: care}, {action: utter_care}]
- rule: advice
  steps: [{intent: advice}, {action: utter_advice}]
""",
    "data/nlu.yml": "version: '3.1'\nnlu: [{intent: care, examples: '- wool\n- care'}]\n",
}


async def test_a_response_that_asks_for_it_is_said_in_the_generators_words_and_the_log_says_so(
    written: tuple[Settings, Writers], tmp_path: Path
) -> None:
    assistant = assistant_of(tmp_path / "assistant", REPHRASING)
    writers = replace(written[1], brand=assistant.brand)
    rephraser = Rephraser(CurrentWriter(writers), 60.0)
    bot = Bot.of(assistant, actions_of(assistant)).rephrased_by(rephraser)
    async with running(tmp_path / "home", bot, Reader({})) as lab:
        [said] = await lab.say("/care")
        assert said == QUOTED, "what this generator was taught to say"
        assert await lab.say("/advice") == [TEMPLATE]
        assert await lab.say("/care") == [QUOTED]
        assert rephraser.usage()["requests"] == 1, "what was worded once is kept"
        events = [event for event in (await lab.tracker())["events"] if event["event"] == "bot"]
    kept = [event["metadata"].get("rephrased") for event in events]
    assert kept[1] is None
    assert kept[0] == kept[2]
    assert kept[0]["from"] == TEMPLATE
    assert kept[0]["model"].startswith("smollm2-135m-instruct/writer-")
    assert events[0]["data"]["buttons"] == [{"title": "More", "payload": "/advice"}]
