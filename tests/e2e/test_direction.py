"""From right to left: a page in Arabic turns the whole widget round; one page may turn it by an attribute."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from connectors.memory import MemoryPorts
from tests.e2e.chat_page import ChatPage
from tests.e2e.conftest import ScriptedShop, ShopBot
from tests.e2e.test_around import CSAT, HOURS
from tests.e2e.test_rich import CARDS

ARABIC = {
    "name": "فانوس ونول",
    "assistant_name": "لومي",
    "greeting": "مرحبا! أنا لومي. كيف يمكنني مساعدتك؟",
    "disclosure": {"enabled": True, "text": "أنا مساعد آلي."},
}
PAGES = {
    "page": '<html lang="ar" dir="rtl"><script src="/widget/kefu.js" async></script>',
    "attribute": '<html lang="en"><script src="/widget/kefu.js" data-dir="rtl" async></script>',
}


def with_pages(app: ASGIApp) -> ASGIApp:
    """The shop, and a page of each kind in front of it."""

    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse(f"<!doctype html>{PAGES[request.path_params['kind']]}<title>متجر</title><p>متجر")

    return Starlette(routes=[Route("/pages/{kind}", page), Mount("/", app)])


@pytest.fixture(params=list(PAGES))
def chat(request: pytest.FixtureRequest, page: Page, scripted: Callable[..., ScriptedShop], bot: ShopBot) -> ChatPage:
    brand = {**ARABIC, "hours": HOURS, "csat": CSAT}
    shop = scripted(MemoryPorts(bot), brand=brand, around=with_pages)
    page.clock.set_fixed_time("2026-11-28T10:00:00Z")
    bot.answers["مصابيح"] = [
        {"text": "هذا الخريف:"},
        {"custom": {"type": "carousel", "cards": CARDS}},
        {"custom": {"type": "rating", "text": "كيف كان ذلك؟"}},
    ]
    chat = ChatPage(page, shop.url).visit(f"/pages/{request.param}").open()
    chat.say("مصابيح")
    chat.hears("كيف كان ذلك؟")
    return chat


def middle(locator: Locator) -> float:
    box = locator.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2


def test_everything_is_turned_round(chat: ChatPage, page: Page, shot: Callable[[str], None]) -> None:
    shot("rtl")
    assert middle(chat.panel) < 640
    close, avatar = chat.panel.get_by_role("button", name="Close chat"), chat.panel.locator(".kefu-avatar")
    assert middle(close) < middle(chat.panel) < middle(avatar)
    assert middle(chat.confirmed("own").last.locator(".kefu-bubble")) < middle(chat.panel)
    assert middle(chat.confirmed("bot").first.locator(".kefu-bubble")) > middle(chat.panel)
    send = chat.panel.get_by_role("button", name="Send", exact=True)
    assert middle(send) < middle(chat.input)
    assert "-1" in send.locator("svg").evaluate("svg => getComputedStyle(svg).transform")
    assert chat.panel.evaluate("panel => panel.scrollWidth <= panel.clientWidth")


def test_stars_and_cards_go_the_other_way(chat: ChatPage, page: Page) -> None:
    first, last = (chat.log.locator(".kefu-star").nth(number) for number in (0, 4))
    assert middle(first) > middle(last)
    strip = chat.log.get_by_role("group", name="4 suggestions")
    strip.focus()
    before = middle(strip.get_by_role("article").nth(1))
    page.keyboard.press("ArrowLeft")
    expect(chat.log.get_by_role("button", name="Previous")).to_have_attribute("aria-disabled", "false")
    page.wait_for_function(
        "([card, before]) => card.getBoundingClientRect().left > before",
        arg=[strip.get_by_role("article").nth(1).element_handle(), before],
    )
    page.keyboard.press("ArrowRight")
    expect(chat.log.get_by_role("button", name="Previous")).to_have_attribute("aria-disabled", "true")
