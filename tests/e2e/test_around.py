"""What stands around the conversation: the form before it, the hours, the transcript, the question at the end."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from connectors.memory import MemoryPorts
from tests.e2e.chat_page import ChatPage
from tests.e2e.conftest import ScriptedShop, ShopBot

Shot = Callable[[str], None]
Visit = Callable[..., ChatPage]
PRE_CHAT = {
    "text": {"en": "A few words about you.", "zh": "请先留下几项信息。"},
    "fields": [
        {"name": "name", "label": {"en": "Your name", "zh": "您的称呼"}, "input": "text", "is_required": False},
        {"name": "email", "label": {"en": "E-mail", "zh": "邮箱"}, "input": "email", "is_required": True},
    ],
}
CSAT = {"intent": "rate_chat", "text": {"en": "How was this chat?", "zh": "您对这次服务满意吗？"}, "max": 5}
HOURS: dict[str, Any] = {
    "timezone": "Europe/Berlin",
    "week": {day: [["09:00", "12:00"], ["13:00", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")},
    "closed_on": ["2026-12-24", "2026-12-25"],
    "closed_text": None,
}


@pytest.fixture
def visit(page: Page, scripted: Callable[..., ScriptedShop], bot: ShopBot) -> Visit:
    """`visit(brand…)`: the demo page of a shop with that in its brand."""

    def start(path: str = "/demo/?lang=en", **brand: object) -> ChatPage:
        return ChatPage(page, scripted(MemoryPorts(bot), brand=brand).url).visit(path)

    return start


# ---- the form before the chat ----


def test_a_new_visitor_is_asked_first_and_the_answers_go_with_the_first_message(
    visit: Visit, bot: ShopBot, page: Page, shot: Shot
) -> None:
    chat = visit(pre_chat=PRE_CHAT)
    chat.launcher.click()
    name, email = chat.panel.get_by_label("Your name (optional)"), chat.panel.get_by_label("E-mail")
    expect(name).to_be_focused()
    expect(chat.input).to_be_hidden()
    expect(email).to_have_attribute("type", "email")
    expect(email).to_have_attribute("autocomplete", "email")
    shot("pre-chat")
    chat.panel.get_by_role("button", name="Start chat").click()
    expect(email).to_be_focused()
    expect(email).to_have_accessible_description("Please fill this in.")
    email.fill("anna")
    page.keyboard.press("Enter")
    expect(email).to_have_accessible_description("Please enter a full e-mail address, like name@example.com.")
    expect(email).to_have_attribute("aria-invalid", "true")
    email.fill("anna@a.example")
    expect(email).to_have_attribute("aria-invalid", "false")
    name.fill("Anna")
    page.keyboard.press("Enter")
    expect(chat.input).to_be_focused()
    chat.say("hello")
    chat.hears("You said hello")
    chat.say("again")
    chat.hears("You said again")
    assert [message.metadata.get("context") for message in bot.received] == [
        {"name": "Anna", "email": "anna@a.example"},
        None,
    ]
    page.reload()
    chat.open()
    chat.hears("You said again")
    expect(chat.panel.get_by_role("button", name="Start chat")).to_have_count(0)


def test_the_form_speaks_the_customers_language(visit: Visit, page: Page, shot: Shot) -> None:
    chat = visit("/demo/?lang=zh", pre_chat=PRE_CHAT)
    chat.launcher.click()
    expect(chat.panel.get_by_label("邮箱")).to_be_visible()
    shot("pre-chat-zh")
    chat.panel.get_by_label("邮箱").fill("anna@a.example")
    chat.panel.get_by_role("button", name="Switch to English").click()
    expect(chat.panel.get_by_label("E-mail")).to_have_value("anna@a.example")
    expect(chat.panel.locator("form:visible")).to_have_count(1)


def test_a_person_is_in_reach_without_the_form(visit: Visit, bot: ShopBot) -> None:
    chat = visit(pre_chat=PRE_CHAT)
    chat.launcher.click()
    chat.panel.get_by_role("button", name="Talk to a person").click()
    chat.hears("a person will write to you")
    expect(chat.input).to_be_visible()
    assert bot.texts == ["/human_handoff"]


# ---- hours ----


@pytest.mark.parametrize(
    ("now", "notice"),
    [
        ("2026-11-30T08:59:00Z", None),  # Monday 09:59 in Berlin
        ("2026-11-30T11:30:00Z", "Our team is away. People answer again from 13:00."),
        ("2026-11-30T19:00:00Z", "Our team is away. People answer again from Tuesday 09:00."),
        ("2026-11-28T10:00:00Z", "Our team is away. People answer again from Monday 09:00."),
        # Two holidays and a weekend; in another zone than the shop's, the customer's own time is said.
        ("2026-12-23T20:00:00Z", "Our team is away. People answer again from Monday 09:00."),
    ],
)
def test_outside_the_hours_the_chat_says_when_people_are_back(
    visit: Visit, page: Page, now: str, notice: str | None, shot: Shot
) -> None:
    page.clock.set_fixed_time(now)
    chat = visit(hours=HOURS).open()
    note = chat.panel.get_by_role("note")
    if notice is None:
        expect(note).to_have_count(0)
    else:
        expect(note).to_have_text(notice)
        shot("closed")


def test_the_hours_are_told_in_the_customers_own_time(visit: Visit, page: Page) -> None:
    page.clock.set_fixed_time("2026-11-30T03:00:00Z")
    visit(hours={**HOURS, "timezone": "Asia/Shanghai", "week": {"mon": [["14:00", "18:00"]]}}).open()
    expect(page.locator("kefu-chat").get_by_role("note")).to_contain_text("from 07:00.")


def test_the_shop_may_say_it_in_its_own_words(visit: Visit, page: Page, shot: Shot) -> None:
    page.clock.set_fixed_time("2026-11-28T10:00:00Z")
    closed = {"en": "We weave until {opens}.", "zh": "{opens}再见。"}
    chat = visit("/demo/?lang=zh", hours={**HOURS, "closed_text": closed}).open()
    expect(chat.panel.get_by_role("note")).to_have_text(re.compile(r"^星期一\s?09:00再见。$"))
    shot("closed-zh")


# ---- transcript ----


def test_the_conversation_is_saved_as_text(visit: Visit, bot: ShopBot, page: Page) -> None:
    chat = visit().open()
    chat.say("menu")
    chat.hears("What can I do for you?")
    chat.panel.get_by_role("button", name="More").click()
    with page.expect_download() as download:
        chat.panel.get_by_role("menuitem", name="Save conversation").click()
    assert download.value.suggested_filename.startswith("Conversation with Lantern & Loom")
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    lines = [line for line in text.splitlines() if line]
    assert lines[0] == "Conversation with Lantern & Loom"
    assert lines[2].endswith("  You")
    assert lines[3] == "menu"
    assert lines[4].endswith("  Lumi")
    assert lines[5:] == ["What can I do for you?", "  • Where is my order?"]
    expect(chat.panel.get_by_role("alert")).to_contain_text("saved")


def test_printing_prints_the_conversation_and_nothing_else(visit: Visit, bot: ShopBot, page: Page, shot: Shot) -> None:
    page.add_init_script("window.print = () => { window.printed = true; }")
    chat = visit().open()
    for number in range(12):
        chat.say(f"message {number}")
        chat.hears(f"You said message {number}")
    chat.panel.get_by_role("button", name="More").click()
    chat.panel.get_by_role("menuitem", name="Print conversation").click()
    assert page.evaluate("printed") is True
    page.emulate_media(media="print")
    expect(page.locator("main")).to_be_hidden()
    expect(chat.log).to_be_visible()
    expect(chat.input).to_be_hidden()
    assert chat.log.evaluate("log => log.scrollHeight === log.clientHeight"), "all of it, not the part that was seen"
    shot("print")
    page.emulate_media(media="screen")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    expect(page.locator("main")).to_be_visible()
    page.emulate_media(media="print")
    expect(page.locator("main")).to_be_visible()
    expect(chat.log).to_be_hidden()


# ---- the question at the end ----


def test_at_the_end_the_customer_is_asked_how_it_was(visit: Visit, bot: ShopBot, page: Page, shot: Shot) -> None:
    bot.answers['/rate_chat{"rating":"4","comment":"quick, \\"kind\\""}'] = [{"text": "Thank you!"}]
    chat = visit(csat=CSAT).open()
    chat.panel.get_by_role("button", name="More").click()
    end = chat.panel.get_by_role("menuitem", name="End chat")
    expect(end).to_have_count(0)
    page.keyboard.press("Escape")
    chat.say("hello")
    chat.hears("You said hello")
    chat.panel.get_by_role("button", name="More").click()
    end.click()
    form = chat.panel.get_by_role("form", name="How was this chat?")
    expect(form.get_by_role("radio", name="1 of 5")).to_be_focused()
    expect(form.get_by_role("button", name="Send rating")).to_be_disabled()
    form.get_by_role("radio", name="4 of 5").check()
    form.get_by_role("textbox", name="Anything else?").fill('quick, "kind"')
    shot("csat")
    form.get_by_role("button", name="Send rating").click()
    expect(chat.panel).to_be_hidden()
    expect(chat.launcher).to_have_accessible_name("Open chat, 1 unread message")
    chat.open()
    chat.hears("Thank you!")
    expect(chat.confirmed("own").last).to_contain_text('Rating: 4 of 5 – quick, "kind"')
    assert bot.texts == ["hello", '/rate_chat{"rating":"4","comment":"quick, \\"kind\\""}']


def test_the_question_can_be_skipped(visit: Visit, bot: ShopBot) -> None:
    chat = visit(csat=CSAT).open()
    chat.say("hello")
    chat.hears("You said hello")
    chat.panel.get_by_role("button", name="More").click()
    chat.panel.get_by_role("menuitem", name="End chat").click()
    chat.panel.get_by_role("button", name="Skip").click()
    expect(chat.panel).to_be_hidden()
    chat.open()
    assert bot.texts == ["hello"]


# ---- what the page knows ----


def test_the_context_goes_with_the_next_message_when_it_changed(visit: Visit, bot: ShopBot, page: Page) -> None:
    chat = visit()
    page.evaluate("Kefu.setContext({ page: 'lamps', cart: { items: 2 }, secret: null })")
    chat.open().say("one")
    chat.hears("You said one")
    chat.say("two")
    chat.hears("You said two")
    page.evaluate("Kefu.setContext({ cart: null, page: 'linen' })")
    chat.say("three")
    chat.hears("You said three")
    assert [message.metadata.get("context") for message in bot.received] == [
        {"page": "lamps", "cart": {"items": 2}},
        None,
        {"page": "linen"},
    ]
