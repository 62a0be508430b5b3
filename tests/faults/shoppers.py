"""What the clients of the fault runs say to the starter shop: typed in two languages, and buttons it offers."""

from __future__ import annotations

import random

from tests.faults.webclient import Say

TYPED = (
    "hello",
    "Hi there, good morning",
    "where is my parcel?",
    "I ordered a lamp last week and it still isn't here",
    "my order number is A-1001",
    "anna.weber@example.com",
    "how much is delivery to Austria?",
    "how long does shipping take",
    "I want to send the cushions back",
    "can I exchange the duvet cover for a bigger one?",
    "cancel my order please",
    "is the wool throw in stock?",
    "where is my refund",
    "are you a robot?",
    "tell me a joke",
    "which restaurant do you recommend in Lisbon?",
    "this is the third time the lamp is broken, I'm really disappointed",
    "never mind",
    "thank you very much",
    "bye",
    "asdf qwer",
    "您好",
    "我的快递到哪里了？",
    "订单号 A-1003",
    "wang.fang@example.com",
    "运费怎么算？",
    "我想退货",
    "我要改地址",
    "有什么灯推荐吗",
    "你是机器人吗？",
    "太差了，我要投诉",
    "算了，不查了",
    "谢谢",
)
PRESSED = (
    "/order_status",
    "/return_item",
    "/shipping_info",
    "/change_address",
    "/cancel_order",
    "/product_info",
    "/human_handoff",
    "/cancel",
    "/deny",
    "/greet",
    '/inform{"order_number": "A-1042"}',
    '/inform{"email": "sofia.lindqvist@example.com"}',
)
PRESSED_SHARE = 0.35


def next_words(rng: random.Random) -> Say:
    """One message: about a third are button presses."""
    if rng.random() < PRESSED_SHARE:
        return Say(payload=rng.choice(PRESSED))
    return Say(text=rng.choice(TYPED))
