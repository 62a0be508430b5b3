"""The encoder that finds passages, tuned by sentence-transformers on a tiny random base, and served without PyTorch."""

from __future__ import annotations

import asyncio
import itertools
import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

import training.finetune_retrieval
from bot.answers.from_logs import FROM_LOGS, append
from bot.answers.index_files import load_index
from bot.answers.service import loaded
from bot.assistant.loader import Assistant
from bot.errors import KefuError
from bot.knowing import sync_knowledge, tune_knowledge
from bot.logged_questions import learnable
from bot.settings import load_settings
from bot.storage.predictions import Label, add_labels
from models.embeddings import EncoderEmbedder
from models.pretrained import resolve_base
from tests.learning import log_messages, nlu, prediction, write_assistant
from tests.server import database_of
from tests.tiny_encoders import make_encoder
from training.export import exported_encoder
from training.finetune_retrieval import Pair, RetrievalRecipe, tune_retriever

THINGS = ("order", "parcel", "money", "return", "lamp", "refund", "hello", "goodbye")
PLACES = ("here", "there", "back", "free", "new", "late", "gone", "red")
PAIRS = [
    Pair(question=f"where is my {thing}", passage=f"the {thing} is {place}")
    for thing, place in zip(THINGS, PLACES, strict=True)
] * 6


def test_questions_move_to_their_passages_and_the_files_serve_like_the_bases(tmp_path: Path) -> None:
    base = resolve_base(str(make_encoder("bert", tmp_path / "tiny")), tmp_path / "cache")
    steps: list[tuple[int, int]] = []
    recipe = RetrievalRecipe(epochs=12, batch_size=8, learning_rate=1e-3)
    tune_retriever(base, PAIRS, tmp_path / "tuned", recipe, lambda step, done, total: steps.append((done, total)))
    before = EncoderEmbedder(exported_encoder(base, lambda step, done, total: None), 1)
    after = EncoderEmbedder(tmp_path / "tuned", 1)
    assert before.name != after.name
    pairs = PAIRS[: len(THINGS)]

    def right(embedder: EncoderEmbedder) -> float:
        """The share of questions whose passage is the nearest."""
        questions = embedder.questions([pair.question for pair in pairs])
        scores = questions @ embedder.passages([pair.passage for pair in pairs]).T
        return float((scores.argmax(axis=1) == np.arange(len(pairs))).mean())

    assert right(after) > right(before)
    assert right(after) >= 0.75
    assert steps[-1][0] == steps[-1][1] > 0
    assert EncoderEmbedder(exported_encoder(base, lambda step, done, total: None), 1).name == before.name, "untouched"


CHOICES = [chosen for size in (2, 3) for chosen in itertools.combinations(range(len(THINGS)), size)]


def write_shop(folder: Path, base: Path) -> Assistant:
    """A shop whose questions share no word with the documents that answer them, and a base that knows nothing."""
    files = {
        "config.yml": "language: en\nassistant_id: tiny-shop\n",
        "kefu.yml": f"base: {base}\nanswers: {{}}\n",
        "domain.yml": "intents: [ask_knowledge, greet]\nresponses: {utter_greet: [{text: Hello!}]}\n",
        "data/nlu.yml": nlu({"greet": ["hello", "hi there"]}),
    }
    asked = []
    for number, chosen in enumerate(CHOICES):
        places, things = (" ".join(names[place] for place in chosen) for names in (PLACES, THINGS))
        files[f"knowledge/en/{number}.md"] = f"# {places}\n\n{places}"
        asked.append({"question": things, "passages": [f"en/{number}.md"]})
    files["answers/en.jsonl"] = "".join(json.dumps(each) + "\n" for each in asked)
    return write_assistant(folder, files)


@pytest.mark.parametrize("learns", [True, False])
def test_what_was_tuned_reads_on_only_if_it_finds_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learns: bool
) -> None:
    assistant = write_shop(tmp_path / "shop", make_encoder("bert", tmp_path / "tiny"))
    settings, said = load_settings(home=tmp_path / "home"), []
    recipe = RetrievalRecipe(epochs=20 if learns else 1, batch_size=16, learning_rate=1e-3 if learns else 0.0)
    monkeypatch.setattr(training.finetune_retrieval, "RetrievalRecipe", lambda: recipe)
    store = settings.knowledge_dir(assistant.assistant_id)
    sync_knowledge(settings, assistant, lambda *step: None, said.append)
    before = load_index(store)
    outcome = tune_knowledge(settings, assistant, lambda *step: None, said.append)
    after = load_index(store)
    assert before is not None
    assert after is not None
    assert outcome.before.n > 5, "documents were held out"
    assert outcome.trained_on + outcome.before.n == len(CHOICES)
    assert outcome.is_kept is learns
    assert (outcome.after.mrr > outcome.before.mrr) is learns
    assert (after.embedder != before.embedder) is learns
    again = sync_knowledge(settings, assistant, lambda *step: None, said.append)
    assert again.embedded == 0, "the next sync goes on with it"
    found = loaded(store, 1)
    assert found is not None
    assert found.index.embedder == after.embedder


async def test_what_reviewers_said_in_the_log_is_what_it_learns_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assistant = write_shop(tmp_path / "shop", make_encoder("bert", tmp_path / "tiny"))
    written = assistant.root / "answers" / "en.jsonl"
    asked = [json.loads(line) for line in written.read_text(encoding="utf-8").splitlines()]
    written.unlink()
    settings, said = load_settings(home=tmp_path / "home"), []
    recipe = RetrievalRecipe(epochs=20, batch_size=16, learning_rate=1e-3)
    monkeypatch.setattr(training.finetune_retrieval, "RetrievalRecipe", lambda: recipe)
    await asyncio.to_thread(sync_knowledge, settings, assistant, lambda *step: None, said.append)
    with pytest.raises(KefuError, match="0 questions with a passage to learn from"):
        tune_knowledge(settings, assistant, lambda *step: None, said.append)

    db, name = database_of(tmp_path / "home"), assistant.assistant_id
    ids = await db.write(lambda c: log_messages(c, name, *(prediction(each["question"]) for each in asked)))
    labels = [
        Label(prediction_id=number, passages=tuple(each["passages"])) for number, each in zip(ids, asked, strict=True)
    ]
    await db.write(lambda c: add_labels(c, name, labels, datetime.now(UTC)))
    finder = loaded(settings.knowledge_dir(name), 1)
    assert finder is not None
    epoch = datetime.fromtimestamp(0, UTC)
    found = await learnable(db, assistant, finder, epoch, date(2026, 11, 30))
    await db.close()
    append(assistant.root / FROM_LOGS, found.questions)

    outcome = tune_knowledge(settings, assistant, lambda *step: None, said.append)
    assert outcome.trained_on + outcome.before.n == len(CHOICES)
    assert outcome.before.n > 5, "documents were held out"
    assert outcome.is_kept, f"{outcome.before.mrr} to {outcome.after.mrr}"
