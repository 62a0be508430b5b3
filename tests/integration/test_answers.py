"""Answers from the company's documents on a running platform: when they are given, how they are said and kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from bot.answers.documents import of_response
from bot.answers.exchange import Exchange
from bot.answers.index_files import sync
from bot.answers.service import Knowledge
from bot.app import actions_of
from bot.assistant.answer_words import DEFAULT_ANSWER_WORDS
from bot.turns import Bot
from tests.answering import FILES, SURE
from tests.bag_of_words import BagOfWords
from tests.dialogue import assistant_of
from tests.lab import Lab, Read, Reader, running

WOOL = "# Care\n\n## Wool\nWash wool blankets by hand in cold water."
PACKSTATION = "# Parcels\n\n## Packstation\nWe deliver parcels to a Packstation in Germany."
TOLD = {
    "how do I wash wool blankets": Read(intent="out_of_scope"),
    "do you deliver parcels to a Packstation": Read(intent="shipping"),
    "what does delivery in Germany cost": Read(intent="shipping"),
    "who won the football": Read(intent="out_of_scope"),
    "can wool sing or dance or paint?": Read(intent="out_of_scope"),
    "and by machine?": Read(intent="out_of_scope"),
    "hello": Read(intent="greet"),
    "my order": Read(intent="order"),
    "A-17": Read(intent="inform"),
}
ANSWER = "Wash wool blankets by hand in cold water.\n(From our help page “Care”)"


@asynccontextmanager
async def shop(
    folder: Path, told: Mapping[str, Read] = TOLD, *, follows: bool = False, **brand: Any
) -> AsyncIterator[Lab]:
    assistant = assistant_of(folder / "assistant", FILES)
    assistant = replace(assistant, brand=replace(assistant.brand, **brand))
    documents = assistant.root / "knowledge" / "en"
    documents.mkdir(parents=True)
    (documents / "wool.md").write_text(WOOL, encoding="utf-8")
    (documents / "parcels.md").write_text(PACKSTATION, encoding="utf-8")
    response = of_response("shipping", "Delivery in Germany costs five euros.", "en")
    gates = {"other": SURE, "other/after": SURE} if follows else {"other": SURE}
    sync(assistant.root / "knowledge", folder / "store", BagOfWords(), lambda index: gates, [response])
    today = date(2026, 11, 30)
    knowledge = Knowledge(folder / "store", assistant.brand, embedder=BagOfWords(), today=lambda: today)
    bot = replace(Bot.of(assistant, actions_of(assistant)), knowledge=knowledge)
    async with running(folder / "home", bot, Reader(told)) as lab:
        yield lab


async def test_what_nothing_else_understands_is_answered_from_a_document_and_its_source_is_kept(tmp_path: Path) -> None:
    async with shop(tmp_path) as lab:
        assert await lab.say("how do I wash wool blankets") == [ANSWER]
        events = (await lab.tracker())["events"]
        said = next(event for event in events if event["event"] == "bot")
        kept = said["metadata"]["knowledge"]
        assert kept["kind"] == "extracted"
        assert kept["sources"] == [{"title": "Care", "heading": "Wool", "source": "en/wool.md#wool"}]
        heard = next(event for event in events if event["event"] == "user")
        assert heard["parse_data"]["intent"]["name"] == "ask_knowledge"
        assert heard["parse_data"]["intent_ranking"][1]["name"] == "out_of_scope"
        assert [each["id"] for each in heard["parse_data"]["knowledge"]["passages"]]


async def test_what_no_document_answers_goes_the_way_it_always_went(tmp_path: Path) -> None:
    async with shop(tmp_path) as lab:
        assert await lab.say("who won the football") == ["Please say it otherwise."]
        assert await lab.say("hello") == ["Hello!"]


async def test_a_subject_s_own_response_gives_way_only_to_what_answers_more_closely(tmp_path: Path) -> None:
    async with shop(tmp_path) as lab:
        assert await lab.say("what does delivery in Germany cost") == ["Delivery in Germany costs five euros."]
        (answer,) = await lab.say("do you deliver parcels to a Packstation")
        assert answer.startswith("We deliver parcels to a Packstation in Germany.")


async def test_who_words_an_answer_is_told_what_was_said_just_before(tmp_path: Path) -> None:
    async with shop(tmp_path) as lab:
        asked = Overheard()
        lab.platform.worker.bot = replace(lab.platform.worker.bot, knowledge=asked)
        await lab.say("hello")
        await lab.say("how do I wash wool blankets")
        await lab.say("how do I wash wool blankets", sender="ben")
        assert asked.earlier == [Exchange(customer="hello", bot="Hello!"), None]


@pytest.mark.parametrize("follows", [True, False])
async def test_a_question_that_means_something_only_after_the_one_before_is_found_with_it(
    tmp_path: Path, follows: bool
) -> None:
    async with shop(tmp_path, follows=follows) as lab:
        assert await lab.say("and by machine?") == ["Please say it otherwise."]
        assert await lab.say("how do I wash wool blankets") == [ANSWER]
        # Without a gate that learned from follow-ups nothing says when to believe what is found.
        assert await lab.say("and by machine?") == [ANSWER if follows else "Please say it otherwise."]


class Overheard(Knowledge):
    """Answers nothing and keeps what it was told of the conversation."""

    def __init__(self) -> None:
        self.earlier: list[Exchange | None] = []

    async def look_up(self, *_: Any, earlier: Exchange | None = None, **more: Any) -> None:
        self.earlier.append(earlier)

    async def close(self) -> None:
        return


async def test_a_question_inside_a_form_is_answered_and_the_form_goes_on(tmp_path: Path) -> None:
    async with shop(tmp_path) as lab:
        assert await lab.say("my order") == ["Which number?"]
        assert await lab.say("how do I wash wool blankets") == [ANSWER, "Which number?"]
        assert await lab.say("A-17") == ["Thank you."]
        assert (await lab.tracker())["slots"]["number"] == "A-17"


async def test_where_it_is_not_sure_it_offers_headings_and_a_press_quotes_the_passage(tmp_path: Path) -> None:
    async with shop(tmp_path) as lab:
        body = {"sender": "anna", "message": "can wool sing or dance or paint?"}
        (offered,) = (await lab.http.post("/webhooks/rest/webhook", json=body)).json()
        assert offered["text"].startswith("I'm not certain")
        titles = [button["title"] for button in offered["buttons"]]
        assert titles == ["Care", "Parcels"]
        assert await lab.say(offered["buttons"][0]["payload"]) == [ANSWER]
        assert await lab.say('/ask_knowledge{"passage": "gone"}') == ["Not in our pages."]


async def test_a_button_without_a_question_says_that_there_is_nothing(tmp_path: Path) -> None:
    async with shop(tmp_path) as lab:
        assert await lab.say("/ask_knowledge") == ["Not in our pages."]


async def test_two_brands_over_the_same_documents_sound_different_and_say_the_same(tmp_path: Path) -> None:
    said = []
    for name, frame in (("warm", "Happy to help! {answer}"), ("terse", "{answer}")):
        words = {**DEFAULT_ANSWER_WORDS, "en": replace(DEFAULT_ANSWER_WORDS["en"], frames=(frame,))}
        async with shop(tmp_path / name, answers=words) as lab:
            said += await lab.say("how do I wash wool blankets")
    assert said[0] != said[1]
    assert said[0].removeprefix("Happy to help! ") == said[1]


async def test_the_words_above_an_offer_are_the_brand_s(tmp_path: Path) -> None:
    words = {**DEFAULT_ANSWER_WORDS, "en": replace(DEFAULT_ANSWER_WORDS["en"], offer="Which of these?")}
    async with shop(tmp_path, answers=words) as lab:
        assert await lab.say("can wool sing or dance or paint?") == ["Which of these?"]


async def test_the_parse_over_http_says_it_too(tmp_path: Path) -> None:
    async with shop(tmp_path) as lab:
        answer = await lab.http.post("/model/parse", json={"text": "how do I wash wool blankets"})
        assert answer.json()["intent"]["name"] == "ask_knowledge"


@pytest.mark.parametrize(
    ("kefu", "problem"),
    [
        ("answers: {intent: nothing}\n", "unknown intent 'nothing'"),
        ("answers: {instead_of: [shippin]}\n", "Did you mean 'shipping'?"),
        ("answers: {}\n", "no folder `knowledge/`"),
    ],
)
def test_answers_that_cannot_be_are_found_by_validate(tmp_path: Path, kefu: str, problem: str) -> None:
    from bot.assistant.loader import check_assistant

    files = {**FILES, "kefu.yml": kefu}
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = [f"{each.message} {each.hint}" for each in check_assistant(tmp_path, {})]
    assert any(problem in each for each in found), found
