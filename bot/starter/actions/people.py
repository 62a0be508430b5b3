"""Passing on to people: the contact for a hand-over, and a complaint that becomes a ticket."""

import re
from typing import Any

from rasa_sdk import Action, Tracker
from rasa_sdk.events import EventType, SlotSet
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.forms import FormValidationAction
from rasa_sdk.types import DomainDict

from .order_forms import cases
from .orders import folded, read_contact, read_order_number
from .turns import DETAILS, forget, turn_key, value_before
from .wishes import offer_next

# What complaint_order holds when there is no order to it.
NO_ORDER = "-"
_SKIPPED = re.compile(r"none|skip|no|nope|n/?a|-|没有|没|无|跳过|不记得|不知道")
_LONGEST_STORY = 1000
_HAN = re.compile(r"[\u4e00-\u9fff]")


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


class ValidateComplaintForm(ValidateHandoffForm):
    """Takes what happened in the customer's words, an order number if there is one, and a contact."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "validate_complaint_form"

    def validate_complaint_text(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Take an answer as it is; what was said before anybody asked only if it tells something.

        A customer who adds to it while another question is open is not made to start again.
        """
        story = str(slot_value).strip()[:_LONGEST_STORY]
        requested = tracker.get_slot("requested_slot")
        if requested == "complaint_text":
            return {"complaint_text": story or None}
        before = value_before(tracker, "complaint_text") if requested else None
        if before and before != story:
            return {"complaint_text": f"{before}\n{story}"[:_LONGEST_STORY]}
        return {"complaint_text": story if _tells_something(story) else None}

    def validate_complaint_order(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Accept an order number or that there is none. It is not looked up: a ticket tells nothing about an order."""
        answer = folded(str(slot_value)).strip().strip(".!。！").lower()
        if _SKIPPED.fullmatch(answer):
            return {"complaint_order": NO_ORDER}
        number = read_order_number(answer)
        if number is None and read_contact(answer) is None:
            dispatcher.utter_message(response="utter_order_number_invalid")
        return {"complaint_order": number}


class ActionFileComplaint(Action):
    """Opens the ticket and says its number; the hand-over follows by rule."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_file_complaint"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Keep the contact until the hand-over has it; everything else is in the ticket now."""
        contact = str(tracker.get_slot("handoff_contact"))
        order = tracker.get_slot("complaint_order")
        told = {"what_happened": str(tracker.get_slot("complaint_text")), "contact": contact}
        number = order if order and order != NO_ORDER else None
        ticket = cases().open(turn_key(tracker, self.name()), "ticket", number, told)
        dispatcher.utter_message(response="utter_complaint_filed", ticket=ticket, contact=contact)
        told_slots = (slot for slot in DETAILS if slot != "handoff_contact")
        reason = SlotSet("handoff_reason", f"complaint {ticket}")
        return [*forget(told_slots), reason, *offer_next(dispatcher, tracker)]


def _tells_something(story: str) -> bool:
    """Say whether a colleague could begin with this: "unacceptable!" is a mood, not a case."""
    if _HAN.search(story):
        return len(_HAN.findall(story)) >= 10
    return len(story.split()) >= 6
