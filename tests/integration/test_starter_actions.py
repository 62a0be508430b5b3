"""The starter's forms about an order, run through rasa-sdk's own dispatcher and tracker: the two facts, the limit of
tries, a signed identity, the answer, and reading what was typed.

What the dialogue core makes of their events is tested elsewhere; here it is what they say and which slots they set.
"""

import csv
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import regex
from rasa_sdk.executor import CollectingDispatcher

from bot.starter.actions import orders
from bot.starter.actions.addresses import ValidateChangeAddressForm
from bot.starter.actions.manners import (
    ActionForgetDetails,
)
from bot.starter.actions.order_status import (
    ActionShowOrderStatus,
    ValidateCancelOrderForm,
    ValidateOrderStatusForm,
)
from bot.starter.actions.orders import find_order, read_contact, read_order_number
from bot.starter.actions.people import ValidateHandoffForm
from bot.starter.actions.returns import ValidateReturnForm
from bot.starter.actions.tries import LIMIT, WINDOW_S, FailedLookups
from tests.starter_actions import ANNA, DOMAIN, outcome, tracker_with

STARTER = Path(__file__).parents[2] / "bot/starter"
PAIR = ("order_number", "order_contact")
NOT_FOUND = ["utter_order_not_found"]


@pytest.fixture(autouse=True)
def kefu_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEFU_HOME", str(tmp_path))
    return tmp_path


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
    candidates = {"order_number": "B-12", "return_reason": "too bright for room B-12"}
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
    delivered = find_order("A-1002", "tom.baker@example.org")
    assert delivered is not None
    assert delivered.facts("en", date(2026, 11, 25))["day"] == "Saturday, 21 November"
    coming = find_order("A-1003", "wang.fang@example.com")
    assert coming is not None
    assert coming.facts("zh", date(2026, 11, 28))["day"] == "11月30日（周一）"


def test_a_cancelled_order_has_the_day_on_which_that_happened_a_sunday_too() -> None:
    order = find_order("A-1008", "jonas.keller@example.org")
    assert order is not None
    assert order.facts("en", date(2026, 11, 24)) == {
        "order_number": "A-1008",
        "items": "a ceramic table lamp",
        "carrier": "Swiss Post",
        "day": "Monday, 23 November",
        "total": "€112.00",
    }
    assert order.facts("en", date(2026, 11, 23))["day"] == "Sunday, 22 November"


async def test_forgetting_empties_what_the_forms_asked_for_and_what_else_was_wished_for() -> None:
    said, slots = await outcome(ActionForgetDetails(), tracker_with())
    asked_for = {slot for form in DOMAIN["forms"].values() for slot in form["required_slots"]}
    assert (said, slots) == ([], dict.fromkeys(asked_for | {"other_wishes"}))


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
