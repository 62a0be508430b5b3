"""What the bot shows besides text: choices that go, cards that move, stars that are a question, fields that fit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.e2e.chat_page import ChatPage
from tests.e2e.conftest import ScriptedShop, ShopBot

Shot = Callable[[str], None]
CARDS = [
    {"title": "Paper lantern", "subtitle": "€49.00", "image_url": "/demo/lantern.svg"},
    {"title": "Wool throw", "subtitle": "€74.50", "image_url": "/demo/throw.svg"},
    {"title": "Brass reading lamp", "subtitle": "€89.90", "image_url": "/demo/lamp.svg"},
    {
        "title": "Velvet cushions",
        "subtitle": "€59.80",
        "image_url": "/demo/cushion.svg",
        "buttons": [{"title": "Order it", "payload": "/order"}],
    },
]


@pytest.fixture
def chat(page: Page, shop: ScriptedShop, bot: ShopBot) -> ChatPage:
    bot.answers["lamps"] = [{"text": "This autumn:"}, {"custom": {"type": "carousel", "cards": CARDS}}]
    bot.answers["rate"] = [{"custom": {"type": "rating", "text": "How was it?", "max": 5}}]
    return ChatPage(page, shop.url).visit().open()


IS_FIRST = """([strip, title]) => {
    const card = [...strip.children].find((one) => one.getAttribute('aria-label') === title);
    return Math.abs(card.getBoundingClientRect().left - strip.getBoundingClientRect().left - 14) < 6;
}"""


def until_at_the_start(strip: Locator, title: str) -> None:
    """Wait until this card is the first one that is wholly seen."""
    strip.page.wait_for_function(IS_FIRST, arg=[strip.element_handle(), title])


def test_quick_replies_go_when_one_is_pressed_also_without_a_server(
    chat: ChatPage, bot: ShopBot, shop: ScriptedShop
) -> None:
    bot.answers["quick"] = [{"text": "Really?", "quick_replies": [{"title": "Yes", "payload": "/affirm"}]}]
    chat.say("quick")
    reply = chat.log.get_by_role("button", name="Yes")
    expect(reply).to_be_visible()
    shop.stop()
    expect(chat.offline).to_contain_text("No connection")
    reply.click()
    expect(reply).to_have_count(0)
    expect(chat.input).to_be_focused()
    shop.start()
    chat.hears("You said /affirm")
    assert bot.texts == ["quick", "/affirm"]


def test_a_carousel_is_moved_by_its_buttons(chat: ChatPage, page: Page, shot: Shot) -> None:
    chat.say("lamps")
    strip = chat.log.get_by_role("group", name="4 suggestions; use the arrow keys")
    following, previous = (chat.log.get_by_role("button", name=name) for name in ("Next", "Previous"))
    expect(previous).to_have_attribute("aria-disabled", "true")
    until_at_the_start(strip, "Paper lantern")
    shot("carousel")
    following.click()
    until_at_the_start(strip, "Wool throw")
    expect(previous).to_have_attribute("aria-disabled", "false")
    previous.click()
    until_at_the_start(strip, "Paper lantern")


def test_a_carousel_is_moved_by_the_arrow_keys(chat: ChatPage, page: Page, bot: ShopBot) -> None:
    chat.say("lamps")
    strip = chat.log.get_by_role("group", name="4 suggestions")
    strip.focus()
    page.keyboard.press("ArrowRight")
    until_at_the_start(strip, "Wool throw")
    page.keyboard.press("End")
    expect(chat.log.get_by_role("button", name="Next")).to_have_attribute("aria-disabled", "true")
    page.keyboard.press("Home")
    until_at_the_start(strip, "Paper lantern")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    chat.hears("You said /order")
    assert bot.texts == ["lamps", "/order"]


def test_a_carousel_is_moved_by_a_finger(page: Page, shop: ScriptedShop, chat: ChatPage) -> None:
    chat.say("lamps")
    strip = chat.log.get_by_role("group", name="4 suggestions")
    until_at_the_start(strip, "Paper lantern")
    expect(chat.log.get_by_role("img")).to_have_count(4)
    box = strip.bounding_box()
    assert box is not None
    touch = page.context.new_cdp_session(page)
    x, y = box["x"] + 240, box["y"] + 60
    touch.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 12):
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x - 16 * step, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    until_at_the_start(strip, "Wool throw")


def test_stars_are_a_radio_group_that_the_keyboard_answers(
    chat: ChatPage, page: Page, bot: ShopBot, shot: Shot
) -> None:
    chat.say("rate")
    expect(chat.log.get_by_role("radiogroup", name="Rating")).to_be_visible()
    send = chat.log.get_by_role("button", name="Send rating")
    expect(send).to_be_disabled()
    chat.log.get_by_role("radio", name="1 of 5").focus()
    page.keyboard.press("Space")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(chat.log.get_by_role("radio", name="4 of 5")).to_be_checked()
    shot("rating")
    page.keyboard.press("Enter")
    chat.hears("You said 4")
    assert bot.texts == ["rate", "4"]
    assert bot.received[-1].metadata["title"] == "4 of 5"


def test_ten_points_are_numbers(chat: ChatPage, bot: ShopBot) -> None:
    bot.answers["nps"] = [{"custom": {"type": "rating", "text": "Would you recommend us?", "max": 10}}]
    chat.say("nps")
    chat.log.locator(".kefu-star", has_text="9").click()
    chat.log.get_by_role("button", name="Send rating").click()
    chat.hears("You said 9")


@pytest.mark.parametrize(
    ("hint", "attribute", "value"),
    [("email", "type", "email"), ("tel", "type", "tel"), ("number", "inputmode", "numeric"), ("text", "rows", "1")],
)
def test_a_form_shows_the_right_field(chat: ChatPage, bot: ShopBot, hint: str, attribute: str, value: str) -> None:
    bot.answers["form"] = [{"custom": {"type": "form", "slot": "it", "input": hint, "text": "Tell me."}}]
    chat.say("form")
    chat.hears("Tell me.")
    expect(chat.input).to_have_attribute(attribute, value)
    expect(chat.input).to_be_focused()
    chat.say("12")
    chat.hears("You said 12")
    expect(chat.input).to_have_attribute("rows", "1")
    assert bot.texts == ["form", "12"]


def test_a_date_can_be_chosen_or_written(chat: ChatPage, bot: ShopBot) -> None:
    bot.answers["when"] = [{"custom": {"type": "form", "slot": "day", "input": "date", "text": "Which day?"}}]
    chat.say("when")
    chat.hears("Which day?")
    chat.panel.get_by_label("Choose a date").fill("2026-12-24")
    expect(chat.input).to_have_value("2026-12-24")
    chat.input.press("Enter")
    chat.hears("You said 2026-12-24")
    expect(chat.panel.get_by_label("Choose a date")).to_be_hidden()


def test_a_file_says_what_it_is(chat: ChatPage, bot: ShopBot, context: BrowserContext) -> None:
    bot.answers["label"] = [{"attachment": "https://a.example/return-label.pdf"}, {"image": "/demo/lamp.svg"}]
    chat.say("label")
    file = chat.log.get_by_role("link", name="Download return-label.pdf")
    expect(file).to_contain_text("PDF")
    expect(file).to_have_attribute("target", "_blank")
    expect(chat.log.get_by_role("link", name="Picture (opens in a new tab)")).to_have_attribute(
        "href", f"{chat.url}/demo/lamp.svg"
    )
