"""Rasa's bot messages as rich parts, as Rasa's REST objects, and as plain text."""

from __future__ import annotations

import json
from typing import Any

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import (
    Button,
    Buttons,
    Card,
    Carousel,
    ChannelLimits,
    File,
    Form,
    Image,
    QuickReplies,
    Rating,
    Text,
)
from connectors.rendering import degrade, parts, rasa_messages, safe_url, split_text
from tests.rich_messages import BODIES

BUTTONS = [{"title": "Yes", "payload": "/affirm"}, {"title": "No", "payload": "/deny"}]
TEXT_ONLY = ChannelLimits(max_text_chars=80, has_buttons=False, has_images=False, has_cards=False)


def test_text_becomes_one_text_part() -> None:
    assert parts({"text": "Hello\n\nthere"}) == [Text(text="Hello\n\nthere")]


def test_buttons_carry_the_text() -> None:
    expected = Buttons(
        text="Sure?", buttons=(Button(title="Yes", payload="/affirm"), Button(title="No", payload="/deny"))
    )
    assert parts({"text": "Sure?", "buttons": BUTTONS}) == [expected]


def test_quick_replies_win_over_buttons_as_in_rasa() -> None:
    [part] = parts({"text": "Sure?", "buttons": BUTTONS, "quick_replies": BUTTONS[:1]})
    assert part == QuickReplies(text="Sure?", buttons=(Button(title="Yes", payload="/affirm"),))


def test_a_button_without_payload_sends_its_title() -> None:
    [part] = parts({"text": "?", "buttons": [{"title": "Red"}]})
    assert isinstance(part, Buttons)
    assert part.buttons == (Button(title="Red", payload="Red"),)


def test_buttons_that_cannot_be_shown_leave_the_text() -> None:
    assert parts({"text": "?", "buttons": [{"payload": "/x"}, "no button"]}) == [Text(text="?")]


def test_parts_come_in_rasas_sending_order() -> None:
    body = {
        "elements": [{"title": "One"}, {"title": "Two"}],
        "attachment": "https://shop.example/files/label%20A.pdf",
        "image": "https://shop.example/lamp.png",
        "custom": {"type": "rating", "text": "How was it?"},
        "text": "Hi",
    }
    assert parts(body) == [
        Text(text="Hi"),
        Rating(text="How was it?"),
        Image(url="https://shop.example/lamp.png"),
        File(url="https://shop.example/files/label%20A.pdf", name="label A.pdf"),
        Carousel(cards=(Card(title="One"), Card(title="Two"))),
    ]


def test_the_image_that_rasa_repeats_as_attachment_is_shown_once() -> None:
    assert parts({"image": "/lamp.png", "attachment": "/lamp.png"}) == [Image(url="/lamp.png")]


@pytest.mark.parametrize(
    ("custom", "expected"),
    [
        (
            {"type": "card", "title": "Lamp", "image": "/l.png", "buttons": [{"title": "See", "url": "/lamp"}]},
            [Card(title="Lamp", image_url="/l.png", buttons=(Button(title="See", url="/lamp"),))],
        ),
        (
            {"type": "carousel", "cards": [{"title": "A"}, {"title": "B"}]},
            [Carousel(cards=(Card(title="A"), Card(title="B")))],
        ),
        ({"type": "image", "url": "/l.png", "alt": "A lamp"}, [Image(url="/l.png", alt="A lamp")]),
        ({"type": "file", "url": "/a.pdf", "name": "Label"}, [File(url="/a.pdf", name="Label")]),
        ({"type": "form", "slot": "email", "input": "email"}, [Form(slot="email", input="email")]),
        (
            {"type": "quick_replies", "text": "?", "buttons": [{"title": "Yes"}]},
            [QuickReplies(text="?", buttons=(Button(title="Yes", payload="Yes"),))],
        ),
        ({"type": "hologram"}, []),
        ({"card": {"title": "Rasa's users put anything here"}}, []),
        ({"type": "rating", "max": "many"}, []),
        ({"type": "card"}, []),
        ({"type": "file", "url": "javascript:alert(1)", "name": "Label"}, []),
        ("text", []),
        ([1], []),
    ],
)
def test_custom_payloads_fit_the_schema_or_are_left_out(custom: object, expected: list[object]) -> None:
    assert parts({"custom": custom}) == expected


def test_facebook_templates_become_cards() -> None:
    attachment = {"type": "template", "payload": {"elements": [{"title": "Lamp", "subtitle": "€ 89.90"}]}}
    assert parts({"attachment": attachment}) == [Card(title="Lamp", subtitle="€ 89.90")]


@pytest.mark.parametrize(
    "url",
    ["https://a.example/x?y=1#z", "http://a.example", "/a/b", "a/b.png", "?x=1", "mailto:a@b.example", "tel:+4930"],
)
def test_urls_that_a_browser_may_open(url: str) -> None:
    assert safe_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "java\tscript:alert(1)",
        "\x01javascript:alert(1)",
        "javascript\u200b:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:x",
        "blob:https://a.example/1",
        "file:///etc/passwd",
        "\\\\evil.example\\x",
        "ｊavascript:alert(1)",
        "http://[a.example/x",
        "//[",
        "",
        None,
        7,
    ],
)
def test_urls_that_it_may_not(url: object) -> None:
    assert safe_url(url) is None


def test_an_attachment_without_an_address_is_left_out() -> None:
    assert parts({"text": "Hi", "attachment": "http://[a.example/x"}) == [Text(text="Hi")]


def test_unsafe_links_and_pictures_are_left_out() -> None:
    body = {
        "text": "Hi",
        "buttons": [{"title": "Bad", "url": "javascript:alert(1)"}, {"title": "Good", "url": "https://a.example"}],
        "image": "data:image/svg+xml,<svg onload=alert(1)>",
    }
    assert parts(body) == [Buttons(text="Hi", buttons=(Button(title="Good", url="https://a.example"),))]


@given(BODIES)
def test_no_body_breaks_rendering(body: dict[str, Any]) -> None:
    for part in parts(body):
        json.dumps(part.model_dump())
        assert degrade(part, TEXT_ONLY) is not None
    json.dumps(rasa_messages(body, "x"))


# ---- Rasa's REST objects ----


def test_rest_splits_text_at_empty_lines() -> None:
    assert rasa_messages({"text": " One\n\nTwo\nthree \n"}, "me") == [
        {"recipient_id": "me", "text": "One"},
        {"recipient_id": "me", "text": "Two\nthree"},
    ]


def test_rest_keeps_text_with_buttons_whole() -> None:
    [message] = rasa_messages(
        {"text": "One\n\nTwo", "buttons": [{"title": "A", "payload": "/a", "extra": "kept"}]}, "me"
    )
    assert message == {
        "recipient_id": "me",
        "text": "One\n\nTwo",
        "buttons": [{"title": "A", "payload": "/a", "extra": "kept"}],
    }


def test_rest_order_of_a_full_message() -> None:
    body = {
        "text": "t",
        "custom": {"a": 1},
        "image": "i",
        "attachment": "f",
        "elements": [{"title": "T", "subtitle": "S"}, {"title": "U", "buttons": BUTTONS}],
    }
    assert [list(message) for message in rasa_messages(body, "me")] == [
        ["recipient_id", "text"],
        ["recipient_id", "custom"],
        ["recipient_id", "image"],
        ["recipient_id", "attachment"],
        ["recipient_id", "text", "buttons"],
        ["recipient_id", "text", "buttons"],
    ]
    assert [message.get("text") for message in rasa_messages(body, "me")[-2:]] == ["T : S", "U : "]


def test_rest_answers_as_the_recorded_rasa_did() -> None:
    # The `bot` event and the REST answer of the recorded turn labbot_rich.
    body = {
        "text": "rich",
        "buttons": [{"title": "set gold", "payload": '/say_tier{"tier":"gold"}', "extra": "kept"}],
        "attachment": "https://example.invalid/a.png",
        "image": "https://example.invalid/a.png",
        "custom": {"card": {"title": "t None", "n": 3}},
    }
    assert rasa_messages(body, "r") == [
        {
            "recipient_id": "r",
            "text": "rich",
            "buttons": [{"title": "set gold", "payload": '/say_tier{"tier":"gold"}', "extra": "kept"}],
        },
        {"recipient_id": "r", "custom": {"card": {"title": "t None", "n": 3}}},
        {"recipient_id": "r", "image": "https://example.invalid/a.png"},
    ]


# ---- plain text ----


def test_buttons_become_numbers_where_there_are_none() -> None:
    part = Buttons(
        text="Which?", buttons=(Button(title="Red", payload="/red"), Button(title="More", url="https://a.example"))
    )
    assert degrade(part, TEXT_ONLY) == [Text(text="Which?\n1. Red\n2. More: https://a.example")]
    assert degrade(part, ChannelLimits()) == [part]
    assert degrade(part, ChannelLimits(max_buttons=1)) == [Text(text="Which?\n1. Red\n2. More: https://a.example")]


def test_cards_become_picture_and_text() -> None:
    card = Card(title="Lamp", subtitle="€ 89.90", image_url="/l.png", buttons=(Button(title="Buy", payload="/buy"),))
    assert degrade(Carousel(cards=(card,)), TEXT_ONLY) == [
        Text(text="Lamp: /l.png"),
        Text(text="Lamp\n€ 89.90\n1. Buy"),
    ]
    with_images = ChannelLimits(has_cards=False)
    assert degrade(card, with_images) == [
        Image(url="/l.png", alt="Lamp"),
        Buttons(text="Lamp\n€ 89.90", buttons=(Button(title="Buy", payload="/buy"),)),
    ]


def test_long_text_is_cut_at_the_last_sentence_that_fits() -> None:
    text = "One sentence is here. " * 6 + "The last one is here."
    pieces = degrade(Text(text=text), TEXT_ONLY)
    assert all(isinstance(piece, Text) and len(piece.text) <= 80 and piece.text.endswith(".") for piece in pieces)
    assert " ".join(piece.text for piece in pieces if isinstance(piece, Text)) == text


FAMILY = "👨‍👩‍👧‍👦"  # seven code points, 25 bytes


@pytest.mark.parametrize(("unit", "size"), [("characters", 20), ("utf8_bytes", 60)])
@pytest.mark.parametrize("text", [FAMILY * 30, "e\u0301" * 100, "你好" * 90 + FAMILY * 9, "🇨🇳" * 50])
def test_what_people_see_as_one_character_is_not_cut(text: str, unit: str, size: int) -> None:
    limits = ChannelLimits(max_text_chars=size, text_unit=unit)
    pieces = split_text(text, limits)
    assert "".join(pieces) == text
    assert all((len(piece) if unit == "characters" else len(piece.encode())) <= size for piece in pieces)
    whole = regex.findall(r"\X", text)
    assert [grapheme for piece in pieces for grapheme in regex.findall(r"\X", piece)] == whole


def test_a_single_character_longer_than_the_channel_takes_is_cut_all_the_same() -> None:
    text = "a" + "\u0301" * 50
    assert "".join(split_text(text, ChannelLimits(max_text_chars=10))) == text
    assert all(len(piece) <= 10 for piece in split_text(text, ChannelLimits(max_text_chars=10)))


@given(st.text(max_size=400))
def test_cutting_loses_nothing_but_space(text: str) -> None:
    pieces = degrade(Text(text=text), TEXT_ONLY)
    shown = "".join(piece.text for piece in pieces if isinstance(piece, Text))
    assert "".join(shown.split()) == "".join(text.split())
    assert all(len(piece.text) <= 80 for piece in pieces if isinstance(piece, Text))
