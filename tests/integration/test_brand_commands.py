"""`kefu brand check` as an author uses it: what is not the brand's is named with its place, or with who was told it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from sqlalchemy import Connection

from bot.assistant.config import AnswersConfig
from bot.assistant.loader import Assistant, load_assistant
from bot.brand_check import check_brand
from bot.cli import TEMPLATES
from bot.storage import arrivals, inbox
from tests.contract.turns import NOON, finish, message
from tests.learning import SMALL_SHOP, write_assistant
from tests.server import database_of, kefu

BRAND = """\
greeting: {en: "Hey! Welcome.", zh: "你好，欢迎。"}
answers:
  en: "I looked: {answer}"
voice:
  formality: formal
  person: we
  forbid: [cheap]
  prefer: {parcel: package}
"""
RESPONSES = """\
version: "3.1"
responses:
  utter_cheap:
  - condition:
    - {type: slot, name: language, value: en}
    text: &cheap "A cheap lamp for {name}."
    buttons:
    - {title: "I want my parcel!", payload: /order_status}
  - condition:
    - {type: slot, name: language, value: zh}
    text: *cheap
  - text: *cheap
  utter_fine:
  - text: "See https://shop.example/cheap or {cheap}."
slots:
  language: {type: categorical, values: [en, zh], influence_conversation: false, mappings: [{type: custom}]}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    files = dict(SMALL_SHOP)
    files["domain/domain.yml"] = files.pop("domain.yml")
    write_assistant(tmp_path / "shop", {**files, "domain/more.yml": RESPONSES, "brand.yml": BRAND})
    return tmp_path / "shop"


def check(shop: Path, home: Path, *options: str) -> CompletedProcess[str]:
    done = kefu("brand", "check", str(shop), *options, home=home, check=False, COLUMNS="200")
    assert "Traceback" not in done.stderr
    return done


def told(home: Path, replies: Mapping[str, list[dict[str, Any]]]) -> None:
    """Log replies of the bot, a conversation for each sender."""

    def log(conn: Connection, sender: str, said: list[dict[str, Any]]) -> None:
        arrivals.accept(conn, "small-shop", [message(f"hello of {sender}", sender)], [], NOON)
        (held,) = inbox.claim(conn, "small-shop", "test", NOON, 60.0, 1)
        finish(conn, held, events=[{"event": "bot", "timestamp": 1.0, "metadata": {}, **each} for each in said])

    async def fill() -> None:
        db = database_of(home)
        for sender, said in replies.items():
            await db.write(partial(log, sender=sender, said=said))
        await db.close()

    asyncio.run(fill())


def test_each_text_is_named_with_file_line_and_what_to_do(shop: Path, tmp_path: Path) -> None:
    done = check(shop, tmp_path / "home")
    assert done.returncode == 1
    shown = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert shown[:13] == [
        "domain/more.yml:4 (utter_cheap) [en]: A cheap lamp for {name}.",
        "error forbidden The brand does not say “cheap”: say it in other words.",
        "domain/more.yml:4 (utter_cheap) [en]: I want my parcel!",
        "warning preferred Say “package” instead of “parcel”.",
        "domain/more.yml:9 (utter_cheap) [zh]: A cheap lamp for {name}.",
        "error forbidden The brand does not say “cheap”: say it in other words.",
        "error language This is written in “en” and said to customers who write “zh”: translate it.",
        "brand.yml:1 (greeting) [en]: Hey! Welcome.",
        "warning formality “Hey” is slang: say it plainly.",
        "brand.yml:1 (greeting) [zh]: 你好，欢迎。",
        "warning formality “你” where the voice is formal: say 您.",
        "brand.yml (disclosure.text) [en]: I am an automated assistant. You can ask for a person at any time.",
        "warning person “I” is another person: the brand speaks as “we”.",
    ]
    assert "brand.yml:3 (answers.en[0]) [en]: I looked: {answer}" in shown
    assert not any("utter_fine" in line for line in shown)
    assert [line.split("│")[1].strip() for line in shown if line.startswith("│")] == ["en", "zh"]


def test_json_holds_the_findings_and_a_score_for_each_language(shop: Path, tmp_path: Path) -> None:
    report = json.loads(check(shop, tmp_path / "home", "--json").stdout)
    first = report["found"][0]
    assert (first["place"], first["text"]) == ("domain/more.yml:4 (utter_cheap)", "A cheap lamp for {name}.")
    assert (first["score"], first["findings"][0]["rule"]) == (0.5, "forbidden")
    assert report["scores"].keys() == {"en", "zh"}
    assert 0 < report["scores"]["en"]["score"] < 1


def test_what_was_said_is_shown_once_with_its_count_and_without_personal_data(shop: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    quoted = {"text": "I quote: a cheap lamp.", "metadata": {"knowledge": {"kind": "extracted"}}}
    same = [{"text": f"We sent a cheap lamp to {name}@shop.example."} for name in ("ann", "bob")]
    told(home, {"ann": same[:1], "bob": [*same[1:], quoted, {"text": None}], "cid": [{"text": "It is on its way."}]})
    assert "ann" not in check(shop, home).stdout
    shown = check(shop, home, "--log").stdout
    assert "said 2 times" in shown
    assert "@shop.example" not in shown
    found = {each["text"]: each for each in json.loads(check(shop, home, "--last", "100", "--json").stdout)["found"]}
    twice = found["We sent a cheap lamp to [email]."]
    assert (twice["count"], twice["place"] in {"ann", "bob"}) == (2, True)
    assert [each["rule"] for each in found["I quote: a cheap lamp."]["findings"]] == ["forbidden"]
    assert "It is on its way." not in found


def test_nothing_said_yet_is_no_mistake(tmp_path: Path) -> None:
    write_assistant(tmp_path / "shop", SMALL_SHOP)
    done = check(tmp_path / "shop", tmp_path / "home", "--log")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_help_teaches_with_an_example(tmp_path: Path) -> None:
    shown = kefu("brand", "check", "--help", home=tmp_path).stdout
    assert "kefu brand check --last 200" in " ".join(shown.split())


@pytest.mark.parametrize("trade", TEMPLATES)
def test_what_kefu_init_copies_keeps_to_its_own_voice(trade: str) -> None:
    assistant = load_assistant(TEMPLATES[trade], {})
    assert set(assistant.brand.voices) == {"en", "zh"}
    report = check_brand(assistant)
    assert [each.as_json() for each in report.found] == []
    assert {language: one.score for language, one in report.scores().items()} == {"en": 1.0, "zh": 1.0}


def test_the_words_around_answers_are_held_to_the_voice_those_of_the_platform_where_documents_answer(
    shop: Path,
) -> None:
    words = 'en:\n    frames: ["I looked: {answer}"]\n    source: "A cheap page: {title}"'
    (shop / "brand.yml").write_text(BRAND.replace('en: "I looked: {answer}"', words), encoding="utf-8")
    assistant = load_assistant(shop, {})

    def found(assistant: Assistant) -> dict[str, list[str]]:
        wordings = {each.wording.place: [one.rule for one in each.findings] for each in check_brand(assistant).found}
        return {place: rules for place, rules in wordings.items() if "answers" in place}

    own = {"brand.yml:4 (answers.en[0])": ["person"], "brand.yml:5 (answers.en.source)": ["forbidden"]}
    assert found(assistant) == own
    answering = replace(assistant, config=replace(assistant.config, answers=AnswersConfig()))
    assert found(answering) == {**own, "brand.yml (answers.en.offer)": ["formality", "person"]}
