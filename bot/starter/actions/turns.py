"""What the actions ask of a turn: its language, its key, who is signed in, what a slot held before, where files lie."""

import os
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rasa_sdk import Tracker
from rasa_sdk.events import EventType, SlotSet

from .orders import read_contact

SHOP_TIMEZONE = ZoneInfo("Europe/Berlin")

# Everything a form asks for: forgotten as soon as the form is over.
DETAILS = (
    "order_number",
    "order_contact",
    "cancel_confirmed",
    "return_product",
    "return_reason",
    "new_address",
    "complaint_text",
    "complaint_order",
    "handoff_contact",
)
# What a message wanted besides, until it is offered: see wishes.py.
WISHES = ("other_wishes",)


def language_of(tracker: Tracker) -> str:
    """Give "zh" or "en"; English until the language is known."""
    return "zh" if tracker.get_slot("language") == "zh" else "en"


def today() -> date:
    """Give the date at the shop."""
    return datetime.now(SHOP_TIMEZONE).date()


def shop_day(seconds: float) -> date:
    """Give the date at the shop of a moment, in seconds since 1970 (UTC)."""
    return datetime.fromtimestamp(seconds, SHOP_TIMEZONE).date()


def forget(slots: Iterable[str] = DETAILS) -> list[EventType]:
    """Empty these slots."""
    return [SlotSet(slot, None) for slot in slots]


def verified_contacts(tracker: Tracker) -> list[str]:
    """List the contacts of a signed-in customer, from metadata that only the platform may write.

    Rasa's own REST channel passes metadata on as the client sent it: there, take `identity` out before it gets here.
    """
    identity = (tracker.latest_message.get("metadata") or {}).get("identity")
    if not isinstance(identity, dict) or identity.get("verified") is not True:
        return []
    contacts = (read_contact(str(identity.get(key) or "")) for key in ("email", "phone"))
    return [contact for contact in contacts if contact]


def is_on_kefu(tracker: Tracker) -> bool:
    """Say whether Kefu runs this action, with its own actions beside: it gives every call a key, and Rasa does not."""
    return "idempotency_key" in (tracker.latest_message.get("metadata") or {})


def turn_key(tracker: Tracker, action_name: str) -> str:
    """Name this turn the same way each time it is run, or it would be counted twice after a crash."""
    message_id = tracker.latest_message.get("message_id")
    if message_id is None:
        message_id = f"user-message-{sum(event.get('event') == 'user' for event in tracker.events)}"
    return f"{tracker.sender_id}\n{message_id}\n{action_name}"


def value_before(tracker: Tracker, slot: str) -> Any:
    """Give what the slot held before the customer's last message."""
    is_before = False
    for event in reversed(tracker.events):
        kind = event.get("event")
        if kind in ("session_started", "restart", "reset_slots"):
            return None
        if is_before and kind == "slot" and event.get("name") == slot:
            return event.get("value")
        is_before = is_before or kind == "user"
    return None


def file_of(name: str) -> Path:
    """Say where a file of the demo shop lies: in KEFU_HOME, or beside the code where there is none."""
    home = os.environ.get("KEFU_HOME")
    return (Path(home) if home else Path(__file__).parent) / name
