"""The clinic's actions, run as the platform runs them: no message holds others up, and words are read whole."""

from __future__ import annotations

import asyncio

import pytest
from rasa_sdk import Tracker
from rasa_sdk.executor import CollectingDispatcher

from bot.templates.clinic.actions.actions import ActionValidateSlotMappings, ValidateAppointmentForm


def tracker(text: str) -> Tracker:
    message = {"text": text, "entities": [], "intent": {"name": None}}
    return Tracker("patient", {"emergency": None}, message, [], False, None, {}, "action_listen")


async def test_others_are_served_while_a_long_message_is_searched() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    beside = asyncio.create_task(others())
    await asyncio.sleep(0)
    before = turns
    text = ("chest " * 1700)[:10_000] + " I can't breathe"
    events = await ActionValidateSlotMappings().run(CollectingDispatcher(), tracker(text), {})
    beside.cancel()
    assert turns > before + 1
    assert {"emergency": "body"}.items() <= {event["name"]: event["value"] for event in events}.items()


@pytest.mark.parametrize(
    ("text", "department"),
    [
        ("any", "general"),
        ("Any is fine", "general"),
        ("anyone who has time", "general"),
        ("I don’t know", "general"),
        ("我不知道", "general"),
        ("随便any都可以", "general"),
        ("my company doctor", None),
        ("there are too many", None),
        ("Germany", None),
    ],
)
def test_whoever_leaves_the_choice_to_the_desk_says_so_in_whole_words(text: str, department: str | None) -> None:
    accepted = ValidateAppointmentForm().validate_department(text, CollectingDispatcher(), tracker(text), {})
    assert accepted == {"department": department}
