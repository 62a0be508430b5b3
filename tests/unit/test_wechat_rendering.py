"""What customers see: golden messages pushed one by one, merged into one reply, and for KF; and what a choice means."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import OutboundMessage
from connectors.wechat_rendering import (
    custom_message,
    cut_reply,
    kf_message,
    merged,
    payload_of_entry,
    payload_of_number,
    pushed,
    seq_of_entry,
)
from connectors.wechat_xml import Article

SHOP = "https://shop.example"


def message(seq: int = 4, **body: Any) -> OutboundMessage:
    return OutboundMessage(
        outbox_id=seq,
        conversation_id=1,
        sender_id="wechat:o1",
        seq=seq,
        author="bot",
        body=body,
        created_at=datetime.now(UTC),
    )


YES_NO = [{"title": "是", "payload": "/affirm"}, {"title": "否", "payload": "/deny"}]
LINK = {"title": "网店", "url": "https://shop.example/"}
CARD = {"type": "card", "title": "台灯", "subtitle": "¥129", "image_url": "/a.png", "buttons": [LINK]}
BUY = {"title": "购买", "payload": '/buy{"item": "1"}'}


def text(content: str) -> dict[str, Any]:
    return {"msgtype": "text", "text": {"content": content}}


GOLDEN: list[tuple[dict[str, Any], list[dict[str, Any]], str | Article]] = [
    ({"text": "你好"}, [text("你好")], "你好"),
    (
        {"text": "要吗？", "buttons": YES_NO},
        [
            {
                "msgtype": "msgmenu",
                "msgmenu": {
                    "head_content": "要吗？",
                    "list": [{"id": "4.1", "content": "是"}, {"id": "4.2", "content": "否"}],
                    "tail_content": "",
                },
            }
        ],
        "要吗？\n1. 是\n2. 否",
    ),
    (
        {"text": "看看", "buttons": [LINK, *YES_NO]},
        [
            {
                "msgtype": "msgmenu",
                "msgmenu": {
                    "head_content": "看看\n网店: https://shop.example/",
                    "list": [{"id": "4.1", "content": "是"}, {"id": "4.2", "content": "否"}],
                    "tail_content": "",
                },
            }
        ],
        "看看\n网店: https://shop.example/\n1. 是\n2. 否",
    ),
    (
        {"text": "看看", "buttons": [LINK]},
        [text("看看\n网店: https://shop.example/")],
        "看看\n网店: https://shop.example/",
    ),
    (
        {"text": "这个", "image": "https://p.example/1.png"},
        [
            text("这个"),
            {
                "msgtype": "news",
                "news": {
                    "articles": [
                        {
                            "title": "图片",
                            "description": "",
                            "url": "https://p.example/1.png",
                            "picurl": "https://p.example/1.png",
                        }
                    ]
                },
            },
        ],
        Article(title="图片", description="这个", picture="https://p.example/1.png", url="https://p.example/1.png"),
    ),
    (
        {"custom": CARD},
        [
            {
                "msgtype": "news",
                "news": {
                    "articles": [
                        {
                            "title": "台灯",
                            "description": "¥129",
                            "url": "https://shop.example/",
                            "picurl": "https://shop.example/a.png",
                        }
                    ]
                },
            }
        ],
        Article(title="台灯", description="¥129", picture="https://shop.example/a.png", url="https://shop.example/"),
    ),
    (
        {"custom": {**CARD, "buttons": [BUY]}},
        [
            {
                "msgtype": "msgmenu",
                "msgmenu": {
                    "head_content": "台灯\n¥129\nhttps://shop.example/a.png",
                    "list": [{"id": "4.1", "content": "购买"}],
                    "tail_content": "",
                },
            }
        ],
        "台灯\n¥129\nhttps://shop.example/a.png\n1. 购买",
    ),
    (
        {
            "custom": {
                "type": "carousel",
                "cards": [{"title": "灯", "buttons": [BUY]}, {"title": "椅", "buttons": [BUY]}],
            }
        },
        [
            {
                "msgtype": "msgmenu",
                "msgmenu": {
                    "head_content": "灯\n\n椅",
                    "list": [{"id": "4.1", "content": "购买"}, {"id": "4.2", "content": "购买"}],
                    "tail_content": "",
                },
            }
        ],
        "灯\n\n椅\n1. 购买\n2. 购买",
    ),
    (
        {"custom": {"type": "carousel", "cards": [{"title": "灯", "subtitle": "¥1"}, {"title": "椅"}]}},
        [text("灯\n¥1\n\n椅")],
        "灯\n¥1\n\n椅",
    ),
    (
        {"custom": {"type": "file", "url": "https://shop.example/a.pdf", "name": "说明书"}},
        [text("说明书: https://shop.example/a.pdf")],
        "说明书: https://shop.example/a.pdf",
    ),
    ({"custom": {"type": "rating", "text": "满意吗？", "max": 5}}, [text("满意吗？ (1–5)")], "满意吗？ (1–5)"),
    ({"custom": {"type": "form", "slot": "email", "text": "邮箱？"}}, [text("邮箱？")], "邮箱？"),
    ({"image": "javascript:alert(1)"}, [], ""),
    ({"custom": {"anything": "else"}}, [], ""),
]


@pytest.mark.parametrize(("body", "sent", "reply"), GOLDEN)
def test_golden(body: Mapping[str, Any], sent: list[dict[str, Any]], reply: str | Article) -> None:
    assert [custom_message(one) for one in pushed([message(**body)], has_menus=True, public_url=SHOP)] == sent
    assert merged([message(**body)], SHOP) == reply


def test_without_menu_messages_buttons_are_numbered() -> None:
    [one] = pushed([message(text="要吗？", buttons=YES_NO)], has_menus=False)
    assert custom_message(one) == text("要吗？\n1. 是\n2. 否")


def test_a_menu_that_wechat_would_refuse_is_numbered_text() -> None:
    eleven = [{"title": f"选 {n}", "payload": f"/p{n}"} for n in range(1, 12)]
    bodies: list[dict[str, Any]] = [
        {"text": "?", "buttons": eleven},
        {"text": "长" * 400, "buttons": YES_NO},
        {"text": "?", "buttons": [{"title": "长" * 43, "payload": "/x"}]},
    ]
    for body in bodies:
        [one] = pushed([message(**body)], has_menus=True)
        assert isinstance(one, str)


def test_a_picture_without_a_full_address_shows_its_words() -> None:
    body: dict[str, Any] = {"image": {"url": "/a.png", "alt": "台灯"}}
    assert pushed([message(**body)], has_menus=True) == ["台灯"]
    [article] = pushed([message(**body)], has_menus=True, public_url=SHOP + "/base")
    assert article == Article(title="台灯", picture=SHOP + "/a.png", url=SHOP + "/a.png")


def test_kf_takes_menus_of_its_own_form_and_no_article() -> None:
    menu, article = (
        pushed([message(text="要吗？", buttons=YES_NO)], has_menus=True)[0],
        pushed([message(custom=CARD)], has_menus=True, public_url=SHOP)[0],
    )
    assert kf_message(menu) == {
        "msgtype": "msgmenu",
        "msgmenu": {
            "head_content": "要吗？",
            "list": [
                {"type": "click", "click": {"id": "4.1", "content": "是"}},
                {"type": "click", "click": {"id": "4.2", "content": "否"}},
            ],
        },
    }
    assert kf_message(article) == text("台灯\n¥129\nhttps://shop.example/")


def test_several_messages_are_one_reply() -> None:
    said = [message(4, text="一"), message(5, text="二", buttons=YES_NO), message(6, image="https://p.example/1.png")]
    assert merged(said) == "一\n\n二\n1. 是\n2. 否\n\n图片\nhttps://p.example/1.png"
    assert merged([message(text="长" * 121), message(image="https://p.example/1.png")]) == (
        "长" * 121 + "\n\n图片\nhttps://p.example/1.png"
    )


@given(st.text(st.sampled_from("ab 长👩‍👩‍👧é\n。"), max_size=3_000))
def test_a_long_text_is_cut_between_characters_and_nothing_is_lost(long: str) -> None:
    first, rest = cut_reply(long, "…")
    assert len(first.encode()) <= 2_048
    whole = first if not rest else first.removesuffix("…") + rest
    assert "".join(whole.split()) == "".join(long.split())
    if rest:
        boundary = len(first) - 1
        assert boundary in {found.end() for found in regex.finditer(r"\X", long)}


# ---- what a choice stands for ----


def test_an_entry_of_a_menu_and_a_number_are_their_buttons() -> None:
    body = {"text": "?", "buttons": [LINK, *YES_NO]}
    assert seq_of_entry("4.2") == 4
    assert payload_of_entry("4.2", body) == "/deny"
    assert payload_of_entry("4.3", body) is payload_of_entry("4.0", body) is payload_of_entry("x", body) is None
    assert payload_of_number(1, [{"text": "first"}, body, {"text": "last"}]) == "/affirm"
    assert payload_of_number(3, [body]) is payload_of_number(0, [body]) is payload_of_number(1, []) is None
    assert payload_of_number(1, [body, {"text": "?", "buttons": [BUY]}]) == BUY["payload"]
