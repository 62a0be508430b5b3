"""A bot message as Slack shows it: golden renderings, and Slack's limits for any message, judged by slack_sdk."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.slack_blocks import MAX_BLOCKS, SlackPost, posts
from tests.slack_server import block_problem


def section(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}, **more}


def button(number: int, label: str, value: str) -> dict[str, Any]:
    text = {"type": "plain_text", "text": label, "emoji": True}
    return {"type": "button", "action_id": f"kefu:press:{number}", "text": text, "value": value}


def page(number: int, label: str, url: str) -> dict[str, Any]:
    text = {"type": "plain_text", "text": label, "emoji": True}
    return {"type": "button", "action_id": f"kefu:link:{number}", "text": text, "url": url}


def image(url: str, alt: str) -> dict[str, Any]:
    return {"type": "image", "image_url": url, "alt_text": alt}


def actions(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)}


YES_NO = [{"title": "Yes", "payload": "/affirm"}, {"title": "No", "payload": "/deny"}]
GOLDEN: dict[str, tuple[dict[str, Any], list[SlackPost]]] = {
    "text": ({"text": "2 < 3 & <!channel>"}, [SlackPost(text="2 &lt; 3 &amp; &lt;!channel&gt;")]),
    "buttons": (
        {"text": "Sure?", "buttons": [*YES_NO, {"title": "Terms", "url": "https://a.example/terms"}]},
        [
            SlackPost(
                text="Sure?\nYes, No, Terms",
                blocks=(
                    section("Sure?"),
                    actions(button(0, "Yes", "/affirm"), button(1, "No", "/deny"), page(2, "Terms", "https://a.example/terms")),
                ),
            )
        ],
    ),
    "quick replies": (
        {"text": "Sure?", "quick_replies": YES_NO},
        [
            SlackPost(
                text="Sure?\nYes, No",
                blocks=(section("Sure?"), actions(button(0, "Yes", "/affirm"), button(1, "No", "/deny"))),
            )
        ],
    ),
    "card": (
        {
            "custom": {
                "type": "card", "title": "Lamp & shade", "subtitle": "29 €", "image_url": "https://a.example/lamp.png",
                "buttons": [{"title": "Buy", "payload": "/buy"}],
            }
        },
        [
            SlackPost(
                text="*Lamp &amp; shade*\n29 €\nBuy",
                blocks=(
                    section(
                        "*Lamp &amp; shade*\n29 €",
                        accessory=image("https://a.example/lamp.png", "Lamp & shade"),
                    ),
                    actions(button(0, "Buy", "/buy")),
                ),
            )
        ],
    ),
    "carousel": (
        {"elements": [{"title": "A", "buttons": [YES_NO[0]]}, {"title": "B", "subtitle": "b", "buttons": [YES_NO[1]]}]},
        [
            SlackPost(
                text="*A*\nYes\n*B*\nb\nNo",
                blocks=(
                    section("*A*"), actions(button(0, "Yes", "/affirm")), {"type": "divider"},
                    section("*B*\nb"), actions(button(1, "No", "/deny")),
                ),
            )
        ],
    ),
    "image": (
        {"text": "Here:", "image": "https://a.example/x.png"},
        [
            SlackPost(
                text="Here:\nhttps://a.example/x.png",
                blocks=(section("Here:"), image("https://a.example/x.png", "image")),
            )
        ],
    ),
    "file": (
        {"custom": {"type": "file", "url": "https://a.example/bill.pdf?a=1&b=2", "name": "Your <bill>"}},
        [SlackPost(text="<https://a.example/bill.pdf?a=1&amp;b=2|Your &lt;bill&gt;>")],
    ),
    "form": ({"custom": {"type": "form", "slot": "email", "text": "Your address?"}}, [SlackPost(text="Your address?")]),
    "rating": (
        {"custom": {"type": "rating", "text": "How was it?", "max": 3}},
        [
            SlackPost(
                text="How was it?\n1, 2, 3",
                blocks=(section("How was it?"), actions(*(button(n, str(n + 1), str(n + 1)) for n in range(3)))),
            )
        ],
    ),
    "a value that slack would cut": (
        {"text": "Which?", "buttons": [{"title": "This", "payload": "x" * 2_001}, YES_NO[1]]},
        [SlackPost(text="Which?\n1. This\n2. No")],
    ),
    "a page that is not on the web": (
        {"text": "Call us", "buttons": [{"title": "Call", "url": "tel:+4930123"}]},
        [SlackPost(text="Call us\n1. Call: tel:+4930123")],
    ),
    "an image that is not on the web": ({"image": "/lamp.png"}, [SlackPost(text="/lamp.png")]),
    "blocks of the author's own": (
        {"text": "First", "custom": {"text": "Pick", "blocks": [section("*Pick*")]}},
        [SlackPost(text="First"), SlackPost(text="Pick", blocks=(section("*Pick*"),))],
    ),
    "nothing that slack could show": ({"custom": {"type": "hologram"}}, []),
}  # fmt: skip


@pytest.mark.parametrize("name", list(GOLDEN))
def test_a_bot_message_is_shown_as(name: str) -> None:
    body, expected = GOLDEN[name]
    assert posts(body) == expected
    for post in expected:
        assert block_problem(list(post.blocks)) is None


def test_long_text_is_several_posts_and_none_is_cut_inside_an_entity() -> None:
    made = posts({"text": "tea & cake, " * 600})
    assert len(made) > 2
    assert all(len(post.text) <= 3_000 for post in made)
    assert "".join(post.text for post in made).replace("&amp;", "&").replace(" ", "") == "tea&cake," * 600


def test_a_hundred_buttons_are_four_rows_and_more_are_numbered_text() -> None:
    def buttons(count: int) -> dict[str, Any]:
        return {
            "text": "Pick",
            "buttons": [{"title": f"b{number}", "payload": f"/b{number}"} for number in range(count)],
        }

    made = posts(buttons(100))
    rows = [block["elements"] for post in made for block in post.blocks if block["type"] == "actions"]
    assert [len(row) for row in rows] == [25, 25, 25, 25]
    assert [element["value"] for row in rows for element in row] == [f"/b{number}" for number in range(100)]
    [plain] = posts(buttons(101))
    assert plain.blocks == ()
    assert plain.text.endswith("101. b100")


def test_a_carousel_too_long_for_one_post_is_several() -> None:
    cards = [
        {"title": f"Lamp {number}", "buttons": [{"title": "Buy", "payload": f"/buy{number}"}]} for number in range(60)
    ]
    made = posts({"elements": cards})
    assert len(made) > 1
    values = [e["value"] for post in made for block in post.blocks for e in block.get("elements", [])]
    assert values == [f"/buy{number}" for number in range(60)]


WORDS = st.text(alphabet="ab <&>|*`\n灯😀é", max_size=120) | st.text(max_size=40)
LONG = WORDS | st.integers(1, 9).map(lambda n: "long & text. " * 400 * n)
URLS = st.sampled_from(
    ["https://a.example/x", "/relative", "mailto:a@b.example", "https://a.example/" + "x" * 3_100, ""]
)
BUTTONS = st.lists(
    st.fixed_dictionaries({"title": WORDS}, optional={"payload": WORDS | st.just("x" * 2_100), "url": URLS}),
    max_size=60,
)
CARDS = st.fixed_dictionaries({"title": WORDS}, optional={"subtitle": LONG, "image_url": URLS, "buttons": BUTTONS})
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "text": LONG, "buttons": BUTTONS,
        "quick_replies": BUTTONS, "image": URLS, "attachment": URLS, "elements": st.lists(CARDS, max_size=30),
        "custom": st.fixed_dictionaries({"type": st.just("card"), "title": WORDS, "buttons": BUTTONS})
        | st.fixed_dictionaries({"type": st.just("rating"), "text": WORDS, "max": st.integers(-3, 400)}),
    },
)  # fmt: skip


@given(BODIES)
def test_whatever_the_bot_says_slack_takes(body: dict[str, Any]) -> None:
    for post in posts(body):
        assert post.text.strip()
        assert len(post.text) <= 3_000
        assert len(post.blocks) <= MAX_BLOCKS
        assert len(json.dumps(post.blocks, ensure_ascii=False)) <= 16_000
        assert block_problem(list(post.blocks)) is None
        for block in post.blocks:
            assert len(block.get("text", {}).get("text", "x")) <= 3_000
            assert block.get("text", {}).get("text", "x")
            for element in block.get("elements", []):
                assert 0 < len(element["text"]["text"]) <= 75
                assert len(element.get("value", "")) <= 2_000
