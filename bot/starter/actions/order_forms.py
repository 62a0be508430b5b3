"""What every form about an order has in common: a number and a second fact, checked as a pair, with a limit of tries.

What each form asks beyond that, and what comes of it, is in order_status.py, returns.py and addresses.py.
The invariant: whatever a customer tries, the answers never tell whether an order number exists.
Written for rasa-sdk 3.x, so that the same files run inside Kefu and behind Rasa's action server.
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

from rasa_sdk import Action, Tracker
from rasa_sdk.events import EventType, FollowupAction, SlotSet
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.forms import FormValidationAction
from rasa_sdk.types import DomainDict

from .cases import Cases
from .orders import Order, find_order, read_contact, read_order_number
from .tries import FailedLookups
from .turns import WISHES, file_of, forget, shop_day, turn_key, value_before, verified_contacts
from .wishes import offer_next

PAIR = ("order_number", "order_contact")
TRIES_FILE = "lookup_tries.sqlite3"
CASES_FILE = "cases.sqlite3"


class OrderForm(FormValidationAction):
    """Checks the shape of what was given, then the number and the contact as a pair."""

    @abstractmethod
    def name(self) -> str:
        """Name the action. Abstract, so that neither Kefu nor Rasa takes this class itself for an action."""

    def is_settled(self, order: Order) -> bool:
        """Say whether the answer is clear already, so that nothing more needs to be asked."""
        return False

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
        kept = _kept(tracker, candidates)
        events: list[EventType] = await super().get_validation_events(dispatcher, tracker, domain)
        events = [SlotSet(e["name"], kept[e["name"]]) if e.get("name") in kept else e for e in events]
        tracker.add_slots(events)
        if not (candidates.keys() - kept.keys()) & set(PAIR):
            return events
        return events + self._look_up(dispatcher, tracker)

    def _look_up(self, dispatcher: CollectingDispatcher, tracker: Tracker) -> list[EventType]:
        number, contact = tracker.get_slot("order_number"), tracker.get_slot("order_contact")
        if number is None:
            return []
        # Somebody who is signed in does not guess, so neither the second question nor the limit applies.
        for fact in verified_contacts(tracker):
            if order := find_order(number, fact):
                return [SlotSet("order_contact", fact), *self._go_on(order)]

        failed, sender_id = FailedLookups(file_of(TRIES_FILE)), tracker.sender_id
        if contact is None:
            tries = failed.count(sender_id, number)
            return _locked(tries.of_sender) if tries.are_used_up else []

        turn = turn_key(tracker, self.name())
        tries = failed.claim(turn, sender_id, number)
        if tries.are_exceeded:
            failed.release(turn)
            return _locked(tries.of_sender - 1)
        if order := find_order(number, contact):
            failed.release(turn)
            return self._go_on(order)
        if tries.are_used_up:
            return _locked(tries.of_sender)
        dispatcher.utter_message(response="utter_order_not_found")
        return [*forget(PAIR), SlotSet("lookup_tries", float(tries.of_sender))]

    def _go_on(self, order: Order) -> list[EventType]:
        return [SlotSet("requested_slot", None)] if self.is_settled(current(order)) else []


class OrderAction(Action, ABC):
    """What a form about an order leads to. Ends with the details forgotten and `order_lookup` set."""

    @abstractmethod
    def settle(self, order: Order, dispatcher: CollectingDispatcher, tracker: Tracker) -> None:
        """Do it and say so."""

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Settle the order that the form found; the pair is checked once more, so that no other way leads here.

        Without an order there is nothing to tell: the tries are used up, and a person is offered.
        """
        order = order_of(tracker)
        if order is None:
            return [*forget(), *forget(WISHES), SlotSet("order_lookup", "locked"), FollowupAction("utter_order_locked")]
        self.settle(order, dispatcher, tracker)
        return [*forget(), SlotSet("order_lookup", "found"), *offer_next(dispatcher, tracker)]


def order_of(tracker: Tracker) -> Order | None:
    """Give the order that the form's number and contact name together."""
    number, contact = tracker.get_slot("order_number"), tracker.get_slot("order_contact")
    order = find_order(number, contact) if number and contact else None
    return current(order) if order else None


def current(order: Order) -> Order:
    """Give the order as it is since a customer cancelled it here."""
    cancelled = cases().latest("cancellation", order.order_number)
    if cancelled is None:
        return order
    return replace(order, status="cancelled", cancelled_on=shop_day(cancelled.opened_at))


def cases() -> Cases:
    """Give what was arranged in the chat so far."""
    return Cases(file_of(CASES_FILE))


def _kept(tracker: Tracker, candidates: dict[str, Any]) -> dict[str, Any]:
    """List what this turn must not change: an answer given before and not asked for again.

    "The lamp is too bright for room B-12" is a reason, neither another item to return nor another order.
    """
    requested = tracker.get_slot("requested_slot")
    if requested is None or requested in PAIR:
        return {}
    before = {slot: value_before(tracker, slot) for slot in candidates if slot != requested}
    return {slot: value for slot, value in before.items() if value is not None}


def _locked(tries: int) -> list[EventType]:
    """End the form without an order."""
    return [*forget(PAIR), SlotSet("lookup_tries", float(tries)), SlotSet("requested_slot", None)]
