"""What customers of the starter can get done: a complaint, a return, a cancellation, a new address."""

import time
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rasa_sdk import Tracker

from bot.starter.actions.addresses import ActionChangeAddress, read_address
from bot.starter.actions.cases import KEPT_S, Case
from bot.starter.actions.order_forms import cases, order_of
from bot.starter.actions.order_status import (
    ActionAskCancelConfirmed,
    ActionCancelOrder,
    ActionShowOrderStatus,
)
from bot.starter.actions.orders import find_order
from bot.starter.actions.people import ActionFileComplaint, ValidateComplaintForm
from bot.starter.actions.returns import ActionAskReturnProduct, ActionRegisterReturn
from bot.starter.actions.turns import SHOP_TIMEZONE
from tests.starter_actions import ANNA, outcome, said_by, tracker_with


@pytest.fixture(autouse=True)
def kefu_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEFU_HOME", str(tmp_path))
    return tmp_path


# Complaints


def told(text: str, requested: str | None = None, before: str | None = None) -> Tracker:
    earlier = [{"event": "slot", "name": "complaint_text", "value": before}] if before else []
    return tracker_with(
        slots={"requested_slot": requested}, candidates={"complaint_text": text}, before=earlier, form="complaint_form"
    )


@pytest.mark.parametrize("text", ["unacceptable!", "I am so angry", "太差了", "我要投诉"])
async def test_a_mood_alone_is_no_story(text: str) -> None:
    _, slots = await outcome(ValidateComplaintForm(), told(text))
    assert slots == {"complaint_text": None}


@pytest.mark.parametrize("text", ["three weeks and nobody has answered my mails", "等了半个月客服一直不回复我"])
async def test_what_was_told_is_not_asked_again(text: str) -> None:
    _, slots = await outcome(ValidateComplaintForm(), told(text))
    assert slots == {"complaint_text": text}


async def test_an_answer_to_the_question_counts_however_short() -> None:
    assert (await outcome(ValidateComplaintForm(), told("late", "complaint_text")))[1] == {"complaint_text": "late"}


async def test_what_is_added_later_is_added() -> None:
    _, slots = await outcome(ValidateComplaintForm(), told("and rude too", "handoff_contact", "The lamp came late."))
    assert slots == {"complaint_text": "The lamp came late.\nand rude too"}


@pytest.mark.parametrize(
    ("typed", "kept", "said"),
    [
        ("b77", "B-77", []),
        ("none", "-", []),
        ("Skip.", "-", []),
        ("没有", "-", []),
        ("A-9999", "A-9999", []),
        ("the blue one", None, ["utter_order_number_invalid"]),
    ],
)
async def test_the_order_of_a_complaint_may_be_skipped(typed: str, kept: str | None, said: list[str]) -> None:
    tracker = tracker_with(candidates={"complaint_order": typed}, form="complaint_form")
    assert await outcome(ValidateComplaintForm(), tracker) == (said, {"complaint_order": kept})


async def test_a_complaint_becomes_a_ticket_that_the_hand_over_can_name() -> None:
    slots = {"complaint_text": "The lamp came late.", "complaint_order": "A-1002", "handoff_contact": ANNA}
    messages, after = await said_by(ActionFileComplaint(), tracker_with(slots=slots, form=None))
    [message] = messages
    assert (message["response"], message["contact"]) == ("utter_complaint_filed", ANNA)
    assert after["handoff_reason"] == f"complaint {message['ticket']}"
    assert after["complaint_text"] is None
    assert "handoff_contact" not in after
    ticket = cases().latest("ticket", "A-1002")
    assert ticket is not None
    assert (ticket.case_id, ticket.details["what_happened"]) == (message["ticket"], "The lamp came late.")


# Returns, cancellations, addresses


def settled(number: str, contact: str, **slots: Any) -> Tracker:
    pair = {"order_number": number, "order_contact": contact}
    return tracker_with(slots={**pair, **slots}, message_id=slots.pop("message_id", ""), form=None)


@pytest.mark.parametrize(
    ("number", "contact", "response"),
    [
        ("AB-204", "marta.rossi@example.org", "utter_return_registered_eu"),
        ("B-77", "zhao.lei@example.com", "utter_return_registered_cn"),
        ("A-1002", "tom.baker@example.org", "utter_return_registered_other"),
        ("C-311", "ines.moreau@example.org", "utter_return_made_to_measure"),
        ("C-312", "peter.novak@example.com", "utter_return_too_late"),
        ("A-1001", ANNA, "utter_return_not_delivered"),
        ("A-1007", "chen.yu@example.net", "utter_order_returned"),
        ("A-1008", "jonas.keller@example.org", "utter_order_cancelled"),
    ],
)
async def test_a_return_is_registered_or_refused_with_its_reason(number: str, contact: str, response: str) -> None:
    tracker = settled(number, contact, return_product="it", return_reason="too big")
    messages, slots = await said_by(ActionRegisterReturn(), tracker)
    assert [message["response"] for message in messages] == [response]
    assert (slots["order_lookup"], slots["return_reason"]) == ("found", None)
    registered = cases().latest("return", number)
    if "registered" not in response:
        assert registered is None
        return
    assert registered is not None
    told = {"product": "it", "reason": "too big"}
    assert registered == Case(messages[0]["return_id"], "return", number, told, registered.opened_at)


def test_thirty_days_count_from_the_delivery() -> None:
    order = find_order("A-1002", "tom.baker@example.org")
    assert order is not None
    today = date(2026, 11, 24)
    assert replace(order, day_offset=-29).return_refusal(today) is None
    assert replace(order, day_offset=-32).return_refusal(today) == "too_late"


async def test_a_turn_run_again_opens_one_case() -> None:
    tracker = tracker_with(
        slots={"order_number": "AB-204", "order_contact": "marta.rossi@example.org"}, message_id="m-1", form=None
    )
    first, _ = await said_by(ActionRegisterReturn(), tracker)
    again, _ = await said_by(ActionRegisterReturn(), tracker)
    assert first == again
    other, _ = await said_by(ActionRegisterReturn(), settled("AB-204", "marta.rossi@example.org"))
    assert other[0]["return_id"] != first[0]["return_id"]


async def test_cases_older_than_a_month_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    cases().open("turn", "return", "A-1002", {})
    assert cases().latest("return", "A-1002") is not None
    a_month_later = time.time() + KEPT_S + 1
    monkeypatch.setattr(time, "time", lambda: a_month_later)
    assert cases().latest("return", "A-1002") is None


async def test_a_refund_is_told_by_what_has_come_back() -> None:
    wish = {"order_wish": "refund"}
    anna = settled("AB-204", "marta.rossi@example.org", **wish)
    assert (await outcome(ActionShowOrderStatus(), anna))[0] == ["utter_refund_none"]
    cases().open("turn", "return", "AB-204", {})
    assert (await outcome(ActionShowOrderStatus(), anna))[0] == ["utter_refund_waiting"]
    back = settled("A-1007", "chen.yu@example.net", **wish)
    assert (await outcome(ActionShowOrderStatus(), back))[0] == ["utter_order_returned"]


@pytest.mark.parametrize(
    ("number", "contact", "confirmed", "response"),
    [
        ("C-310", "zhou.min@example.com", True, "utter_cancel_done"),
        ("C-310", "zhou.min@example.com", False, "utter_cancel_kept"),
        ("C-310", "zhou.min@example.com", None, "utter_cancel_kept"),
        ("A-1006", "m.dubois@example.com", True, "utter_cancel_too_late"),
        ("A-1001", ANNA, True, "utter_cancel_too_late"),
        ("A-1002", "tom.baker@example.org", True, "utter_cancel_delivered"),
        ("A-1008", "jonas.keller@example.org", True, "utter_order_cancelled"),
    ],
)
async def test_only_what_is_not_packed_is_cancelled(
    number: str, contact: str, confirmed: bool | None, response: str
) -> None:
    said, _ = await outcome(ActionCancelOrder(), settled(number, contact, cancel_confirmed=confirmed))
    assert said == [response]
    assert (cases().latest("cancellation", number) is not None) is (response == "utter_cancel_done")


async def test_a_cancelled_order_is_told_so_from_then_on() -> None:
    await outcome(ActionCancelOrder(), settled("C-310", "zhou.min@example.com", cancel_confirmed=True))
    said, _ = await outcome(ActionShowOrderStatus(), settled("C-310", "zhou.min@example.com"))
    assert said == ["utter_order_cancelled"]


@pytest.mark.parametrize("days_later", [0, 1, 7])
async def test_a_cancellation_keeps_the_day_on_which_it_was_asked_for(
    days_later: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sunday = datetime(2026, 11, 22, 23, 30, tzinfo=SHOP_TIMEZONE)
    monkeypatch.setattr(time, "time", sunday.timestamp)
    await outcome(ActionCancelOrder(), settled("C-310", "zhou.min@example.com", cancel_confirmed=True))
    order = order_of(settled("C-310", "zhou.min@example.com"))
    assert order is not None
    assert order.facts("en", sunday.date() + timedelta(days=days_later))["day"] == "Sunday, 22 November"


@pytest.mark.parametrize(
    ("number", "contact", "response"),
    [
        ("E-15", "ole.berg@example.net", "utter_address_changed"),
        ("A-1006", "m.dubois@example.com", "utter_address_changed"),
        ("A-1001", ANNA, "utter_address_too_late"),
        ("A-1004", "lucia.romero@example.net", "utter_address_too_late"),
        ("A-1002", "tom.baker@example.org", "utter_order_delivered"),
    ],
)
async def test_an_address_changes_until_the_parcel_leaves(number: str, contact: str, response: str) -> None:
    tracker = settled(number, contact, new_address="Storgata 14, Oslo")
    assert (await outcome(ActionChangeAddress(), tracker))[0] == [response]
    changed = cases().latest("address", number)
    assert (changed is not None) is (response == "utter_address_changed")


@pytest.mark.parametrize(
    ("text", "is_address"),
    [
        ("Storgata 14,\n0184 Oslo", True),
        ("Flat 3, 12 High Street, Leeds LS1 4AP", True),
        ("杭州市西湖区文三路90号5幢302室", True),
        ("yes please", False),
        ("12345", False),
        ("anna.weber@example.com", False),
        ("我想改一下", False),
        ("/inform", False),
    ],
)
def test_an_address_has_a_street_and_a_number(text: str, is_address: bool) -> None:
    assert read_address(text) == (" ".join(text.split()) if is_address else None)


@pytest.mark.parametrize(
    ("language", "items"), [("en", "a wool throw and a velvet cushion"), ("zh", "羊毛盖毯一条、丝绒靠垫一只")]
)
async def test_questions_name_what_is_in_the_order(language: str, items: str) -> None:
    for action in (ActionAskReturnProduct(), ActionAskCancelConfirmed()):
        [message], slots = await said_by(action, settled("D-8", "liu.yang@example.net", language=language))
        assert (message["response"], message["items"], slots) == (action.name().replace("action", "utter"), items, {})
        assert await said_by(action, settled("D-8", "guess@example.com", language=language)) == ([], {})
