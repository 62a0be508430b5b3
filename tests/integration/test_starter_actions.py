"""The starter's custom actions, run through rasa-sdk's own dispatcher and tracker.

What the dialogue core makes of their events is tested elsewhere; here it is what they say and which slots they set.
"""

import csv
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import regex
from rasa_sdk import Tracker
from rasa_sdk.executor import CollectingDispatcher
from ruamel.yaml import YAML

from bot.starter.actions import orders
from bot.starter.actions.addresses import ActionChangeAddress, ValidateChangeAddressForm, read_address
from bot.starter.actions.advice import ActionCheckStock, ActionProductInfo, ActionRecommend
from bot.starter.actions.cases import KEPT_S, Case
from bot.starter.actions.manners import (
    ActionAffirm,
    ActionApologise,
    ActionDeny,
    ActionForgetDetails,
    ActionGreet,
    ActionReadMood,
    ActionStop,
)
from bot.starter.actions.order_forms import cases
from bot.starter.actions.order_status import (
    ActionAskCancelConfirmed,
    ActionCancelOrder,
    ActionShowOrderStatus,
    ValidateCancelOrderForm,
    ValidateOrderStatusForm,
)
from bot.starter.actions.orders import find_order, read_contact, read_order_number
from bot.starter.actions.people import ActionFileComplaint, ValidateComplaintForm, ValidateHandoffForm
from bot.starter.actions.returns import ActionAskReturnProduct, ActionRegisterReturn, ValidateReturnForm
from bot.starter.actions.seasons import FEASTS, TIMES_OF_DAY
from bot.starter.actions.tries import LIMIT, WINDOW_S, FailedLookups

STARTER = Path(__file__).parents[2] / "bot/starter"
DOMAIN: dict[str, Any] = YAML(typ="safe").load((STARTER / "domain/domain.yml").read_text(encoding="utf-8"))
PAIR = ("order_number", "order_contact")
ANNA = "anna.weber@example.com"
NOT_FOUND = ["utter_order_not_found"]


@pytest.fixture(autouse=True)
def kefu_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEFU_HOME", str(tmp_path))
    return tmp_path


def tracker_with(
    *,
    slots: dict[str, Any] | None = None,
    candidates: dict[str, Any] | None = None,
    sender_id: str = "customer",
    message_id: str | None = "",
    identity: dict[str, Any] | None = None,
    text: str = "",
    intent: str | None = None,
    entities: Sequence[dict[str, Any]] = (),
    before: Sequence[dict[str, Any]] = (),
    form: str | None = "order_status_form",
) -> Tracker:
    """A tracker as a form sends it: the slots just extracted stand at the end of the events, `before` at the start."""
    message_id = uuid.uuid4().hex if message_id == "" else message_id
    metadata = {"identity": identity} if identity else {}
    extracted = [{"event": "slot", "name": name, "value": value} for name, value in (candidates or {}).items()]
    return Tracker(
        sender_id=sender_id,
        slots={"language": None, "order_number": None, "order_contact": None, **(slots or {}), **(candidates or {})},
        latest_message={
            "message_id": message_id,
            "text": text,
            "intent": {"name": intent},
            "entities": list(entities),
            "metadata": metadata,
        },
        events=[*before, {"event": "user"}, {"event": "action", "name": form}, *extracted],
        paused=False,
        followup_action=None,
        active_loop={"name": form} if form else {},
        latest_action_name="action_listen",
    )


async def outcome(action: Any, tracker: Tracker) -> tuple[list[str], dict[str, Any]]:
    """Run an action; give the responses it asked for and the last value of each slot it set."""
    messages, slots = await said_by(action, tracker)
    return [message["response"] for message in messages], slots


async def said_by(action: Any, tracker: Tracker) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run an action; give its messages with what they fill in, and the last value of each slot it set."""
    dispatcher = CollectingDispatcher()
    events = await action.run(dispatcher, tracker, DOMAIN)
    slots = {event["name"]: event["value"] for event in events if event["event"] == "slot"}
    if any(event["event"] == "followup" for event in events):
        slots["followup"] = next(event["name"] for event in events if event["event"] == "followup")
    return list(dispatcher.messages), slots


async def look_up(number: str, contact: str, **tracker: Any) -> tuple[list[str], dict[str, Any]]:
    candidates = {"order_number": number, "order_contact": contact}
    return await outcome(ValidateOrderStatusForm(), tracker_with(candidates=candidates, **tracker))


def is_locked(slots: dict[str, Any]) -> bool:
    return "requested_slot" in slots and slots["requested_slot"] is None and slots["order_number"] is None


async def fail_times(times: int, *, number: str = "Z-{}", **tracker: Any) -> list[dict[str, Any]]:
    return [(await look_up(number.format(n), "guess@example.com", **tracker))[1] for n in range(times)]


# The pair


async def test_right_number_and_right_contact_are_kept() -> None:
    said, slots = await look_up("a1001", ANNA.upper())
    assert (said, slots) == ([], {"order_number": "A-1001", "order_contact": ANNA})


@pytest.mark.parametrize(
    ("number", "contact"),
    [
        pytest.param("A-9999", ANNA, id="unknown number"),
        pytest.param("A-1001", "somebody@example.com", id="wrong e-mail address"),
        pytest.param("A-1001", "+49 30 2312 5418", id="wrong phone number"),
        pytest.param("A-1002", ANNA, id="another customer's order"),
    ],
)
async def test_wrong_number_and_wrong_contact_get_the_very_same_answer(number: str, contact: str) -> None:
    dispatcher = CollectingDispatcher()
    tracker = tracker_with(candidates={"order_number": number, "order_contact": contact})
    events = await ValidateOrderStatusForm().run(dispatcher, tracker, DOMAIN)
    reference = CollectingDispatcher()
    other = tracker_with(candidates={"order_number": "Q-1", "order_contact": "q@example.com"}, sender_id="other")
    reference_events = await ValidateOrderStatusForm().run(reference, other, DOMAIN)

    assert dispatcher.messages == reference.messages
    assert [message["response"] for message in dispatcher.messages] == NOT_FOUND
    final = {event["name"]: event["value"] for event in events}
    assert final == {event["name"]: event["value"] for event in reference_events}
    assert final == {"order_number": None, "order_contact": None, "lookup_tries": 1.0}


async def test_a_number_alone_is_checked_for_its_shape_only() -> None:
    known = await outcome(ValidateOrderStatusForm(), tracker_with(candidates={"order_number": "A-1001"}))
    unknown = await outcome(ValidateOrderStatusForm(), tracker_with(candidates={"order_number": "A-9999"}))
    assert known == ([], {"order_number": "A-1001"})
    assert unknown == ([], {"order_number": "A-9999"})


async def test_contact_given_before_the_number_is_checked_once_the_number_is_there() -> None:
    said, slots = await outcome(
        ValidateOrderStatusForm(),
        tracker_with(slots={"order_contact": "guess@example.com"}, candidates={"order_number": "A-1001"}),
    )
    assert said == NOT_FOUND
    assert slots["order_contact"] is None


async def test_a_turn_that_brings_nothing_is_no_try() -> None:
    slots = {"order_number": "A-1001", "order_contact": "guess@example.com"}
    assert await outcome(ValidateOrderStatusForm(), tracker_with(slots=slots)) == ([], {})


@pytest.mark.parametrize(
    ("slot", "value", "said"),
    [
        ("order_number", "the one with the lamp", ["utter_order_number_invalid"]),
        ("order_number", ANNA, []),
        ("order_contact", "my wife's", ["utter_order_contact_invalid"]),
        ("order_contact", "sorry, it is A-1005", []),
    ],
)
async def test_what_has_the_wrong_shape_is_asked_again(slot: str, value: str, said: list[str]) -> None:
    assert await outcome(ValidateOrderStatusForm(), tracker_with(candidates={slot: value})) == (said, {slot: None})


# Five tries


async def test_fifth_wrong_try_of_a_conversation_ends_the_form() -> None:
    *first_four, fifth = await fail_times(5)
    assert [slots["lookup_tries"] for slots in first_four] == [1.0, 2.0, 3.0, 4.0]
    assert not any(is_locked(slots) for slots in first_four)
    assert is_locked(fifth)
    assert fifth["lookup_tries"] == 5.0


async def test_after_five_tries_even_the_right_pair_is_refused_in_this_conversation_only() -> None:
    await fail_times(5)
    assert is_locked((await look_up("A-1001", ANNA))[1])
    assert not is_locked((await look_up("A-1001", ANNA, sender_id="another"))[1])


@pytest.mark.parametrize("number", ["A-1001", "A-9999"])
async def test_tries_add_up_per_order_number_across_conversations(number: str) -> None:
    ends = [(await look_up(number, "guess@example.com", sender_id=f"guesser-{n}"))[1] for n in range(5)]
    assert [is_locked(slots) for slots in ends] == [False, False, False, False, True]
    assert is_locked((await look_up(number, ANNA, sender_id="newcomer"))[1])
    assert not is_locked((await look_up("A-1042", "sofia.lindqvist@example.com", sender_id="newcomer"))[1])


async def test_locked_number_is_refused_before_the_contact_is_asked() -> None:
    await fail_times(5, number="A-1001")
    said, slots = await outcome(ValidateOrderStatusForm(), tracker_with(candidates={"order_number": "A-1001"}))
    assert said == []
    assert is_locked(slots)


async def test_a_turn_run_again_is_counted_once_and_answered_alike() -> None:
    await fail_times(3)
    first = await look_up("A-1001", "guess@example.com", message_id="m-4")
    again = await look_up("A-1001", "guess@example.com", message_id="m-4")
    assert first == again
    assert first[1]["lookup_tries"] == 4.0

    fifth = await look_up("A-1001", "guess@example.com", message_id="m-5")
    assert is_locked(fifth[1])
    assert fifth == await look_up("A-1001", "guess@example.com", message_id="m-5")


async def test_without_message_ids_the_turn_is_known_by_its_place() -> None:
    first = await look_up("A-1001", "guess@example.com", message_id=None)
    assert first == await look_up("A-1001", "guess@example.com", message_id=None)


async def test_a_right_pair_costs_no_try() -> None:
    for _ in range(6):
        assert not is_locked((await look_up("A-1001", ANNA))[1])
    assert not is_locked((await fail_times(4))[-1])


async def test_a_newcomer_at_a_locked_number_has_spent_no_try_of_their_own() -> None:
    await fail_times(5, number="A-1001", sender_id="guesser")
    _, slots = await look_up("A-1001", ANNA, sender_id="newcomer")
    assert is_locked(slots)
    assert slots["lookup_tries"] == 0.0


def test_guesses_made_at_the_same_moment_do_not_slip_through(kefu_home: Path) -> None:
    failed = FailedLookups(kefu_home / "tries.sqlite3")
    with ThreadPoolExecutor(max_workers=8) as guessers:
        claims = list(guessers.map(lambda n: failed.claim(f"turn-{n}", f"guesser-{n}", "A-1001"), range(24)))
    assert sum(not claim.are_exceeded for claim in claims) == LIMIT


def test_tries_older_than_a_day_no_longer_count(kefu_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = FailedLookups(kefu_home / "tries.sqlite3")
    for n in range(LIMIT):
        failed.claim(f"turn-{n}", "customer", "A-1001")
    assert failed.count("customer", "A-1001").are_used_up
    a_day_later = time.time() + WINDOW_S + 1
    monkeypatch.setattr(time, "time", lambda: a_day_later)
    assert failed.count("customer", "A-1001").of_sender == 0


# A signed identity


async def test_verified_identity_replaces_the_second_fact() -> None:
    identity = {"email": ANNA, "verified": True}
    said, slots = await outcome(
        ValidateOrderStatusForm(), tracker_with(candidates={"order_number": "A-1001"}, identity=identity)
    )
    assert (said, slots) == ([], {"order_number": "A-1001", "order_contact": ANNA})


async def test_verified_phone_will_do_and_is_not_stopped_by_the_limit() -> None:
    await fail_times(5, number="A-1003")
    identity = {"phone": "+86 138 0000 0136", "verified": True}
    _, slots = await outcome(
        ValidateOrderStatusForm(), tracker_with(candidates={"order_number": "A-1003"}, identity=identity)
    )
    assert slots["order_contact"] == "+8613800000136"


@pytest.mark.parametrize(
    "identity",
    [
        {"email": ANNA},
        {"email": ANNA, "verified": False},
        {"email": ANNA, "verified": "true"},
        {"email": ANNA, "verified": 1},
        {"email": "tom.baker@example.org", "verified": True},
        {"email": None, "phone": "", "verified": True},
    ],
)
async def test_any_other_identity_is_asked_for_the_second_fact(identity: dict[str, Any]) -> None:
    said, slots = await outcome(
        ValidateOrderStatusForm(), tracker_with(candidates={"order_number": "A-1001"}, identity=identity)
    )
    assert (said, slots) == ([], {"order_number": "A-1001"})


# The same check in every form


FORMS = [ValidateOrderStatusForm, ValidateCancelOrderForm, ValidateReturnForm, ValidateChangeAddressForm]


async def test_guesses_are_counted_over_all_forms() -> None:
    for n in range(5):
        form = FORMS[n % len(FORMS)]()
        candidates = {"order_number": f"Z-{n}", "order_contact": "guess@example.com"}
        _, slots = await outcome(form, tracker_with(candidates=candidates, form=form.form_name()))
    assert is_locked(slots)


@pytest.mark.parametrize(
    ("form", "number", "contact"),
    [
        (ValidateCancelOrderForm, "A-1006", "m.dubois@example.com"),
        (ValidateReturnForm, "A-1001", ANNA),
        (ValidateReturnForm, "C-311", "ines.moreau@example.org"),
        (ValidateChangeAddressForm, "A-1001", ANNA),
    ],
)
async def test_what_cannot_be_done_is_not_asked_about(form: Any, number: str, contact: str) -> None:
    pair = {"order_number": number, "order_contact": contact}
    _, slots = await outcome(form(), tracker_with(candidates=pair, form=form().form_name()))
    assert slots == {**pair, "requested_slot": None}


@pytest.mark.parametrize(
    ("form", "number", "contact"),
    [
        (ValidateCancelOrderForm, "C-310", "zhou.min@example.com"),
        (ValidateReturnForm, "AB-204", "marta.rossi@example.org"),
        (ValidateChangeAddressForm, "D-19", "sun.qian@example.com"),
    ],
)
async def test_what_can_be_done_goes_on(form: Any, number: str, contact: str) -> None:
    pair = {"order_number": number, "order_contact": contact}
    _, slots = await outcome(form(), tracker_with(candidates=pair, form=form().form_name()))
    assert slots == pair


async def test_an_answer_changes_nothing_that_was_settled_before() -> None:
    """ "Too bright for room B-12" must not look up another order, nor return another item."""
    before = [{"event": "slot", "name": "order_number", "value": "A-1002"}]
    slots = {"order_contact": "tom.baker@example.org", "requested_slot": "return_reason"}
    candidates = {"return_reason": "too bright for room B-12", "order_number": "B-12"}
    tracker = tracker_with(slots=slots, candidates=candidates, before=before, form="return_form")
    said, after = await outcome(ValidateReturnForm(), tracker)
    assert said == []
    assert after == {"return_reason": "too bright for room B-12", "order_number": "A-1002"}


# The answer


@pytest.mark.parametrize(
    ("language", "carrier", "items"),
    [
        ("en", "SF Express", "a paper lantern and a walnut lamp base"),
        ("zh", "顺丰速运", "宣纸灯笼一只、胡桃木灯座一个"),
    ],
)
async def test_status_is_told_in_the_customers_language_and_the_details_are_forgotten(
    language: str, carrier: str, items: str
) -> None:
    dispatcher = CollectingDispatcher()
    slots = {"order_number": "A-1003", "order_contact": "+8613800000136", "language": language}
    events = await ActionShowOrderStatus().run(dispatcher, tracker_with(slots=slots), DOMAIN)
    [message] = dispatcher.messages
    assert message["response"] == "utter_order_shipped"
    assert (message["carrier"], message["items"], message["order_number"]) == (carrier, items, "A-1003")
    after = {e["name"]: e["value"] for e in events}
    assert after["order_lookup"] == "found"
    assert {after[slot] for slot in PAIR} == {None}


@pytest.mark.parametrize("contact", [None, "guess@example.com"])
async def test_status_is_not_told_without_the_right_contact(contact: str | None) -> None:
    slots = {"order_number": "A-1001", "order_contact": contact}
    said, after = await outcome(ActionShowOrderStatus(), tracker_with(slots=slots))
    assert said == []
    assert (after["order_lookup"], after["followup"]) == ("locked", "utter_order_locked")


def test_every_demo_order_can_be_told_in_both_languages() -> None:
    answers = (STARTER / "domain/order.yml").read_text(encoding="utf-8")
    with orders.ORDERS_FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["status"] for row in rows} == {
        "placed",
        "packed",
        "shipped",
        "delivered",
        "delayed",
        "returned",
        "cancelled",
    }
    for row in rows:
        assert f"  utter_order_{row['status']}:\n" in answers
        assert read_contact(row["email"]) == row["email"]
        by_email, by_phone = (
            find_order(row["order_number"], row["email"]),
            find_order(row["order_number"], row["phone"]),
        )
        assert by_email is not None
        assert by_email == by_phone
        for language in ("en", "zh"):
            assert all(by_email.facts(language, date(2026, 11, 24)).values())


def test_nothing_is_delivered_on_a_sunday() -> None:
    order = find_order("A-1008", "jonas.keller@example.org")
    assert order is not None
    assert order.facts("en", date(2026, 11, 24)) == {
        "order_number": "A-1008",
        "items": "a ceramic table lamp",
        "carrier": "Swiss Post",
        "day": "Monday, 23 November",
        "total": "€112.00",
    }
    assert order.facts("en", date(2026, 11, 23))["day"] == "Saturday, 21 November"
    coming = find_order("A-1003", "wang.fang@example.com")
    assert coming is not None
    assert coming.facts("zh", date(2026, 11, 28))["day"] == "11月30日（周一）"


async def test_forgetting_empties_what_the_forms_asked_for() -> None:
    said, slots = await outcome(ActionForgetDetails(), tracker_with())
    asked_for = {slot for form in DOMAIN["forms"].values() for slot in form["required_slots"]}
    assert (said, slots) == ([], dict.fromkeys(asked_for))


# The contact for a person


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Anna.Weber@Example.com", ANNA),
        ("打我手机13800000136就行", "13800000136"),
        ("0049 (0)30 2312-5417", "+493023125417"),
    ],
)
async def test_a_reachable_contact_is_kept(typed: str, kept: str) -> None:
    said, slots = await outcome(ValidateHandoffForm(), tracker_with(candidates={"handoff_contact": typed}))
    assert (said, slots) == ([], {"handoff_contact": kept})


@pytest.mark.parametrize("typed", ["wx: lamp_lover", "anna@example", "12345", "2026-11-23", "A-1042"])
async def test_a_contact_nobody_can_be_reached_on_is_asked_again(typed: str) -> None:
    said, slots = await outcome(ValidateHandoffForm(), tracker_with(candidates={"handoff_contact": typed}))
    assert (said, slots) == (["utter_handoff_contact_invalid"], {"handoff_contact": None})


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
    assert registered == Case(messages[0]["return_id"], "return", number, {"product": "it", "reason": "too big"})


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


# Reading what was typed


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("A-1042", "A-1042"),
        ("b77", "B-77"),
        ("a 1042.", "A-1042"),
        ("我的单号是Ａ－１０４２谢谢", "A-1042"),
        ("查一下ab12345好吗", "AB-12345"),
        ("order A-1, please", "A-1"),
        ("b77@example.com", None),
        ("anna.b7@example.com", None),
        ("COVID-19", None),
        ("A-1234567", None),
        ("1042", None),
    ],
)
def test_order_numbers_are_read(text: str, number: str | None) -> None:
    assert read_order_number(text) == number


def test_email_goes_before_phone() -> None:
    assert read_contact("030 2312 5417 or tom@example.org") == "tom@example.org"


@pytest.mark.parametrize(
    ("typed", "matches"),
    [
        ("+49 30 2312 5417", True),
        ("0049 30 23125417", True),
        ("+49 (0)30 2312 5417", True),
        ("030 2312 5417", True),
        ("30 2312-5417", True),
        ("2312 5417", False),
        ("+49 30 2312 5418", False),
        ("+1 49 30 2312 5417", False),
    ],
)
def test_phone_numbers_match_with_and_without_country_code(typed: str, matches: bool) -> None:
    contact = read_contact(typed)
    assert contact is not None
    assert (find_order("A-1001", contact) is not None) is matches


HOSTILE = ("㎭" * 4000, "a" * 4000, "a@" * 2000, "a." * 2000, "a@" + "b." * 2000, "a@" + "b" * 4000, "1-" * 2000)


@pytest.mark.parametrize("text", [*HOSTILE, " " * 4000, "A" + " -" * 2000, "A-1" + "." * 4000, "((((" * 1000])
def test_no_message_is_slow_to_read(text: str) -> None:
    start = time.process_time()
    read_contact(text)
    read_order_number(text)
    assert time.process_time() - start < 0.02


@pytest.mark.parametrize("text", HOSTILE)
def test_no_message_is_slow_for_the_nlu_patterns(text: str) -> None:
    lines = (STARTER / "data/nlu_en.yml").read_text(encoding="utf-8").splitlines()
    written = [lines[at + 2].removeprefix("    - ") for at, line in enumerate(lines) if line.startswith("- regex:")]
    patterns = [regex.compile(pattern, regex.IGNORECASE) for pattern in written]
    assert len(patterns) == 3
    start = time.process_time()
    for pattern in patterns:
        list(pattern.finditer(text))
    assert time.process_time() - start < 0.2


def test_an_address_within_254_characters_is_read() -> None:
    assert read_contact("x" * 230 + " anna.weber@example.com") == ANNA
    assert read_contact("x" * 255 + " anna.weber@example.com") is None
    assert read_contact("a" * 65 + "@example.com") is None


def test_the_nlu_patterns_are_those_of_the_actions() -> None:
    nlu = (STARTER / "data/nlu_en.yml").read_text(encoding="utf-8")
    for pattern in (orders._ORDER_NUMBER, orders._EMAIL, orders._PHONE):
        written = pattern.pattern.replace(r"\d", "[0-9]").replace("([A-Za-z]{1,2})", "[A-Za-z]{1,2}")
        assert f"- {written.replace('([0-9]{1,6})', '[0-9]{1,6}')}\n" in nlu
