"""The starter's custom actions: checking what the forms ask for, and telling how an order stands.

What they say is in domain/; the order database is orders.py; who guessed how often is tries.py.
The invariant: whatever a customer tries, the answers never tell whether an order number exists.
Written for rasa-sdk 3.x, so that the same file runs inside Kefu and behind Rasa's action server.
"""

import os
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rasa_sdk import Action, Tracker
from rasa_sdk.events import EventType, SlotSet
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.forms import FormValidationAction
from rasa_sdk.types import DomainDict

from .orders import find_order, read_contact, read_order_number
from .tries import FailedLookups

SHOP_TIMEZONE = ZoneInfo("Europe/Berlin")


class ValidateOrderStatusForm(FormValidationAction):
    """Checks the shape of what was given, then the number and the contact as a pair."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "validate_order_status_form"

    def validate_order_number(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Accept anything shaped like an order number; whether it exists is not said here."""
        number = read_order_number(str(slot_value))
        # Whoever sends the e-mail address first has not made a mistake: the form just asks for the number again.
        if number is None and read_contact(str(slot_value)) is None:
            dispatcher.utter_message(response="utter_order_number_invalid")
        return {"order_number": number}

    def validate_order_contact(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Accept a complete e-mail address or phone number; a corrected order number instead is no mistake."""
        contact = read_contact(str(slot_value))
        if contact is None and read_order_number(str(slot_value)) is None:
            dispatcher.utter_message(response="utter_order_contact_invalid")
        return {"order_contact": contact}

    async def get_validation_events(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> list[EventType]:
        """Validate each slot, then look the pair up if this turn brought either half of it."""
        candidates = tracker.slots_to_validate()
        events: list[EventType] = await super().get_validation_events(dispatcher, tracker, domain)
        if not candidates.keys() & {"order_number", "order_contact"}:
            return events
        return events + self._look_up(dispatcher, tracker)

    def _look_up(self, dispatcher: CollectingDispatcher, tracker: Tracker) -> list[EventType]:
        number, contact = tracker.get_slot("order_number"), tracker.get_slot("order_contact")
        if number is None:
            return []
        # Somebody who is signed in does not guess, so neither the second question nor the limit applies.
        for fact in _verified_contacts(tracker):
            if find_order(number, fact):
                return [SlotSet("order_contact", fact)]

        failed, sender_id = FailedLookups(_tries_file()), tracker.sender_id
        if contact is None:
            tries = failed.count(sender_id, number)
            return _locked(tries.of_sender) if tries.are_used_up else []

        turn = _turn_key(tracker, self.name())
        tries = failed.claim(turn, sender_id, number)
        if tries.are_exceeded:
            failed.release(turn)
            return _locked(tries.of_sender - 1)
        if find_order(number, contact):
            failed.release(turn)
            return []
        if tries.are_used_up:
            return _locked(tries.of_sender)
        dispatcher.utter_message(response="utter_order_not_found")
        return [*_forget("order_number", "order_contact"), SlotSet("lookup_tries", float(tries.of_sender))]


class ValidateHandoffForm(FormValidationAction):
    """Checks that a person could be reached on what the customer left."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "validate_handoff_form"

    def validate_handoff_contact(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Accept a complete e-mail address or phone number."""
        contact = read_contact(str(slot_value))
        if contact is None:
            dispatcher.utter_message(response="utter_handoff_contact_invalid")
        return {"handoff_contact": contact}


class ActionShowOrderStatus(Action):
    """Tells how the order stands, if the form found one, then forgets number and contact."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_show_order_status"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Answer with utter_order_<status>; the pair is checked once more, so that no other way leads here.

        Without an order there is nothing to tell: the rule "Too many tries" goes on from `order_lookup`.
        """
        number, contact = tracker.get_slot("order_number"), tracker.get_slot("order_contact")
        order = find_order(number, contact) if number and contact else None
        if order is not None:
            language = "zh" if tracker.get_slot("language") == "zh" else "en"
            facts = order.facts(language, datetime.now(SHOP_TIMEZONE).date())
            dispatcher.utter_message(response=f"utter_order_{order.status}", **facts)
        ended = SlotSet("order_lookup", "found" if order else "locked")
        return [*_forget("order_number", "order_contact"), ended]


class ActionForgetDetails(Action):
    """Empties what the customer typed for a form that is over."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_forget_details"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Say nothing and empty the forms' slots."""
        return _forget("order_number", "order_contact", "handoff_contact")


def _locked(tries: int) -> list[EventType]:
    """End the form without an order; the rule "Too many tries" then offers a person."""
    return [
        *_forget("order_number", "order_contact"),
        SlotSet("lookup_tries", float(tries)),
        SlotSet("requested_slot", None),
    ]


def _forget(*slots: str) -> list[EventType]:
    return [SlotSet(slot, None) for slot in slots]


def _verified_contacts(tracker: Tracker) -> list[str]:
    """List the contacts of a signed-in customer, from metadata that only the platform may write.

    Rasa's own REST channel passes metadata on as the client sent it: there, take `identity` out before it gets here.
    """
    identity = (tracker.latest_message.get("metadata") or {}).get("identity")
    if not isinstance(identity, dict) or identity.get("verified") is not True:
        return []
    contacts = (read_contact(str(identity.get(key) or "")) for key in ("email", "phone"))
    return [contact for contact in contacts if contact]


def _turn_key(tracker: Tracker, action_name: str) -> str:
    """Name this turn the same way each time it is run, or it would be counted twice after a crash."""
    message_id = tracker.latest_message.get("message_id")
    if message_id is None:
        message_id = f"user-message-{sum(event.get('event') == 'user' for event in tracker.events)}"
    return f"{tracker.sender_id}\n{message_id}\n{action_name}"


def _tries_file() -> Path:
    home = os.environ.get("KEFU_HOME")
    return (Path(home) if home else Path(__file__).parent) / "lookup_tries.sqlite3"
