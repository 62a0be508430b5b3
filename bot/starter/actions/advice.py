"""Talking about the catalogue: what a product is made of, whether it is in stock, what suits a wish.

A product is taken from this message, else from the one last talked about. The words are in domain/products.yml.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from rasa_sdk import Action, Tracker
from rasa_sdk.events import EventType, FollowupAction, SlotSet
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.types import DomainDict

from .orders import day_in_words
from .products import (
    Product,
    asks_for_company,
    colour_in,
    find_products,
    goes_with,
    has_wish,
    named_colour,
    read_amount,
    suggest,
)
from .turns import is_on_kefu, language_of, today

_MOST_BUTTONS = 4


class ActionProductInfo(Action):
    """Tells material, size, care and price of a product."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_product_info"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Answer, or ask which one is meant."""
        language, found = language_of(tracker), asked_for(tracker)
        if len(found) != 1:
            return ask_which(dispatcher, found, language, "product_info")
        [product] = found
        dispatcher.utter_message(response="utter_product_info", **product.facts(language))
        return [SlotSet("product", product.names[language])]


class ActionCheckStock(Action):
    """Tells which colours of a product are there."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_check_stock"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Answer for the colour that was asked for, else for all of them."""
        language, found = language_of(tracker), asked_for(tracker)
        if len(found) != 1:
            return ask_which(dispatcher, found, language, "stock_check")
        [product] = found
        colour = named_colour(text_of(tracker), product)
        response, values = _stock_answer(product, colour, language)
        dispatcher.utter_message(response=response, **product.facts(language), **values)
        return [SlotSet("product", product.names[language])]


class ActionRecommend(Action):
    """Recommends two or three things and says why; a wish that names nothing is left to Kefu's own suggestions."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_recommend"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Choose by what the message names or means; for one product, what goes with it."""
        language, text = language_of(tracker), text_of(tracker)
        if is_left_to_suggestions(tracker, text):
            return [FollowupAction("action_suggest")]
        is_beside = asks_for_company(text)
        named = asked_for(tracker) if is_beside else []
        if len(named) == 1:
            picks, response = goes_with(named[0]), "utter_recommend_beside"
            values = {"product": named[0].names[language]}
        else:
            picks, response = suggest(text, language, budget_of(tracker)), "utter_recommend"
            values = {}
        if not picks:
            dispatcher.utter_message(response="utter_recommend_nothing")
            return []
        dispatcher.utter_message(
            response=response,
            picks=_listed(picks, language),
            buttons=_buttons(picks, language, "product_info"),
            **values,
        )
        return []


def is_left_to_suggestions(tracker: Tracker, text: str) -> bool:
    """Say whether only what is known of the customer tells what could be right, and may be used."""
    is_open = not has_wish(text) and not asks_for_company(text) and budget_of(tracker) is None
    return is_open and is_on_kefu(tracker) and tracker.get_slot("suggestions") != "off"


def asked_for(tracker: Tracker) -> list[Product]:
    """List the products this message names; if it names none, the one talked about before."""
    named = [str(entity.get("value")) for entity in entities_of(tracker, "product")]
    for words in (text_of(tracker), *named, str(tracker.get_slot("product") or "")):
        if found := find_products(words):
            return found
    return []


def ask_which(
    dispatcher: CollectingDispatcher, found: Sequence[Product], language: str, intent: str
) -> list[EventType]:
    """Offer the candidates as buttons, or ask for a name where there are none."""
    if found:
        dispatcher.utter_message(response="utter_product_which", buttons=_buttons(found, language, intent))
    else:
        dispatcher.utter_message(response="utter_product_unknown")
    return []


def text_of(tracker: Tracker) -> str:
    """Give what was typed; a button's payload says its product through an entity."""
    text = str(tracker.latest_message.get("text") or "")
    if text.startswith("/"):
        return " ".join(str(entity.get("value")) for entity in tracker.latest_message.get("entities") or ())
    return text


def entities_of(tracker: Tracker, name: str) -> list[dict[str, Any]]:
    """List the entities of this name in the message."""
    return [entity for entity in tracker.latest_message.get("entities") or () if entity.get("entity") == name]


def budget_of(tracker: Tracker) -> float | None:
    """Give the most that may be spent, if an amount was found in the message."""
    amounts = [read_amount(str(entity.get("value"))) for entity in entities_of(tracker, "amount")]
    return max((amount for amount in amounts if amount), default=None)


def _stock_answer(product: Product, colour: str | None, language: str) -> tuple[str, dict[str, str]]:
    there, gone = (_joined(product.colours(language, in_stock=in_stock), language) for in_stock in (True, False))
    day = day_in_words(today() + timedelta(days=product.restock_days), language)
    if colour is not None:
        values = {"colour": colour_in(colour, language), "day": day, "colours": there}
        if product.stock[colour]:
            return "utter_stock_colour", values
        return ("utter_stock_colour_out" if there else "utter_stock_out"), values
    if not there:
        return "utter_stock_out", {"day": day}
    return ("utter_stock_some" if gone else "utter_stock_all"), {"colours": there, "gone": gone, "day": day}


def _joined(words: Sequence[str], language: str) -> str:
    if language == "zh":
        return "、".join(words)
    return " and ".join(", ".join(words).rsplit(", ", 1)) if words else ""


def _listed(products: Sequence[Product], language: str) -> str:
    line = "• {}（{}）：{}" if language == "zh" else "• {} ({}): {}"
    return "\n".join(line.format(_titled(p, language), p.price(language), p.why[language]) for p in products)


def _buttons(products: Sequence[Product], language: str, intent: str) -> list[dict[str, str]]:
    return [
        {
            "title": _titled(product, language),
            "payload": f"/{intent}{json.dumps({'product': product.names[language]}, ensure_ascii=False)}",
        }
        for product in products[:_MOST_BUTTONS]
    ]


def _titled(product: Product, language: str) -> str:
    name = product.names[language]
    return name[0].upper() + name[1:]
