"""Another delivery address for an order that has not left the warehouse."""

import re
from typing import Any

from rasa_sdk import Tracker
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.types import DomainDict

from .order_forms import OrderAction, OrderForm, cases
from .orders import Order, folded, read_contact
from .turns import language_of, today, turn_key

_LONGEST_ADDRESS = 300
_HAN = re.compile(r"[\u4e00-\u9fff]")
_HAN_PLACE = re.compile(r"[省市区县镇乡村路街道巷弄号幢栋楼室]")
# In the warehouse still; a parcel that has left it belongs to the carrier.
_CHANGEABLE = ("placed", "packed")


class ValidateChangeAddressForm(OrderForm):
    """Asks for the new address, but only while the parcel is still here."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "validate_change_address_form"

    def is_settled(self, order: Order) -> bool:
        """Nobody need type an address that can no longer be used."""
        return order.status not in _CHANGEABLE

    def validate_new_address(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Accept what could be written on a parcel."""
        address = read_address(str(slot_value))
        if address is None:
            dispatcher.utter_message(response="utter_address_invalid")
        return {"new_address": address}


class ActionChangeAddress(OrderAction):
    """Passes the new address on to the warehouse, or says who can still redirect the parcel."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_change_address"

    def settle(self, order: Order, dispatcher: CollectingDispatcher, tracker: Tracker) -> None:
        """Write the address down where the order can still take it."""
        facts = order.facts(language_of(tracker), today())
        address = tracker.get_slot("new_address")
        if order.status in ("returned", "cancelled", "delivered"):
            dispatcher.utter_message(response=f"utter_order_{order.status}", **facts)
        elif order.status not in _CHANGEABLE or address is None:
            dispatcher.utter_message(response="utter_address_too_late", **facts)
        else:
            cases().open(turn_key(tracker, self.name()), "address", order.order_number, {"address": address})
            dispatcher.utter_message(response="utter_address_changed", address=address, **facts)


def read_address(text: str) -> str | None:
    """Give the message on one line if it looks like a postal address: a street and a number, or 路 and 号."""
    address = " ".join(text.split())[:_LONGEST_ADDRESS]
    if read_contact(address) == folded(address).lower():
        return None
    if _HAN.search(address):
        return address if len(address) >= 6 and len(set(_HAN_PLACE.findall(address))) >= 2 else None
    words = re.findall(r"[^\W\d_]{2,}", address)
    return address if re.search(r"\d", address) and len(words) >= 2 else None
