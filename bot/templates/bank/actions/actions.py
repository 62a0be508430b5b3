"""The bank's custom actions: watching the mood, checking what the forms ask for, blocking a card, opening a dispute.

What they say is in domain/. When a person is offered: mood.py; reading amounts, days and digits: details.py.
The invariant: nothing about an account is told here, since nobody in this chat has proved who they are.
Written for rasa-sdk 3.x, so that the same file runs inside Kefu and behind Rasa's action server.
"""

import hashlib
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from rasa_sdk import Action, Tracker
from rasa_sdk.events import EventType, SlotSet
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.forms import FormValidationAction
from rasa_sdk.types import DomainDict

from .details import (
    ALL_CARDS,
    DISPUTE_DAYS,
    day_in_words,
    read_amount,
    read_card_digits,
    read_contact,
    read_past_day,
)
from .mood import mood_after

BANK_TIMEZONE = ZoneInfo("Europe/London")
_LONGEST_MERCHANT = 80
# These get a person anyway, or an answer that offers one.
_OFFER_NEEDLESS = frozenset({"human_handoff", "complaint", "lost_card"})
_FORMS_WITH_A_PERSON = frozenset({"handoff_form", "lost_card_form"})


class ActionValidateSlotMappings(Action):
    """Watches the mood: offers a person once a customer has been annoyed for some messages in a row.

    Rasa runs the action of this name after each message, whatever its intent and whether or not a form is active; so
    the offer stands in front of the answer and never instead of it.
    """

    def name(self) -> str:
        """Name the action as Rasa calls it."""
        return "action_validate_slot_mappings"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Count, and offer; an offer holds for the next message, so that a plain "yes" then means a person."""
        if not _is_first_look(tracker):
            return []
        message, loop = tracker.latest_message, (tracker.active_loop or {}).get("name")
        intent = (message.get("intent") or {}).get("name")
        events: list[EventType] = []
        if tracker.get_slot("person_offered") and intent != "affirm":
            events.append(SlotSet("person_offered", None))
        # A pressed button has no mood of its own; the slot still holds that of the message before.
        if str(message.get("text") or "").startswith("/"):
            return events
        so_far = int(tracker.get_slot("annoyed_messages") or 0)
        mood = mood_after(so_far, tracker.get_slot("sentiment"))
        if mood.annoyed != so_far:
            events.append(SlotSet("annoyed_messages", float(mood.annoyed)))
        if mood.is_time_to_offer and intent not in _OFFER_NEEDLESS and loop not in _FORMS_WITH_A_PERSON:
            dispatcher.utter_message(response="utter_offer_person")
            # Inside a form a yes may answer the form's own question; there the button calls the person.
            events += [] if loop else [SlotSet("person_offered", True)]
        return events


class ValidateLostCardForm(FormValidationAction):
    """Checks which card is gone and where its owner can be reached."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "validate_lost_card_form"

    def validate_card_digits(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Keep four digits, never more; "all" where the customer does not know them."""
        digits = read_card_digits(str(slot_value))
        if digits is None:
            dispatcher.utter_message(response="utter_card_digits_invalid")
        return {"card_digits": digits}

    def validate_handoff_contact(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Accept a complete e-mail address or phone number."""
        return {"handoff_contact": _contact(slot_value, dispatcher)}


class ValidateHandoffForm(FormValidationAction):
    """Checks that a person could be reached on what the customer left."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "validate_handoff_form"

    def validate_handoff_contact(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Accept a complete e-mail address or phone number."""
        return {"handoff_contact": _contact(slot_value, dispatcher)}


class ValidateDisputeForm(FormValidationAction):
    """Checks merchant, amount and day of a disputed card payment."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "validate_dispute_form"

    def validate_dispute_merchant(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Accept any name with a letter in it, as it stands on the statement."""
        name = " ".join(str(slot_value).split())
        is_name = any(char.isalpha() for char in name) and len(name) <= _LONGEST_MERCHANT and not name.startswith("/")
        if not is_name:
            dispatcher.utter_message(response="utter_merchant_invalid")
        return {"dispute_merchant": name if is_name else None}

    def validate_dispute_amount(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Accept an amount above zero."""
        amount = read_amount(str(slot_value))
        if amount is None:
            dispatcher.utter_message(response="utter_amount_invalid")
        return {"dispute_amount": amount}

    def validate_dispute_date(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Accept a day that lies behind us and is not too old for a dispute."""
        today = datetime.now(BANK_TIMEZONE).date()
        day = read_past_day(str(slot_value), today)
        if day is None:
            dispatcher.utter_message(response="utter_date_invalid")
        elif day < today - timedelta(days=DISPUTE_DAYS):
            dispatcher.utter_message(response="utter_date_too_old", day=day_in_words(day, _language(tracker)))
            day = None
        return {"dispute_date": day.isoformat() if day else None}


class ActionBlockCard(Action):
    """Asks for the block. Your bank replaces it with a call to its card system."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_block_card"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Say what was asked for, the same words whether or not such a card exists; a person then goes on."""
        digits = tracker.get_slot("card_digits")
        if digits == ALL_CARDS:
            dispatcher.utter_message(response="utter_all_cards_blocked")
        else:
            dispatcher.utter_message(response="utter_card_blocked", digits=digits)
        return [SlotSet("handoff_reason", f"lost card: {digits}")]


class ActionOpenDispute(Action):
    """Files the dispute. Your bank replaces it with a call to its own system."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_open_dispute"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Give the number of the dispute and what happens next, then forget the details."""
        slots = {name: tracker.get_slot(name) for name in ("dispute_merchant", "dispute_amount", "dispute_date")}
        day = date.fromisoformat(str(slots["dispute_date"]))
        dispatcher.utter_message(
            response="utter_dispute_opened",
            number=_dispute_number(tracker.sender_id, *map(str, slots.values())),
            merchant=slots["dispute_merchant"],
            amount=slots["dispute_amount"],
            day=day_in_words(day, _language(tracker)),
        )
        return _forget(*slots)


class ActionForgetDetails(Action):
    """Empties what the customer typed for a form that is over."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_forget_details"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Say nothing; empty the forms' slots and what was noted for the person who takes over."""
        return _forget(
            "card_digits",
            "handoff_contact",
            "handoff_reason",
            "dispute_merchant",
            "dispute_amount",
            "dispute_date",
            "person_offered",
        )


def _is_first_look(tracker: Tracker) -> bool:
    """Say whether this message was not looked at yet: a form that starts has all slots extracted once more."""
    for event in reversed(tracker.events):
        if event.get("event") == "user":
            return True
        if event.get("event") in ("action", "active_loop"):
            return False
    return True


def _contact(value: Any, dispatcher: CollectingDispatcher) -> str | None:
    contact = read_contact(str(value))
    if contact is None:
        dispatcher.utter_message(response="utter_contact_invalid")
    return contact


def _forget(*slots: str) -> list[EventType]:
    return [SlotSet(slot, None) for slot in slots]


def _language(tracker: Tracker) -> str:
    return "zh" if tracker.get_slot("language") == "zh" else "en"


def _dispute_number(*facts: str) -> str:
    """The same dispute gets the same number, also when a crash makes the action run twice."""
    return "D-" + str(int(hashlib.sha256("\n".join(facts).encode()).hexdigest(), 16) % 900_000 + 100_000)
