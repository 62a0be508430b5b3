"""Conversations with the starter shop as customers have them, and a check that each answer is the right one.

Written by hand; a line is what the customer does and the response that must be in the answer. `press` is a button.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ruamel.yaml import YAML

from tests.server import STARTER


@dataclass(frozen=True, kw_only=True)
class Step:
    """One message; `answer` names a response of the starter's domain, or all that begin alike ("utter_greet_*")."""

    message: str
    answer: str
    is_pressed: bool = False


def say(message: str, answer: str) -> Step:
    return Step(message=message, answer=answer)


def press(message: str, answer: str) -> Step:
    return Step(message=message, answer=answer, is_pressed=True)


TALKS: tuple[tuple[Step, ...], ...] = (
    (
        say("hello", "utter_greet_*"),
        say("where is my order?", "utter_ask_order_number"),
        say("A-1001", "utter_ask_order_contact"),
        say("anna.weber@example.com", "utter_order_shipped"),
        say("thank you", "utter_welcome"),
        say("goodbye", "utter_goodbye"),
    ),
    (
        say("hi there", "utter_greet_*"),
        press("/shipping_info", "utter_shipping_info"),
        press("/order_status", "utter_ask_order_number"),
        say("it's A-1002", "utter_ask_order_contact"),
        say("what does shipping cost?", "utter_shipping_info"),
        say("tom.baker@example.org", "utter_order_delivered"),
        press("/return_item", "utter_return_item"),
        say("thanks a lot", "utter_welcome"),
    ),
    (
        say("nobody answers my mails, I am furious", "utter_complaint"),
        press("/human_handoff", "utter_ask_handoff_contact"),
        say("you can reach me at grace@example.com", "utter_handoff_promised"),
        say("ok, thanks", "utter_welcome"),
    ),
    (
        say("are you a robot?", "utter_bot_challenge"),
        say("tell me a joke", "utter_chitchat"),
        say("can you recommend a restaurant in Lisbon?", "utter_out_of_scope"),
        press("/shipping_info", "utter_shipping_info"),
        say("how much is shipping to Norway?", "utter_shipping_info"),
        say("bye", "utter_goodbye"),
    ),
    (
        say("I want to know where my parcel is", "utter_ask_order_number"),
        say("never mind, forget it", "utter_cancelled"),
        say("how do I send something back?", "utter_return_item"),
        press("/human_handoff", "utter_ask_handoff_contact"),
        press("/cancel", "utter_handoff_declined"),
    ),
    (
        say("你好", "utter_greet_*"),
        say("我的快递到哪里了？", "utter_ask_order_number"),
        say("A-1003", "utter_ask_order_contact"),
        say("wang.fang@example.com", "utter_order_shipped"),
        say("谢谢", "utter_welcome"),
        say("再见", "utter_goodbye"),
    ),
    (
        say("请问运费是多少？", "utter_shipping_info"),
        press("/order_status", "utter_ask_order_number"),
        say("订单号是B-77", "utter_ask_order_contact"),
        say("你是机器人吗？", "utter_bot_challenge"),
        say("13600000494", "utter_order_delivered"),
        press("/human_handoff", "utter_ask_handoff_contact"),
        say("13912345678", "utter_handoff_promised"),
        say("好的，谢谢", "utter_welcome"),
    ),
    (
        say("我想退货", "utter_return_item"),
        say("给我讲个笑话吧", "utter_chitchat"),
        press("/shipping_info", "utter_shipping_info"),
        say("东西太差了，我要投诉！", "utter_complaint_in_form"),
        press("/order_status", "utter_ask_order_number"),
        say("算了，不查了", "utter_cancelled"),
    ),
)


def typed_share() -> float:
    steps = [step for talk in TALKS for step in talk]
    return sum(not step.is_pressed for step in steps) / len(steps)


def is_answer(messages: object, sender: str) -> bool:
    """Whether this is what Rasa's REST channel answers: at least one message, all to this sender, all with content."""
    return (
        isinstance(messages, list)
        and bool(messages)
        and all(isinstance(one, dict) and one.get("recipient_id") == sender and len(one) > 1 for one in messages)
    )


def is_right(messages: Sequence[Mapping[str, Any]], response: str) -> bool:
    """Whether one of the messages is that response, in either language, whatever was filled in."""
    return any(pattern.fullmatch(message.get("text", "")) for message in messages for pattern in wordings(response))


@cache
def wordings(response: str) -> tuple[re.Pattern[str], ...]:
    """The response's variations as patterns in which a slot stands for any text."""
    return tuple(
        re.compile(re.sub(r"\\\{\w+\\\}", "(?s:.+)", re.escape(variation["text"])))
        for name in fnmatch.filter(responses(), response)
        for variation in responses()[name]
    )


@cache
def responses() -> dict[str, list[dict[str, Any]]]:
    """Every response of the starter's domain, read from its files without the product's loader."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted((STARTER / "domain").glob("*.yml")):
        found |= YAML(typ="safe").load(file.read_text(encoding="utf-8")).get("responses", {})
    return found
