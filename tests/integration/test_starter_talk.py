"""What the starter says about its products, and how it behaves: greeting, yes and no, stopping, a bad mood."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rasa_sdk import Tracker

from bot.starter.actions import wishes
from bot.starter.actions.advice import ActionCheckStock, ActionProductInfo, ActionRecommend
from bot.starter.actions.manners import (
    ActionAffirm,
    ActionApologise,
    ActionDeny,
    ActionForgetDetails,
    ActionGreet,
    ActionReadMood,
    ActionStop,
)
from bot.starter.actions.order_status import ActionShowOrderStatus
from bot.starter.actions.people import ActionFileComplaint
from bot.starter.actions.seasons import FEASTS, TIMES_OF_DAY
from bot.starter.actions.wishes import ActionNoteWishes
from tests.starter_actions import ANNA, DOMAIN, outcome, said_by, tracker_with


@pytest.fixture(autouse=True)
def kefu_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEFU_HOME", str(tmp_path))
    return tmp_path


# Several wishes


@pytest.mark.parametrize(("language", "title"), [("en", "An invoice"), ("zh", "开发票")])
async def test_a_second_wish_beside_an_answer_gets_a_button(language: str, title: str) -> None:
    also = ["thank", "warranty", "invoice"]
    tracker = tracker_with(slots={"language": language}, intent="warranty", also=also, form=None)
    [message], slots = await said_by(ActionNoteWishes(), tracker)
    assert message["response"] == "utter_first_of_wishes"
    assert message["buttons"] == [{"title": title, "payload": "/invoice"}]
    assert slots == {}


async def test_a_second_wish_waits_until_the_form_of_the_first_is_over() -> None:
    """A button beside the form's first question would end the form."""
    tracker = tracker_with(slots={"language": "en"}, intent="return_item", also=["order_status"], form=None)
    assert await said_by(ActionNoteWishes(), tracker) == ([], {"other_wishes": ["order_status"]})
    held = {"language": "en", "other_wishes": ["order_status"]}
    assert await said_by(ActionNoteWishes(), tracker_with(slots=held, intent="inform", form="return_form")) == ([], {})
    again = tracker_with(slots=held, intent="invoice", form="return_form")
    assert await said_by(ActionNoteWishes(), again) == ([], {})
    found = {**held, "order_number": "A-1001", "order_contact": ANNA}
    messages, slots = await said_by(ActionShowOrderStatus(), tracker_with(slots=found))
    assert messages[-1]["response"] == "utter_next_wish"
    assert messages[-1]["buttons"] == [{"title": "Where is my order?", "payload": "/order_status"}]
    assert slots["other_wishes"] is None
    messages, slots = await said_by(ActionShowOrderStatus(), tracker_with(slots={**found, "other_wishes": None}))
    assert [message["response"] for message in messages] != []
    assert "utter_next_wish" not in [message["response"] for message in messages]


@pytest.mark.parametrize("action", [ActionStop(), ActionForgetDetails()])
async def test_a_matter_that_is_over_leaves_no_wish_behind(action: Any) -> None:
    _, slots = await said_by(action, tracker_with(slots={"language": "en", "other_wishes": ["invoice"]}, form=None))
    assert slots["other_wishes"] is None


async def test_a_wish_that_is_said_after_all_is_not_offered_again() -> None:
    held = {"other_wishes": ["order_status", "invoice"]}
    tracker = tracker_with(slots=held, intent="order_status", form="return_form")
    assert await said_by(ActionNoteWishes(), tracker) == ([], {"other_wishes": ["invoice"]})


async def test_wishes_of_several_messages_wait_together_but_not_for_what_their_form_is_about() -> None:
    held = {"other_wishes": ["return_item"]}
    also = ["order_status", "discount", "return_item"]
    tracker = tracker_with(slots=held, intent="shipping_info", also=also, form="order_status_form")
    assert await said_by(ActionNoteWishes(), tracker) == ([], {"other_wishes": ["discount", "return_item"]})


async def test_where_the_order_is_waits_behind_its_refund() -> None:
    asked = {"order_wish": "refund"}
    tracker = tracker_with(slots=asked, intent="refund_status", also=["order_status"], form="order_status_form")
    assert await said_by(ActionNoteWishes(), tracker) == ([], {"other_wishes": ["order_status"]})


async def test_a_wish_beside_an_answer_to_a_form_is_noted() -> None:
    tracker = tracker_with(slots={}, intent="inform", also=["invoice"], form="order_status_form")
    assert await said_by(ActionNoteWishes(), tracker) == ([], {"other_wishes": ["invoice"]})


async def test_a_wish_beside_a_complaint_gets_a_button() -> None:
    tracker = tracker_with(slots={"language": "en"}, intent="complaint", also=["refund_status"], form=None)
    [message], _ = await said_by(ActionNoteWishes(), tracker)
    assert message["buttons"] == [{"title": "Where is my refund?", "payload": "/refund_status"}]


async def test_a_wish_of_a_matter_that_was_left_long_ago_is_dropped() -> None:
    """No form is open: the one that it waited for ended with its session."""
    tracker = tracker_with(slots={"other_wishes": ["invoice"]}, intent="cancel_order", form=None)
    assert await said_by(ActionNoteWishes(), tracker) == ([], {"other_wishes": None})


async def test_after_a_complaint_the_other_wish_is_offered() -> None:
    told = {"complaint_text": "The lamp came in pieces and nobody answers", "complaint_order": "A-1001"}
    slots = {"language": "en", **told, "handoff_contact": ANNA, "other_wishes": ["refund_status"]}
    messages, found = await said_by(ActionFileComplaint(), tracker_with(slots=slots, form=None))
    assert [message["response"] for message in messages] == ["utter_complaint_filed", "utter_next_wish"]
    assert found["other_wishes"] is None


async def test_without_an_order_nothing_waits_on() -> None:
    slots = {"language": "en", "other_wishes": ["invoice"]}
    _, found = await said_by(ActionShowOrderStatus(), tracker_with(slots=slots, form=None))
    assert found["other_wishes"] is None


@pytest.mark.parametrize(
    ("intent", "form", "asked"),
    [
        ("greet", None, None),
        ("nlu_fallback", None, None),
        ("human_handoff", "handoff_form", "complaint_text"),
        ("damaged_item", "return_form", "return_reason"),
    ],
)
async def test_what_is_no_wish_or_an_answer_notes_none(intent: str, form: str | None, asked: str | None) -> None:
    tracker = tracker_with(slots={"requested_slot": asked}, intent=intent, also=["order_status"], form=form)
    assert await said_by(ActionNoteWishes(), tracker) == ([], {})


async def test_a_strained_customer_is_not_offered_a_person_twice() -> None:
    bad = {"event": "user", "parse_data": {"sentiment": {"name": "negative"}}}
    also = ["human_handoff", "discount"]
    tracker = tracker_with(slots={"language": "en"}, intent="invoice", also=also, before=[bad], form=None)
    [message], _ = await said_by(ActionNoteWishes(), tracker)
    assert len(message["buttons"]) == 2
    tracker.events[-2]["parse_data"] = bad["parse_data"]
    [message], _ = await said_by(ActionNoteWishes(), tracker)
    assert [button["payload"] for button in message["buttons"]] == ["/discount"]


def test_every_button_of_a_second_wish_names_an_intent() -> None:
    assert set(wishes._TITLES) <= set(DOMAIN["intents"])
    assert wishes._ANSWERED_AT_ONCE <= wishes._HEARD
    assert set(wishes._OF_FORM) == set(DOMAIN["forms"])


# Products


def asking(text: str, language: str = "en", talked_about: str | None = None, **entities: str) -> Tracker:
    named = [{"entity": name, "value": value} for name, value in entities.items()]
    return tracker_with(slots={"language": language, "product": talked_about}, text=text, entities=named, form=None)


async def test_a_product_is_told_in_both_languages() -> None:
    [en], slots = await said_by(ActionProductInfo(), asking("what is the brass reading lamp made of?"))
    assert (en["response"], en["material"], en["price"]) == ("utter_product_info", "brushed brass", "€89.90")
    assert slots == {"product": "brass reading lamp"}
    [zh], _ = await said_by(ActionProductInfo(), asking("黄铜阅读灯什么材质", "zh"))
    assert (zh["material"], zh["price"]) == ("拉丝黄铜", "699 元")


async def test_the_product_talked_about_before_is_meant_where_none_is_named() -> None:
    [message], _ = await said_by(ActionProductInfo(), asking("and how do I wash it?", talked_about="wool throw"))
    assert message["product"] == "wool throw"


async def test_a_button_names_its_product_by_an_entity() -> None:
    [message], _ = await said_by(ActionProductInfo(), asking("/product_info", "zh", "羊毛盖毯", product="竹编床头灯"))
    assert message["product"] == "竹编床头灯"


async def test_several_are_offered_and_none_is_asked_for() -> None:
    [several], slots = await said_by(ActionProductInfo(), asking("tell me about your lamps"))
    assert several["response"] == "utter_product_which"
    assert [button["title"] for button in several["buttons"]][:2] == ["Brass reading lamp", "Ceramic table lamp"]
    assert several["buttons"][0]["payload"] == '/product_info{"product": "brass reading lamp"}'
    assert slots == {}
    assert (await outcome(ActionProductInfo(), asking("how big is it?")))[0] == ["utter_product_unknown"]


@pytest.mark.parametrize(
    ("text", "language", "response", "filled"),
    [
        ("is the paper lantern in stock", "en", "utter_stock_all", {"colours": "white and red"}),
        ("do you have the ceramic lamp in white", "en", "utter_stock_colour", {"colour": "white"}),
        ("is there a velvet cushion in plum?", "en", "utter_stock_colour_out", {"colours": "ochre and forest"}),
        ("linen duvet cover available?", "en", "utter_stock_some", {"gone": "slate"}),
        ("丝绒靠垫有墨绿色吗", "zh", "utter_stock_colour", {"colour": "墨绿色"}),
        ("黄铜阅读灯还有货吗", "zh", "utter_stock_some", {"colours": "黄铜色", "gone": "黑色"}),
    ],
)
async def test_stock_is_told_by_colour(text: str, language: str, response: str, filled: dict[str, str]) -> None:
    [message], _ = await said_by(ActionCheckStock(), asking(text, language))
    assert message["response"] == response
    assert {name: message[name] for name in filled} == filled


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("which lamp is best for reading in bed", "en", "Brass reading lamp (€89.90): the arm turns"),
        ("冬天窝沙发盖什么毯子好", "zh", "羊毛盖毯（398 元）：一个人盖够暖"),
    ],
)
async def test_advice_says_what_and_why(text: str, language: str, expected: str) -> None:
    [message], _ = await said_by(ActionRecommend(), asking(text, language))
    assert message["response"] == "utter_recommend"
    assert expected in message["picks"]
    assert 2 <= len(message["picks"].splitlines()) == len(message["buttons"]) <= 3


async def test_advice_keeps_to_the_budget() -> None:
    [message], _ = await said_by(ActionRecommend(), asking("a gift under €30", amount="€30"))
    assert message["response"] == "utter_recommend"
    prices = [float(line.split("€")[1].split(")")[0]) for line in message["picks"].splitlines()]
    assert prices
    assert max(prices) <= 30
    assert (await outcome(ActionRecommend(), asking("anything for €1?", amount="€1")))[0] == ["utter_recommend_nothing"]


@pytest.mark.parametrize(
    ("text", "language"), [("what would you suggest?", "en"), ("有什么推荐的吗", "zh"), ("/recommend", "en")]
)
async def test_a_wish_that_names_nothing_is_left_to_personal_suggestions_where_there_are_any(
    text: str, language: str
) -> None:
    def open_wish(**more: Any) -> Tracker:
        slots = {"language": language, "product": "jute rug", "suggestions": more.pop("wish", None)}
        return tracker_with(slots=slots, text=text, form=None, **more)

    assert await outcome(ActionRecommend(), open_wish(key="1-1")) == ([], {"followup": "action_suggest"})
    assert await outcome(ActionRecommend(), open_wish(key="1-1", wish="on")) == ([], {"followup": "action_suggest"})
    # Who wants none, and who is answered by Rasa, gets advice by the question alone.
    assert await outcome(ActionRecommend(), open_wish(key="1-1", wish="off")) == (["utter_recommend"], {})
    assert await outcome(ActionRecommend(), open_wish()) == (["utter_recommend"], {})


@pytest.mark.parametrize(
    "text", ["which lamp is best for reading", "a gift for my mother", "what goes with the jute rug?"]
)
async def test_a_wish_that_names_something_is_answered_by_what_it_names(text: str) -> None:
    slots = {"language": "en", "product": None}
    responses, slots = await outcome(ActionRecommend(), tracker_with(slots=slots, text=text, form=None, key="1-1"))
    assert responses[0].startswith("utter_recommend")
    assert slots == {}


async def test_what_goes_with_a_thing_is_another_kind_of_thing() -> None:
    [message], _ = await said_by(ActionRecommend(), asking("what goes with the linen duvet cover?"))
    assert (message["response"], message["product"]) == ("utter_recommend_beside", "linen duvet cover")
    assert "duvet" not in message["picks"]
    [later], _ = await said_by(ActionRecommend(), asking("and what goes with it?", talked_about="jute rug"))
    assert later["product"] == "jute rug"


# Manners


@pytest.mark.parametrize(
    ("action", "form", "said"),
    [
        (ActionAffirm, None, "utter_affirm"),
        (ActionAffirm, "return_form", "utter_continue"),
        (ActionAffirm, "complaint_form", "utter_handoff_nearly"),
        (ActionDeny, None, "utter_deny"),
        (ActionDeny, "order_status_form", "utter_order_help"),
        (ActionDeny, "complaint_form", "utter_complaint_needs_contact"),
        (ActionApologise, None, "utter_complaint"),
        (ActionApologise, "cancel_order_form", "utter_complaint_in_form"),
        (ActionApologise, "handoff_form", "utter_complaint_in_handoff"),
        (ActionGreet, "return_form", "utter_hello_again"),
    ],
)
async def test_words_fit_the_form(action: Any, form: str | None, said: str) -> None:
    assert await outcome(action(), tracker_with(form=form)) == ([said], {})


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_greeting_is_one_of_the_seasons(language: str) -> None:
    [said], _ = await outcome(ActionGreet(), tracker_with(slots={"language": language}, form=None))
    assert said.removeprefix("utter_greet_") in {*FEASTS, *TIMES_OF_DAY}


@pytest.mark.parametrize(
    ("loops", "said"),
    [
        ([], "utter_nothing_to_cancel"),
        ([None], "utter_nothing_to_cancel"),
        (["return_form", None], "utter_cancelled"),
        (["return_form", None, "handoff_form", None], "utter_handoff_declined"),
        (["return_form", None, None], "utter_nothing_to_cancel"),
    ],
)
async def test_stopping_says_what_was_stopped(loops: list[str | None], said: str) -> None:
    before = [{"event": "active_loop", "name": name} for name in loops]
    words, slots = await outcome(ActionStop(), tracker_with(before=before, form=None))
    assert words == [said]
    assert slots["return_reason"] is None


def felt(*moods: str, offered_after: int | None = None, **tracker: Any) -> Tracker:
    events: list[dict[str, Any]] = []
    for number, mood in enumerate(moods):
        events.append({"event": "user", "parse_data": {"sentiment": {"name": mood, "confidence": 0.9}}})
        if number == offered_after:
            events.append({"event": "bot", "metadata": {"utter_action": "utter_offer_person"}})
    made = tracker_with(**{"form": None, **tracker})
    made.events = events
    return made


STRAINED = {"mood": "strained"}


@pytest.mark.parametrize(
    ("moods", "is_strained"),
    [
        (("negative",), False),
        (("negative", "negative"), True),
        (("negative", "neutral", "negative"), True),
        (("negative", "neutral", "neutral", "negative"), False),
        (("negative", "negative", "positive"), False),
        ((), False),
    ],
)
async def test_two_bad_messages_of_three_bring_an_offer(moods: tuple[str, ...], is_strained: bool) -> None:
    offered = (["utter_offer_person"], STRAINED)
    assert await outcome(ActionReadMood(), felt(*moods)) == (offered if is_strained else ([], {}))


async def test_an_offer_is_not_repeated_at_once() -> None:
    bad = ["negative"] * 4
    assert await outcome(ActionReadMood(), felt(*bad, offered_after=1)) == ([], STRAINED)
    assert await outcome(ActionReadMood(), felt(*bad * 2, offered_after=1)) == (["utter_offer_person"], STRAINED)


@pytest.mark.parametrize("where", [{"form": "handoff_form"}, {"form": "complaint_form"}, {"intent": "complaint"}])
async def test_nobody_is_offered_a_person_who_gets_one_anyway(where: dict[str, Any]) -> None:
    assert await outcome(ActionReadMood(), felt("negative", "negative", **where)) == ([], STRAINED)


async def test_the_mood_lightens() -> None:
    assert await outcome(ActionReadMood(), felt("negative", "positive", slots=STRAINED)) == ([], {"mood": None})


async def test_where_nobody_reads_sentiment_nothing_is_offered() -> None:
    tracker = tracker_with(before=[{"event": "user", "parse_data": {}}] * 3, form=None)
    assert await outcome(ActionReadMood(), tracker) == ([], {})


# Under Rasa's own action server

ROOT = Path(__file__).parents[2]


def test_rasa_s_action_server_takes_the_same_actions() -> None:
    """In a process of its own: the server registers every action class that its process has ever loaded."""
    code = (
        "from rasa_sdk.executor import ActionExecutor; executor = ActionExecutor(); "
        "executor.register_package('bot.starter.actions'); print(*executor.actions)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(ran.stdout.split()) & set(DOMAIN["actions"]) == set(DOMAIN["actions"]) - {"action_handoff"}
