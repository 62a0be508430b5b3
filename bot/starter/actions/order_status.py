"""Where an order is, what became of a refund, and cancelling an order that is not packed yet."""

from typing import Any

from rasa_sdk import Action, Tracker
from rasa_sdk.events import EventType
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.types import DomainDict

from .order_forms import OrderAction, OrderForm, cases, order_of
from .orders import Order
from .turns import language_of, today, turn_key

_REFUNDED = ("returned", "cancelled")


class ValidateOrderStatusForm(OrderForm):
    """Asks for number and contact, nothing else."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "validate_order_status_form"


class ActionShowOrderStatus(OrderAction):
    """Tells how the order stands or, if that was asked, its refund."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_show_order_status"

    def settle(self, order: Order, dispatcher: CollectingDispatcher, tracker: Tracker) -> None:
        """Answer with utter_order_<status>; a refund that is not due yet has an answer of its own."""
        facts = order.facts(language_of(tracker), today())
        if tracker.get_slot("order_wish") != "refund" or order.status in _REFUNDED:
            dispatcher.utter_message(response=f"utter_order_{order.status}", **facts)
            return
        announced = cases().latest("return", order.order_number)
        if announced:
            dispatcher.utter_message(response="utter_refund_waiting", return_id=announced.case_id, **facts)
        else:
            dispatcher.utter_message(response="utter_refund_none", **facts)


class ValidateCancelOrderForm(OrderForm):
    """Asks before it cancels, but only where there is still something to cancel."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "validate_cancel_order_form"

    def is_settled(self, order: Order) -> bool:
        """Only an order that nobody has packed can still be stopped."""
        return order.status != "placed"

    def validate_cancel_confirmed(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, bool]:
        """Take the yes or no that the intent stands for."""
        return {"cancel_confirmed": slot_value is True}


class ActionAskCancelConfirmed(Action):
    """Asks once more, naming what would not be sent."""

    def name(self) -> str:
        """Name the action as Rasa looks for it."""
        return "action_ask_cancel_confirmed"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Ask with the order's items."""
        if order := order_of(tracker):
            dispatcher.utter_message(
                response="utter_ask_cancel_confirmed", **order.facts(language_of(tracker), today())
            )
        return []


class ActionCancelOrder(OrderAction):
    """Cancels the order, or says honestly why that is no longer possible and what is."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_cancel_order"

    def settle(self, order: Order, dispatcher: CollectingDispatcher, tracker: Tracker) -> None:
        """Write the cancellation down if it was confirmed."""
        facts = order.facts(language_of(tracker), today())
        if order.status in _REFUNDED:
            dispatcher.utter_message(response=f"utter_order_{order.status}", **facts)
        elif order.status == "delivered":
            dispatcher.utter_message(response="utter_cancel_delivered", **facts)
        elif order.status != "placed":
            dispatcher.utter_message(response="utter_cancel_too_late", **facts)
        elif tracker.get_slot("cancel_confirmed") is True:
            cases().open(turn_key(tracker, self.name()), "cancellation", order.order_number, {})
            dispatcher.utter_message(response="utter_cancel_done", **facts)
        else:
            dispatcher.utter_message(response="utter_cancel_kept", **facts)
