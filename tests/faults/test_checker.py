"""The checker finds each kind of fault, and finds none where there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.checker import (
    Acked,
    Conversation,
    Event,
    Received,
    Resynced,
    Sent,
    Talk,
    Told,
    check,
    check_talks,
)

PARTS = (1, 2, 1)  # how many bot messages answer the first, the second, the third message


def clean(parts: tuple[int, ...] = PARTS) -> Conversation:
    """A conversation as it should be: each message sent, acknowledged, echoed and answered, one after the other."""
    events: list[Event] = []
    answers: dict[int, str] = {}
    seq = 0
    for number, count in enumerate(parts, start=1):
        name = f"m{number}"
        seq += 1
        events += [
            Sent(message_id=name),
            Acked(message_id=name, seq=seq),
            Received(seq=seq, author="customer", body=f"question {number}", message_id=name),
        ]
        for part in range(count):
            seq += 1
            answers[seq] = name
            events.append(Received(seq=seq, author="bot", body=f"answer {number}.{part}"))
    turns = {f"m{number}": 1 for number in range(1, len(parts) + 1)}
    return Conversation(client="c1", events=events, answers=answers, turns=turns, last_seq=seq)


def kinds(talk: Conversation) -> set[str]:
    return {fault.kind for fault in check([talk]).faults}


def without(talk: Conversation, unwanted: Callable[[Event], bool]) -> Conversation:
    return replace(talk, events=[event for event in talk.events if not unwanted(event)])


def is_entry(event: Event, seq: int) -> bool:
    return isinstance(event, Received) and event.seq == seq


@given(st.lists(st.integers(min_value=1, max_value=4), max_size=12).map(tuple))
def test_clean_conversation_has_no_fault(parts: tuple[int, ...]) -> None:
    verdict = check([clean(parts)])
    assert verdict.faults == ()
    assert (verdict.sent, verdict.acked, verdict.answered) == (len(parts), len(parts), len(parts))
    assert verdict.received == len(parts) + sum(parts)


def test_acknowledged_message_without_answer_is_lost() -> None:
    talk = clean()
    silent = without(talk, lambda event: is_entry(event, 2))  # the answer to m1
    assert "lost" in kinds(silent)


def test_acknowledged_message_that_left_the_transcript_is_lost() -> None:
    talk = clean()
    other = Received(seq=3, author="customer", body="question 2", message_id="m9")
    events = [other if is_entry(event, 3) else event for event in talk.events]
    assert "lost" in kinds(replace(talk, events=events))


def test_message_never_acknowledged_is_not_lost() -> None:
    talk = clean()
    assert kinds(replace(talk, events=[*talk.events, Sent(message_id="m4")])) == set()


def test_two_turns_for_one_message_are_found_even_where_the_client_saw_one() -> None:
    talk = clean()
    assert kinds(replace(talk, turns={**talk.turns, "m2": 2})) == {"twice"}


def test_second_answer_later_in_the_conversation_is_found() -> None:
    talk = clean()
    late = Received(seq=8, author="bot", body="answer 1.0, again")
    again = replace(talk, events=[*talk.events, late], answers={**talk.answers, 8: "m1"}, last_seq=8)
    assert kinds(again) == {"twice", "order"}


def test_same_words_twice_in_one_answer_are_found() -> None:
    talk = clean()
    same = Received(seq=5, author="bot", body="answer 2.0")
    events = [same if is_entry(event, 5) else event for event in talk.events]
    assert kinds(replace(talk, events=events)) == {"twice"}


def test_message_stored_at_two_places_is_found() -> None:
    talk = clean()
    assert kinds(replace(talk, events=[*talk.events, Acked(message_id="m1", seq=6)])) == {"twice"}


def test_answers_in_another_order_than_the_messages_are_found() -> None:
    swapped = Conversation(
        client="c1",
        events=[
            Sent(message_id="m1"),
            Sent(message_id="m2"),
            Acked(message_id="m1", seq=1),
            Acked(message_id="m2", seq=2),
            Received(seq=1, author="customer", body="question 1", message_id="m1"),
            Received(seq=2, author="customer", body="question 2", message_id="m2"),
            Received(seq=3, author="bot", body="answer 2"),
            Received(seq=4, author="bot", body="answer 1"),
        ],
        answers={3: "m2", 4: "m1"},
        turns={"m1": 1, "m2": 1},
        last_seq=4,
    )
    assert kinds(swapped) == {"order"}
    assert kinds(replace(swapped, answers={3: "m1", 4: "m2"})) == set()


def test_messages_accepted_in_another_order_than_sent_are_found() -> None:
    talk = clean((1, 1))
    sent_the_other_way = [Sent(message_id="m2"), *(event for event in talk.events if event != Sent(message_id="m2"))]
    assert kinds(replace(talk, events=sent_the_other_way)) == {"order"}


@pytest.mark.parametrize("seq", [1, 2, 4, 7])
def test_entry_that_never_arrived_is_a_gap(seq: int) -> None:
    assert "gap" in kinds(without(clean(), lambda event: is_entry(event, seq)))


@pytest.mark.parametrize("seq", [1, 4, 7])
def test_entry_that_arrived_twice_is_a_gap(seq: int) -> None:
    talk = clean()
    events: list[Event] = []
    for event in talk.events:
        events += [event, event] if is_entry(event, seq) else [event]
    assert kinds(replace(talk, events=events)) == {"gap"}


def test_entries_in_the_wrong_order_are_a_gap() -> None:
    talk = clean()
    first, second = (next(event for event in talk.events if is_entry(event, seq)) for seq in (4, 5))
    events = [
        {4: second, 5: first}.get(event.seq, event) if isinstance(event, Received) else event for event in talk.events
    ]
    assert kinds(replace(talk, events=events)) == {"gap"}


def test_explicit_resync_is_no_gap() -> None:
    talk = clean()
    cut = next(place for place, event in enumerate(talk.events) if is_entry(event, 3))
    replayed = [*talk.events[:cut], Resynced(next_seq=1), *(e for e in talk.events if isinstance(e, Received))]
    replayed += [event for event in talk.events[cut:] if not isinstance(event, Received)]
    verdict = check([replace(talk, events=replayed)])
    assert (verdict.faults, verdict.resyncs) == ((), 1)


def test_entry_that_reads_differently_when_opened_anew_is_a_gap() -> None:
    talk = clean()
    seen = [event for event in talk.events if isinstance(event, Received)]
    assert kinds(replace(talk, reread=seen)) == set()
    assert kinds(replace(talk, reread=seen[:-1])) == {"gap"}
    assert kinds(replace(talk, reread=[replace(seen[0], body="something else"), *seen[1:]])) == {"gap"}


def test_answer_to_nothing_is_invented() -> None:
    talk = clean()
    stray = Received(seq=8, author="bot", body="hello?")
    assert kinds(replace(talk, events=[*talk.events, stray], last_seq=8)) == {"invented"}


def test_another_customers_message_is_invented() -> None:
    talk = clean()
    strangers = Received(seq=8, author="customer", body="my order?", message_id="x1")
    assert kinds(replace(talk, events=[*talk.events, strangers], last_seq=8)) == {"invented"}


@given(parts=st.lists(st.integers(1, 3), min_size=1, max_size=8).map(tuple), data=st.data())
def test_no_entry_can_vanish_from_any_conversation_unnoticed(parts: tuple[int, ...], data: st.DataObject) -> None:
    talk = clean(parts)
    seq = data.draw(st.integers(1, talk.last_seq))
    assert kinds(without(talk, lambda event: is_entry(event, seq))) >= {"gap"}


# ---- platforms that push ----

THREE = (
    Told(message_id="a", sent_at=0.0, acked_at=1.0),
    Told(message_id="b", sent_at=2.0, acked_at=3.0),
    Told(message_id="c", sent_at=2.5, acked_at=2.6),  # under way together with b
)


@pytest.mark.parametrize(
    ("heard", "unknown", "expected"),
    [
        ("abc", "", []),
        ("acb", "", []),
        ("ab", "", ["lost"]),
        ("ab", "c", []),
        ("abbc", "", ["twice"]),
        ("bac", "", ["order"]),
        ("cba", "", ["order", "order"]),
        ("bac", "a", []),
        ("bca", "a", []),
        ("abcd", "", ["invented"]),
        ("", "", ["lost", "lost", "lost"]),
    ],
)
def test_each_fault_of_a_platform_that_pushes_is_found(heard: str, unknown: str, expected: list[str]) -> None:
    verdict = check_talks([Talk(client="c", told=THREE, heard=list(heard), unknown=frozenset(unknown))])
    assert [fault.kind for fault in verdict.faults] == expected
    assert (verdict.sent, verdict.acked, verdict.received) == (3, 3, len(heard))
    assert verdict.answered == len(set(heard) & set("abc"))


def test_a_message_that_was_never_acknowledged_may_be_answered_or_not() -> None:
    told = [Told(message_id="a", sent_at=0.0), Told(message_id="b", sent_at=1.0, acked_at=2.0)]
    for heard in (["b"], ["a", "b"], ["b", "a"]):
        assert check_talks([Talk(client="c", told=told, heard=heard)]).is_clean
    assert not check_talks([Talk(client="c", told=told, heard=["a", "b", "a"])]).is_clean
