"""A second wish in one message: remembered, and offered as a button once the first one is done.

Kefu's model names what a message wants beside its main wish under `also`; where nobody does (Rasa), nothing is said.
The invariant: no button stands where picking it would throw away what the customer is in the middle of.
"""

from collections.abc import Iterable
from typing import Any

from rasa_sdk import Action, Tracker
from rasa_sdk.events import EventType, SlotSet
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.types import DomainDict

from .manners import form_of, is_strained
from .turns import WISHES, language_of

(SLOT,) = WISHES
_BESIDE_AN_ANSWER, _AFTER_A_FORM = "utter_first_of_wishes", "utter_next_wish"

# What the button of each wish says; an intent that is not here goes along with others and wants nothing of its own.
_TITLES: dict[str, dict[str, str]] = {
    "order_status": {"en": "Where is my order?", "zh": "查订单"},
    "cancel_order": {"en": "Cancel an order", "zh": "取消订单"},
    "change_address": {"en": "Change an address", "zh": "改收货地址"},
    "return_item": {"en": "Return something", "zh": "退货"},
    "exchange_item": {"en": "Exchange something", "zh": "换货"},
    "refund_status": {"en": "Where is my refund?", "zh": "退款进度"},
    "damaged_item": {"en": "Something arrived broken", "zh": "东西到手是坏的"},
    "product_info": {"en": "About a product", "zh": "商品详情"},
    "stock_check": {"en": "Is it in stock?", "zh": "有没有货"},
    "recommend": {"en": "Help me choose", "zh": "帮我挑"},
    "shipping_info": {"en": "Delivery and its cost", "zh": "运费和时效"},
    "payment_methods": {"en": "Ways to pay", "zh": "付款方式"},
    "payment_problem": {"en": "A payment went wrong", "zh": "付款出了问题"},
    "discount": {"en": "Codes and discounts", "zh": "优惠和折扣"},
    "invoice": {"en": "An invoice", "zh": "开发票"},
    "opening_hours": {"en": "Opening hours", "zh": "营业时间"},
    "warranty": {"en": "Warranty", "zh": "保修"},
    "human_handoff": {"en": "Talk to a person", "zh": "转人工"},
}
# Answered in one go: no form is left open in which a button could do harm. The others begin one.
_ANSWERED_AT_ONCE = frozenset(
    (
        "complaint",
        "exchange_item",
        "product_info",
        "stock_check",
        "recommend",
        "shipping_info",
        "payment_methods",
        "payment_problem",
        "discount",
        "invoice",
        "opening_hours",
        "warranty",
    )
)
# No wish to come back to, but a message that may name one beside it: "A-1001, and I need an invoice".
_HEARD = frozenset((*_TITLES, "inform", "complaint"))
# What a form is about: no second wish while it is open.
_OF_FORM = {
    "order_status_form": "order_status",
    "cancel_order_form": "cancel_order",
    "return_form": "return_item",
    "change_address_form": "change_address",
    "complaint_form": "damaged_item",
    "handoff_form": "human_handoff",
}
# What is said to these questions is an answer, whatever it sounds like.
_IN_OWN_WORDS = ("return_product", "return_reason", "new_address", "complaint_text", "complaint_order")


class ActionNoteWishes(Action):
    """Fills the slot `other_wishes`, and says of an answer that it is the first of several.

    It runs with the slots of a message. A message by which an open form is left fills none before the next form begins;
    its wishes are noted then.
    """

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_note_wishes"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Note what the message wants beside its main wish.

        What was noted before waits on while a form is open; without one it was of a matter that was never finished.
        """
        main = (tracker.latest_message.get("intent") or {}).get("name")
        if main not in _HEARD or tracker.get_slot("requested_slot") in _IN_OWN_WORDS:
            return []
        form, held = form_of(tracker), tracker.get_slot(SLOT) or []
        wishes = _beside(tracker, main)
        if form is not None:
            # One form serves two questions; who asked for the refund has not been told where the order is.
            is_refund = form == "order_status_form" and tracker.get_slot("order_wish") == "refund"
            over = (main, "refund_status" if is_refund else _OF_FORM.get(form))
            wishes = [wish for wish in dict.fromkeys((*wishes, *held)) if wish not in over]
        elif wishes and main in _ANSWERED_AT_ONCE:
            _offer(_BESIDE_AN_ANSWER, wishes, dispatcher, tracker)
            wishes = []
        return [SlotSet(SLOT, wishes or None)] if wishes != held else []


def offer_next(dispatcher: CollectingDispatcher, tracker: Tracker) -> list[EventType]:
    """Come back to the other wishes of a message, now that its main one is done."""
    wishes: list[str] = tracker.get_slot(SLOT) or []
    if not wishes:
        return []
    _offer(_AFTER_A_FORM, wishes, dispatcher, tracker)
    return [SlotSet(SLOT, None)]


def _beside(tracker: Tracker, main: str) -> list[str]:
    """List the wishes of the last message beside `main`; a strained customer is offered a person anyway."""
    named: Iterable[Any] = (wish.get("name") for wish in tracker.latest_message.get("also") or ())
    left_out = {main, *(("human_handoff",) if is_strained(tracker.events) else ())}
    return [name for name in named if name in _TITLES and name not in left_out]


def _offer(response: str, wishes: list[str], dispatcher: CollectingDispatcher, tracker: Tracker) -> None:
    language = language_of(tracker)
    buttons = [{"title": _TITLES[wish][language], "payload": f"/{wish}"} for wish in wishes]
    dispatcher.utter_message(response=response, buttons=buttons)
