"""The front desk's custom actions: seeing emergencies, naming a department, taking appointment requests.

What they say is in domain/. Words of emergency: emergency.py; words of departments: departments.py; days and contacts:
details.py. The invariants: an emergency ends whatever was going on, and nothing said here is a diagnosis.
Written for rasa-sdk 3.x, so that the same file runs inside Kefu and behind Rasa's action server.
"""

import asyncio
import hashlib
import re
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from rasa_sdk import Action, Tracker
from rasa_sdk.events import EventType, SlotSet
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.forms import FormValidationAction
from rasa_sdk.types import DomainDict

from .departments import department_of, find_department
from .details import day_in_words, read_contact, read_day
from .emergency import kind_of

CLINIC_TIMEZONE = ZoneInfo("Asia/Shanghai")
# Words with which somebody leaves the choice to the desk; Latin ones whole, for "many" and "company" hold "any".
_ANY_DEPARTMENT = re.compile(
    r"(?<![a-z])(?:don't know|not sure|no idea|whichever|any|anyone|anybody)(?![a-z])|不知道|不清楚|随便|都行|都可以"
)
_PAYLOAD_NAME = re.compile(r"^/\w+")


class ActionValidateSlotMappings(Action):
    """Looks for an emergency in every message, before anything else is decided.

    Rasa runs the action of this name after each message, whatever its intent and whether or not a form is active. The
    slot `emergency` is set and emptied here; data/rules.yml says what follows from it.
    """

    def name(self) -> str:
        """Name the action as Rasa calls it."""
        return "action_validate_slot_mappings"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Say nothing; set `emergency`, or empty it when the emergency was in an earlier message."""
        message = tracker.latest_message
        entities = [str(entity.get("entity")) for entity in message.get("entities") or ()]
        intent = (message.get("intent") or {}).get("name")
        # The name in a button's /emergency is no word of the patient's; its intent tells.
        text = _PAYLOAD_NAME.sub("", str(message.get("text") or ""))
        # A long message takes a fifth of a second, and no other conversation waits for it.
        kind = await asyncio.to_thread(kind_of, text, entities, intent)
        if kind is not None:
            return [SlotSet("emergency", kind), SlotSet("handoff_reason", "emergency")]
        if tracker.get_slot("emergency") is not None:
            return [SlotSet("emergency", None), SlotSet("handoff_reason", None)]
        return []


class _FrontDeskForm(FormValidationAction):
    """A form that an emergency ends at once."""

    async def get_validation_events(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> list[EventType]:
        """Validate as usual; in an emergency empty the form and ask nothing more: the rules then hand over."""
        if tracker.get_slot("emergency") is not None:
            return [*_forget(*self.domain_slots(domain)), SlotSet("requested_slot", None)]
        events: list[EventType] = await super().get_validation_events(dispatcher, tracker, domain)
        return events


class ValidateAppointmentForm(_FrontDeskForm):
    """Checks department, day and contact of an appointment request."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "validate_appointment_form"

    def validate_department(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Accept a department, or a complaint that leads to one; whoever does not know gets general practice."""
        text = str(slot_value)
        department = find_department(text)
        if department is None and _ANY_DEPARTMENT.search(text.casefold().replace("’", "'")):
            department = department_of(None)
        if department is None:
            dispatcher.utter_message(response="utter_department_unknown")
        return {"department": department.key if department else None}

    def validate_appointment_date(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Accept a day within the next months on which the clinic is open, kept as 2027-03-08."""
        day = read_day(str(slot_value), _today())
        if day is None:
            dispatcher.utter_message(response="utter_date_invalid")
        elif day.weekday() == 6:
            dispatcher.utter_message(response="utter_date_closed", day=day_in_words(day, _language(tracker)))
            day = None
        return {"appointment_date": day.isoformat() if day else None}

    def validate_appointment_contact(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Accept a complete e-mail address or phone number."""
        contact = read_contact(str(slot_value))
        if contact is None:
            dispatcher.utter_message(response="utter_contact_invalid")
        return {"appointment_contact": contact}


class ValidateHandoffForm(_FrontDeskForm):
    """Checks that a person could be reached on what was left."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "validate_handoff_form"

    def validate_handoff_contact(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Accept a complete e-mail address or phone number."""
        contact = read_contact(str(slot_value))
        if contact is None:
            dispatcher.utter_message(response="utter_contact_invalid")
        return {"handoff_contact": contact}


class ActionNameDepartment(Action):
    """Tells which department to see for what was described. Never what it might be."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_name_department"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Answer with utter_department and keep it for an appointment; general practice where no word fits."""
        department = find_department(str(tracker.latest_message.get("text") or "")) or department_of(None)
        dispatcher.utter_message(
            response="utter_department", name=department.names["en"], name_zh=department.names["zh"]
        )
        return [SlotSet("department", department.key)]


class ActionRequestAppointment(Action):
    """Hands a complete request to the desk. Your clinic replaces it with a call to its own calendar."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_request_appointment"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Confirm that the request was taken (not that there is an appointment), then forget the details."""
        slots = {name: tracker.get_slot(name) for name in ("department", "appointment_date", "appointment_contact")}
        department, day = department_of(slots["department"]), date.fromisoformat(str(slots["appointment_date"]))
        dispatcher.utter_message(
            response="utter_appointment_requested",
            number=_request_number(tracker.sender_id, *map(str, slots.values())),
            name=department.names[_language(tracker)],
            day=day_in_words(day, _language(tracker)),
            contact=slots["appointment_contact"],
        )
        return _forget(*slots)


class ActionForgetDetails(Action):
    """Empties what was typed for a form that is over."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_forget_details"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Say nothing and empty the forms' slots."""
        return _forget("department", "appointment_date", "appointment_contact", "handoff_contact")


def _forget(*slots: str) -> list[EventType]:
    return [SlotSet(slot, None) for slot in slots]


def _language(tracker: Tracker) -> str:
    return "zh" if tracker.get_slot("language") == "zh" else "en"


def _today() -> date:
    return datetime.now(CLINIC_TIMEZONE).date()


def _request_number(*facts: str) -> str:
    """The same request gets the same number, also when a crash makes the action run twice."""
    return "V-" + str(int(hashlib.sha256("\n".join(facts).encode()).hexdigest(), 16) % 900_000 + 100_000)
