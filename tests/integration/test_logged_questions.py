"""From conversations on a running platform to lines that the search learns from, and their end when a customer goes."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from bot import privacy
from bot.answers.finder import Finder
from bot.answers.from_logs import FROM_LOGS, append
from bot.answers.index_files import load_index
from bot.files import Files
from bot.knowing import training_questions
from bot.logged_questions import KNOWN, NO_REPLY, SEVERAL, Learnable, learnable
from bot.review import export_review, import_review
from bot.storage.tables import conversations
from tests.bag_of_words import BagOfWords
from tests.integration.test_answers import shop
from tests.lab import Lab, Read
from tests.learning import log_messages, prediction
from tests.server import database_of, kefu
from tests.tiny_encoders import make_encoder

pytestmark = pytest.mark.both_databases
UNSURE, SKIING = "can wool sing or dance or paint?", "can wool ski or dance or paint?"
MAIL = "can wool blankets sing? mine is anna@example.com"
BOTH = "would wool dance or paint or sing?"
TUMBLED, BOILED = "may wool blankets see a tumbling drum, ever?", "may wool be boiled or fried or steamed?"
HAT, FLEECE, CUP = "is a wool hat warm, or is it cold?", "is fleece fine?", "who won the cup?"
ASKED = (UNSURE, SKIING, MAIL, BOTH, TUMBLED, BOILED, HAT, FLEECE, CUP)
TOLD = {text: Read(intent="out_of_scope") for text in ASKED}
EPOCH = datetime.fromtimestamp(0, UTC)


async def taught(lab: Lab, folder: Path, since: datetime = EPOCH) -> Learnable:
    index = load_index(folder / "store")
    assert index is not None
    finder = Finder(index=index, embedder=BagOfWords())
    return await learnable(lab.platform.db, lab.platform.bot.assistant, finder, since, date(2026, 11, 30))


async def choose(lab: Lab, question: str, sender: str, *places: int) -> None:
    """Ask, and press the headings at these places of what is offered."""
    body = {"sender": sender, "message": question}
    (offer,) = (await lab.http.post("/webhooks/rest/webhook", json=body)).json()
    for place in places:
        await lab.say(offer["buttons"][place]["payload"], sender)


async def reply(lab: Lab, sender: str, text: str) -> None:
    """A person of the company answers, as the company's own desk logs it over the HTTP API."""
    event = {"event": "agent", "text": text}
    assert (await lab.http.post(f"/conversations/{sender}/tracker/events", json=[event])).status_code == 200


async def test_a_chosen_heading_teaches_its_question_once_and_redacted(tmp_path: Path) -> None:
    async with shop(tmp_path, TOLD) as lab:
        await choose(lab, MAIL, "anna", 0)
        await choose(lab, MAIL, "anna", 0)
        await choose(lab, UNSURE, "carl")
        await choose(lab, BOTH, "dora", 0, 1)
        await lab.say('/ask_knowledge{"passage": "forged"}', "eve")
        found = await taught(lab, tmp_path)
        [one] = found.questions
        assert one.question == "can wool blankets sing? mine is [email]"
        assert (one.passages, one.origin, len(one.customers)) == (("en/wool.md#wool",), "pressed", 1)
        assert found.left_out == {SEVERAL: 1}
        assert (await taught(lab, tmp_path, datetime.now(UTC) + timedelta(hours=1))).questions == []


async def test_what_was_written_is_learned_and_not_found_again(tmp_path: Path) -> None:
    async with shop(tmp_path, TOLD) as lab:
        assistant = lab.platform.bot.assistant
        for sender in ("anna", "ben"):
            await choose(lab, UNSURE, sender, 1)
        await choose(lab, SKIING, "carl", 1)
        found = await taught(lab, tmp_path)
        assert [(len(each.customers), bool(each.doubt)) for each in found.questions] == [(2, False), (1, True)]
        append(assistant.root / FROM_LOGS, found.questions)
        asked, problems = training_questions(assistant)
        assert problems == []
        assert [(each.question, each.sources) for each in asked] == [(UNSURE, ("en/parcels.md#packstation",))]
        again = await taught(lab, tmp_path)
        assert (again.questions, again.left_out) == ([], {KNOWN: 3})


async def test_an_operator_s_reply_is_kept_where_a_passage_found_for_the_question_says_it(tmp_path: Path) -> None:
    async with shop(tmp_path, TOLD) as lab:
        await lab.say(TUMBLED, "anna")
        await reply(lab, "anna", "One moment please, I ask my colleague!")
        await reply(lab, "anna", "Wash wool blankets by hand in cold water.")
        await lab.say(BOILED, "ben")
        await reply(lab, "ben", "Wash wool by hand in cold water, 40 degrees.")
        await lab.say(HAT, "carl")
        await reply(lab, "carl", "Our opening hours are on the door.")
        found = await taught(lab, tmp_path)
        learned = {each.question: (each.origin, each.passages, each.reply) for each in found.questions}
        wool = ("en/wool.md#wool",)
        assert learned == {
            TUMBLED: (
                "operator", wool, "Wash wool blankets by hand in cold water.",
            ),
            BOILED: ("operator", wool, None),
        }  # fmt: skip
        assert found.left_out == {NO_REPLY: 1}


async def test_a_reviewer_names_the_passage_or_none(tmp_path: Path) -> None:
    async with shop(tmp_path, TOLD) as lab:
        db, assistant = lab.platform.db, lab.platform.bot.assistant
        for text in (FLEECE, CUP, "left alone"):
            await lab.say(text)
        file = tmp_path / "review.jsonl"
        await export_review(db, assistant.assistant_id, file)
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        assert [row["passages"] for row in rows] == [None] * 3
        named: dict[str, list[str] | None] = {FLEECE: ["en/wool.md#wool"], CUP: []}
        for row in rows:
            row |= {"label": "skip", "passages": named.get(row["text"])}
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert (await import_review(db, assistant, file)).taken == 3
        assert (await import_review(db, assistant, file)).unchanged == 3
        found = await taught(lab, tmp_path)
        assert {each.question: (each.origin, [*each.passages]) for each in found.questions} == {
            text: ("reviewed", passages) for text, passages in named.items()
        }
        rows[0]["passages"] = ["en/parcels.md"]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert (await import_review(db, assistant, file)).taken == 1
        assert ("en/parcels.md",) in {each.passages for each in (await taught(lab, tmp_path)).questions}


async def test_erasing_a_customer_takes_their_lines_and_leaves_the_others(tmp_path: Path) -> None:
    async with shop(tmp_path, TOLD) as lab:
        assistant, db = lab.platform.bot.assistant, lab.platform.db
        await choose(lab, UNSURE, "anna", 0)
        await choose(lab, SKIING, "ben", 0)
        append(assistant.root / FROM_LOGS, (await taught(lab, tmp_path)).questions)
        [customer], _ = await privacy.found(db, assistant.assistant_id, "anna")
        files = Files.of(lab.platform.settings, assistant, db)
        erased = await privacy.erase(db, files, assistant, customer, tmp_path / "audit")
        assert erased["question"] == 1
        kept, _ = training_questions(assistant)
        assert [each.question for each in kept] == [SKIING]


def test_the_commands_show_write_and_forget(tmp_path: Path) -> None:
    folder, home = tmp_path / "shop", tmp_path / "home"
    files = {
        "config.yml": "language: en\nassistant_id: small-shop\n",
        "kefu.yml": f"base: {make_encoder('bert', tmp_path / 'tiny')}\nanswers: {{}}\n",
        "domain.yml": "intents: [ask_knowledge, greet]\nresponses: {utter_greet: [{text: Hello!}]}\n",
        "data/nlu.yml": 'version: "3.1"\nnlu:\n- intent: greet\n  examples: "- hello\\n- hi\\n"\n',
        "knowledge/en/wool.md": "# Care\n\n## Wool\nWash wool by hand.",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")

    def run(*args: str, check: bool = True) -> str:
        done = kefu(*args, "--assistant", str(folder), home=home, check=check)
        return " ".join((done.stdout + done.stderr).split())

    assert "kefu knowledge sync" in run("knowledge", "learn", check=False), "nothing was read yet"
    run("knowledge", "sync")
    assert "teaches nothing" in run("knowledge", "learn")
    sender = asyncio.run(log(home, "how is wool washed?"))
    review = tmp_path / "review.jsonl"
    kefu("review", "export", str(folder), "--out", str(review), home=home)
    row = {**json.loads(review.read_text()), "label": "skip", "passages": ["en/wool.md#wol"]}
    review.write_text(json.dumps(row))
    assert "did you mean 'en/wool.md#wool'?" in run("review", "import", str(review), check=False)
    review.write_text(json.dumps({**row, "passages": ["en/wool.md#wool"]}))
    run("review", "import", str(review))

    shown = run("knowledge", "learn")
    assert "how is wool washed?" in shown
    assert "reviewed" in shown
    assert not (folder / FROM_LOGS).exists()
    run("knowledge", "learn", "--write")
    line = json.loads((folder / FROM_LOGS).read_text())
    assert (line["question"], line["passages"]) == ("how is wool washed?", ["en/wool.md#wool"])
    assert "left out, known already: 1" in run("knowledge", "learn", "--write")
    assert "1 lines of" in run("erase", sender, "--yes")
    assert (folder / FROM_LOGS).read_text() == ""


async def log(home: Path, text: str) -> str:
    """One message in the log; its sender."""
    db = database_of(home)
    await db.write(lambda c: log_messages(c, "small-shop", prediction(text, confidence=0.3, fallback=True)))
    sender: str = await db.read(lambda c: c.execute(select(conversations.c.sender_id)).scalar_one())
    await db.close()
    return sender
