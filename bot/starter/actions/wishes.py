"""A second wish in one message: it is named, with a button, so that nobody has to say it again.

The main wish is answered by the rules as ever. Kefu's model names the others under `also`; where nobody does (Rasa),
nothing is said.
"""

from rasa_sdk import Action, Tracker
from rasa_sdk.events import EventType, SlotSet
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.types import DomainDict

from .turns import language_of

# What the button of each wish says; an intent that is not here goes along with others and wants nothing of its own.
_TITLES: dict[str, dict[str, str]] = {
    "order_status": {"en": "Where is my order?", "zh": "查订单到哪了"},
    "cancel_order": {"en": "Cancel an order", "zh": "取消订单"},
    "change_address": {"en": "Change an address", "zh": "改收货地址"},
    "return_item": {"en": "Send something back", "zh": "办退货"},
    "exchange_item": {"en": "Exchange something", "zh": "办换货"},
    "refund_status": {"en": "Where is my refund?", "zh": "退款到哪一步了"},
    "damaged_item": {"en": "Something arrived broken", "zh": "东西到手是坏的"},
    "shipping_info": {"en": "Delivery and its cost", "zh": "运费和时效"},
    "payment_methods": {"en": "Ways to pay", "zh": "付款方式"},
    "payment_problem": {"en": "A payment went wrong", "zh": "付款出了问题"},
    "discount": {"en": "Codes and discounts", "zh": "优惠和折扣"},
    "invoice": {"en": "An invoice", "zh": "开发票"},
    "opening_hours": {"en": "Opening hours", "zh": "营业时间"},
    "warranty": {"en": "Warranty", "zh": "保修"},
    "human_handoff": {"en": "Speak to a person", "zh": "转人工"},
}


class ActionNoteWishes(Action):
    """Fills the slot `other_wish` after each message, and says that the second wish is not forgotten."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_note_wishes"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Offer a button for each wish beside the main one."""
        wishes = other_wishes(tracker)
        if wishes:
            language = language_of(tracker)
            buttons = [{"title": _TITLES[wish][language], "payload": f"/{wish}"} for wish in wishes]
            dispatcher.utter_message(response="utter_other_wish", buttons=buttons)
        first = wishes[0] if wishes else None
        return [SlotSet("other_wish", first)] if first != tracker.get_slot("other_wish") else []


def other_wishes(tracker: Tracker) -> list[str]:
    """List the intents that the last message has beside its main one, in the order said."""
    named = (wish.get("name") for wish in tracker.latest_message.get("also") or ())
    return [name for name in named if name in _TITLES]
