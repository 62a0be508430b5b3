"""Sending something back: which order, which item and why; what can be returned, and how it travels."""

from typing import Any

from rasa_sdk import Action, Tracker
from rasa_sdk.events import EventType
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.types import DomainDict

from .order_forms import OrderAction, OrderForm, cases, order_of
from .orders import Order
from .turns import language_of, today, turn_key

_LONGEST_ANSWER = 500


class ValidateReturnForm(OrderForm):
    """Asks for item and reason, but only where the order can be returned at all."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "validate_return_form"

    def is_settled(self, order: Order) -> bool:
        """Whoever cannot return it need not tell why they would."""
        return order.return_refusal(today()) is not None

    def validate_return_product(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Take the customer's own words: a person unpacks the parcel."""
        return {"return_product": str(slot_value).strip()[:_LONGEST_ANSWER] or None}

    def validate_return_reason(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, str | None]:
        """Take any reason; none is a condition of returning."""
        return {"return_reason": str(slot_value).strip()[:_LONGEST_ANSWER] or None}


class ActionAskReturnProduct(Action):
    """Asks which item, naming what is in the order."""

    def name(self) -> str:
        """Name the action as Rasa looks for it."""
        return "action_ask_return_product"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Ask with the order's items."""
        if order := order_of(tracker):
            dispatcher.utter_message(response="utter_ask_return_product", **order.facts(language_of(tracker), today()))
        return []


class ActionRegisterReturn(OrderAction):
    """Registers the return and explains how the parcel gets back, or why it cannot."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_register_return"

    def settle(self, order: Order, dispatcher: CollectingDispatcher, tracker: Tracker) -> None:
        """Answer with utter_return_<refusal> or utter_return_registered_<way>."""
        facts = order.facts(language_of(tracker), today())
        refusal = order.return_refusal(today())
        if refusal in ("returned", "cancelled"):
            dispatcher.utter_message(response=f"utter_order_{refusal}", **facts)
            return
        if refusal:
            dispatcher.utter_message(response=f"utter_return_{refusal}", **facts)
            return
        told = {name: str(tracker.get_slot(f"return_{name}") or "") for name in ("product", "reason")}
        return_id = cases().open(turn_key(tracker, self.name()), "return", order.order_number, told)
        dispatcher.utter_message(
            response=f"utter_return_registered_{order.return_way}", return_id=return_id, email=order.email, **facts
        )
