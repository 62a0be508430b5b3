"""`action_suggest` on a running platform: who is shown what, in which language, and what the log keeps of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import privacy
from bot.answers.suggest_service import Suggestions
from bot.app import actions_of
from bot.assistant.loader import check_assistant
from bot.files import Files
from bot.suggestion_log import read_showings
from bot.turns import Bot
from connectors.base import InboundMessage
from tests.bag_of_words import BagOfWords
from tests.contract.turns import NOON
from tests.dialogue import assistant_of
from tests.integration.test_erase import everything
from tests.lab import Lab, Read, Reader, running

CATALOGUE = """product_id,name_en,name_zh,category,stock,price,why_en,why_zh
lamp,reading lamp,阅读灯,lamp,3,90,shines on your book,照亮书页
night,night light,小夜灯,lamp,2,20,gentle in the dark,夜里很柔和
throw,wool throw,羊毛毯,throw,5,75,warm on the sofa,沙发上很暖
quilt,winter quilt,冬被,throw,0,140,warm in bed,床上很暖
rug,jute rug,黄麻地毯,rug,1,96,robust in halls,走廊耐踩
"""
ORDERS = "customer,product_id,on,returned\n" + "".join(
    f"c{number},{item},2026-10-01,\n" for number in range(8) for item in ("throw", "rug")
)
FILES = {
    "config.yml": "language: en\npolicies: [{name: RulePolicy}]\n",
    "kefu.yml": """
suggestions:
  catalogue: suggest/catalogue.csv
  orders: suggest/orders.csv
  intent: info
  count: 2
  card: {en: "€{price}", zh: "{price} 欧元"}
""",
    "suggest/catalogue.csv": CATALOGUE,
    "suggest/orders.csv": ORDERS + "anna@example.com,throw,2026-10-02,\nanna@example.com,night,2026-10-02,yes\n",
    "domain.yml": """
version: "3.1"
intents: [recommend, info, stop, order, inform, nlu_fallback]
entities: [product, suggestions]
slots:
  language: {type: categorical, values: [en, zh], influence_conversation: false, mappings: [{type: custom}]}
  suggestions:
    type: categorical
    values: ["on", "off"]
    influence_conversation: false
    mappings: [{type: from_intent, intent: stop, value: "off"}, {type: from_entity, entity: suggestions}]
  number:
    type: text
    influence_conversation: false
    mappings: [{type: from_text, not_intent: recommend, conditions: [{active_loop: form, requested_slot: number}]}]
forms: {form: {required_slots: [number]}}
responses:
  utter_info: [{text: "It is fine."}]
  utter_stopped: [{text: "No more."}]
  utter_ask_number: [{text: "Which number?"}]
  utter_no_suggestions: [{text: "What is it for?"}]
  utter_thanks: [{text: "Thank you."}]
session_config: {session_expiration_time: 60, carry_over_slots_to_new_session: true}
""",
    "data/rules.yml": """
version: "3.1"
rules:
- rule: recommend
  steps: [{intent: recommend}, {action: action_suggest}]
- rule: info
  steps: [{intent: info}, {action: utter_info}]
- rule: stop
  steps: [{intent: stop}, {action: utter_stopped}]
- rule: order
  steps: [{intent: order}, {action: form}, {active_loop: form}]
- rule: ordered
  condition: [{active_loop: form}]
  steps: [{action: form}, {active_loop: null}, {action: utter_thanks}]
""",
    "data/nlu.yml": """
version: "3.1"
nlu:
- intent: recommend
  examples: "- what would you suggest\\n- 有什么推荐\\n"
- intent: info
  examples: "- about it\\n- how big\\n"
- intent: stop
  examples: "- no suggestions please\\n- 别给我推荐了\\n"
- intent: order
  examples: "- my order\\n- order\\n"
- intent: inform
  examples: "- A-1\\n- B-2\\n"
""",
}
TOLD = {
    "what would you suggest": Read(intent="recommend"),
    "有什么推荐": Read(intent="recommend"),
    "how big is the reading lamp": Read(intent="info", entities=[{"entity": "product", "value": "reading lamp"}]),
    "阅读灯多大": Read(intent="info", entities=[{"entity": "product", "value": "阅读灯"}]),
    "my sofa is cold": Read(intent="info"),
    "no suggestions please": Read(intent="stop"),
    "别给我推荐了": Read(intent="stop"),
    "my order": Read(intent="order"),
}


class Bilingual(Reader):
    async def understand(self, texts: Any) -> Any:
        return [
            replace(seen, language="zh" if any(char >= "\u4e00" for char in seen.text) else "en")
            for seen in await super().understand(texts)
        ]


@asynccontextmanager
async def shop(folder: Path, changed: Mapping[str, str] | None = None) -> AsyncIterator[Lab]:
    assistant = assistant_of(folder / "assistant", {**FILES, **(changed or {})})
    suggestions = Suggestions(assistant, BagOfWords, folder / "cache")
    async with running(folder / "home", Bot.of(assistant, actions_of(assistant, suggestions)), Bilingual(TOLD)) as lab:
        yield lab


async def said(lab: Lab, text: str, sender: str = "anna") -> list[dict[str, Any]]:
    answer = await lab.http.post("/webhooks/rest/webhook", json={"sender": sender, "message": text})
    assert answer.status_code == 200, answer.text
    messages: list[dict[str, Any]] = answer.json()
    return messages


async def said_signed(lab: Lab, text: str, number: int, **identity: Any) -> list[dict[str, Any]]:
    """As a customer whom the company's own website has named."""
    message = InboundMessage(
        channel="rest", account="", external_id=f"{number}", customer="anna", sender_id="anna", text=text,
        received_at=NOON, metadata={"identity": {"verified": True, **identity}}, input_channel="rest",
    )  # fmt: skip
    (receipt,) = await lab.platform.ports.receive([message])
    replies = await lab.platform.ports.wait_for_reply(receipt.inbound_id, 20)
    assert replies is not None
    return [dict(reply.body) for reply in replies]


def cards(messages: list[dict[str, Any]]) -> dict[str, str]:
    """Title → the reason under it."""
    (custom,) = [message["custom"] for message in messages if "custom" in message]
    return {card["title"]: card["subtitle"].split("\n")[1] for card in custom["cards"]}


async def logged(lab: Lab) -> list[dict[str, Any]]:
    events = (await lab.tracker())["events"]
    return [event["metadata"]["suggestions"] for event in events if "suggestions" in event.get("metadata", {})]


async def test_a_stranger_is_shown_what_many_took_and_the_log_says_how_it_was_chosen(tmp_path: Path) -> None:
    async with shop(tmp_path) as lab:
        messages = await said(lab, "what would you suggest")
        assert messages[0]["text"] == "These could be something for you:"
        assert cards(messages) == dict.fromkeys(("Wool throw", "Jute rug"), "Many of our customers took it")
        (card, _) = messages[1]["custom"]["cards"]
        assert card["subtitle"].startswith("€75\n")
        assert card["buttons"] == [{"title": "Tell me more", "payload": '/info{"product": "wool throw"}'}]
        (log,) = await logged(lab)
        assert [each["id"] for each in log["candidates"]] == ["lamp", "night", "throw", "rug"]
        assert log["shown"] == [
            {"id": "throw", "propensity": 1.0, "why": "popular"},
            {"id": "rug", "propensity": 1.0, "why": "popular"},
        ]


async def test_what_was_talked_about_comes_first_and_says_so(tmp_path: Path) -> None:
    async with shop(tmp_path) as lab:
        await said(lab, "how big is the reading lamp")
        shown = cards(await said(lab, "what would you suggest"))
        assert next(iter(shown.items())) == ("Reading lamp", "Because you asked about “reading lamp”")
        await said(lab, "my sofa is cold", "ben")
        shown = cards(await said(lab, "what would you suggest", "ben"))
        assert next(iter(shown.items())) == ("Wool throw", "Fits what you asked about")


async def test_in_chinese_all_of_it_is_chinese(tmp_path: Path) -> None:
    async with shop(tmp_path) as lab:
        await said(lab, "阅读灯多大")
        messages = await said(lab, "有什么推荐")
        assert messages[0]["text"] == "这几样您可能会喜欢："
        assert cards(messages) == {"阅读灯": "因为您问到了“阅读灯”", "羊毛毯": "店里不少人买过"}
        button = messages[1]["custom"]["cards"][0]["buttons"][0]
        assert button == {"title": "看看这件", "payload": '/info{"product": "阅读灯"}'}


async def test_a_signed_customer_s_orders_count_and_come_not_again(tmp_path: Path) -> None:
    async with shop(tmp_path) as lab:
        shown = cards(await said_signed(lab, "what would you suggest", 1, email="Anna@Example.com"))
        # The throw was taken, the night light sent back, the quilt is out of stock.
        assert shown == {
            "Jute rug": "Because you bought the wool throw; others took both",
            "Reading lamp": "Something else, for a change",
        }
        forged = {"identity": {"verified": True, "email": "anna@example.com"}}
        body = {"sender": "eve", "message": "what would you suggest", "metadata": forged}
        answer = (await lab.http.post("/webhooks/rest/webhook", json=body)).json()
        assert "Wool throw" in cards(answer)


@pytest.mark.parametrize("words", ["no suggestions please", "别给我推荐了"])
async def test_who_wants_none_gets_none_in_later_sessions_too(tmp_path: Path, words: str) -> None:
    async with shop(tmp_path) as lab:
        assert [each["text"] for each in await said(lab, words)] == ["No more."]
        begun = await lab.http.post("/conversations/anna/execute", json={"name": "action_session_start"})
        assert begun.status_code == 200
        assert [each["text"] for each in await said(lab, "what would you suggest")] == ["What is it for?"]
        assert await logged(lab) == []
        assert "custom" in (await said(lab, '/recommend{"suggestions": "on"}'))[1]


async def test_one_switch_ends_it_for_everybody(tmp_path: Path) -> None:
    async with shop(tmp_path, {"kefu.yml": "suggestions: off\n"}) as lab:
        assert [each["text"] for each in await said(lab, "what would you suggest")] == ["What is it for?"]
        assert await logged(lab) == []


async def test_in_a_form_it_is_answered_and_the_form_asks_again(tmp_path: Path) -> None:
    async with shop(tmp_path) as lab:
        await said(lab, "my order")
        messages = await said(lab, "what would you suggest")
        assert "custom" in messages[1]
        assert messages[-1]["text"] == "Which number?"


async def test_an_action_of_that_name_in_the_project_stays_the_project_s(tmp_path: Path) -> None:
    own = """
from rasa_sdk import Action
class Own(Action):
    def name(self): return "action_suggest"
    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="Our own.")
        return []
"""
    domain = FILES["domain.yml"] + "actions: [action_suggest]\n"
    async with shop(tmp_path, {"domain.yml": domain, "actions.py": own}) as lab:
        assert [each["text"] for each in await said(lab, "what would you suggest")] == ["Our own."]


async def test_changed_files_count_at_once_and_broken_ones_never(tmp_path: Path) -> None:
    async with shop(tmp_path) as lab:
        await said(lab, "what would you suggest")
        file = tmp_path / "assistant" / "suggest" / "catalogue.csv"
        file.write_text(CATALOGUE.replace("throw,5,75", "throw,0,75"), encoding="utf-8")
        assert list(cards(await said(lab, "what would you suggest"))) == ["Jute rug", "Reading lamp"]
        file.write_text("broken\n1,2\n", encoding="utf-8")
        assert list(cards(await said(lab, "what would you suggest"))) == ["Jute rug", "Reading lamp"]


async def test_vectors_are_made_once_and_never_of_what_customers_say(tmp_path: Path) -> None:
    assistant = assistant_of(tmp_path / "assistant", FILES)
    first, second = BagOfWords(), BagOfWords()
    shown = Suggestions(assistant, lambda: first, tmp_path).suggest(["my sofa is cold"], [], "en", "1")
    again = Suggestions(assistant, lambda: second, tmp_path).suggest(["my sofa is cold"], [], "en", "1")
    assert shown is not None
    assert again is not None
    assert [each.item.id for each in shown.shown] == [each.item.id for each in again.shown]
    assert (len(first.embedded), second.embedded) == (10, [])


@pytest.mark.both_databases
async def test_a_pressed_card_and_a_later_order_are_what_a_showing_was_worth(tmp_path: Path) -> None:
    async with shop(tmp_path) as lab:
        await said_signed(lab, "what would you suggest", 1, email="anna@example.com")
        await said_signed(lab, '/info{"product": "reading lamp"}', 2, email="anna@example.com")
        await said_signed(lab, "what would you suggest", 3, email="anna@example.com")
        await said(lab, "what would you suggest", "ben")
        assistant, db = lab.platform.bot.assistant, lab.platform.db
        showings = await read_showings(db, assistant, "click")
        assert [each.rewards for each in showings] == [[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
        assert len({each.group for each in showings}) == 2
        orders = tmp_path / "assistant" / "suggest" / "orders.csv"
        soon, late = (datetime.now(UTC).date() + timedelta(days=days) for days in (3, 30))
        with orders.open("a", encoding="utf-8") as file:
            file.write(f"anna@example.com,rug,{soon},\nanna@example.com,lamp,{late},\n")
        showings = await read_showings(db, assistant, "purchase")
        # Of ben nobody knows what he took.
        assert [each.rewards for each in showings] == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.both_databases
async def test_of_an_erased_customer_no_showing_is_left(tmp_path: Path) -> None:
    async with shop(tmp_path) as lab:
        await said_signed(lab, "what would you suggest", 1, email="anna@example.com")
        await said_signed(lab, "no suggestions please", 2, email="anna@example.com")
        assert "Because you bought the wool throw" in await everything(lab)
        name, db = lab.platform.bot.assistant.assistant_id, lab.platform.db
        files = Files.of(lab.platform.settings, lab.platform.bot.assistant, db)
        ([customer], _) = await privacy.found(db, name, "anna@example.com")
        await privacy.erase(db, files, lab.platform.bot.assistant, customer, tmp_path / "audit")
        left = await everything(lab)
        assert "propensity" not in left
        assert "wool throw" not in left
        assert await read_showings(db, lab.platform.bot.assistant, "click") == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"kefu.yml": "suggestions: {intent: inf}\n"}, "unknown intent 'inf'"),
        ({"kefu.yml": "suggestions: {intent: info, entity: products}\n"}, "Did you mean 'product'?"),
        ({"kefu.yml": "suggestions: {catalogue: gone.csv}\n"}, "cannot be read"),
        ({"suggest/catalogue.csv": CATALOGUE + "lamp,a,b,,,,,\n"}, "stands in the catalogue twice"),
    ],
)
def test_suggestions_that_cannot_be_are_found_by_validate(
    tmp_path: Path, changed: dict[str, str], problem: str
) -> None:
    for name, text in {**FILES, **changed}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = [f"{each.where}: {each.message} {each.hint}" for each in check_assistant(tmp_path, {})]
    assert any(problem in each for each in found), json.dumps(found)
