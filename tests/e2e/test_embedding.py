"""The widget as a guest in somebody else's page: one line, another origin, a strict policy, rude style sheets."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from playwright.sync_api import Route as PageRoute
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from connectors.memory import MemoryPorts
from tests.e2e.chat_page import ChatPage
from tests.e2e.conftest import ScriptedShop, ShopBot

WIDGET = Path(__file__).parents[2] / "connectors" / "widget"
DOCS = Path(__file__).parents[2] / "docs"
LOADER_BYTES = 15 * 1024
ALL_BYTES = 60 * 1024


def test_the_widget_is_small() -> None:
    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in WIDGET.iterdir() if path.is_file()}
    assert {"kefu.js", "app.js", "widget.css"} <= set(sizes)
    assert sizes["kefu.js"] <= LOADER_BYTES
    assert sum(sizes.values()) <= ALL_BYTES


def test_what_a_page_really_loads_is_small_too(page: Page, shop: ScriptedShop) -> None:
    loaded: dict[str, int] = {}
    page.on("response", lambda answer: loaded.update({answer.url: len(gzip.compress(answer.body()))}))
    ChatPage(page, shop.url).visit().open()
    page.wait_for_load_state("networkidle")
    widget = {url: size for url, size in loaded.items() if "/widget/" in url}
    assert len(widget) > 10
    assert sum(widget.values()) <= ALL_BYTES


def test_no_markup_and_no_code_is_made_from_text() -> None:
    for path in WIDGET.rglob("*.js"):
        source = path.read_text()
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert word not in source, f"{path.name} uses {word}"


def test_every_text_exists_in_both_languages(page: Page, shop: ScriptedShop) -> None:
    page.goto(f"{shop.url}/demo/")
    english, chinese = page.evaluate(
        """async () => {
            const { textsFor } = await import('/widget/texts.js');
            const kinds = (locale) => Object.entries(textsFor(locale)).map(([key, value]) => [key, typeof value]);
            return [kinds('en'), kinds('zh')];
        }"""
    )
    assert english == chinese


GUEST = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A shop</title>
<link rel="stylesheet" href="/rude.css"></head><body><main><h1>A shop</h1><button id="mine">Mine</button></main>
<script src="{server}/widget/kefu.js" data-title="Guest &amp; Co" data-position="left" async></script></body></html>"""
RUDE = """* { color: red !important; font-size: 40px !important; } div, button, section { display: none !important; }
kefu-chat { --kefu-primary: #204060; position: static; display: none; }"""


def guest_app(server: str) -> Starlette:
    """A page under the strictest policy that docs/webchat-protocol.md promises to work with."""
    policy = (
        f"default-src 'none'; script-src {server}; style-src 'self'; img-src {server}; "
        f"connect-src {server} {server.replace('http', 'ws', 1)}; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )

    async def page(_: Request) -> HTMLResponse:
        return HTMLResponse(GUEST.format(server=server), headers={"Content-Security-Policy": policy})

    async def style(_: Request) -> HTMLResponse:
        return HTMLResponse(RUDE, media_type="text/css")

    return Starlette(routes=[Route("/", page), Route("/rude.css", style)])


def embed(shop: ScriptedShop) -> str:
    """The address of somebody else's page with that shop's widget in it."""
    # Another host name and port, so that nothing works because it is the same origin.
    return "http://" + shop.also_serve(guest_app(shop.url)).replace("127.0.0.1", "localhost")


@pytest.fixture
def guest(shop: ScriptedShop) -> str:
    return embed(shop)


def test_it_works_on_another_origin_under_a_strict_policy(guest: str, page: Page, bot: ShopBot) -> None:
    chat = ChatPage(page, guest).visit("/").open()
    chat.say("menu")
    chat.log.get_by_role("button", name="Where is my order?").click()
    chat.hears("What is your order number?")
    page.reload()
    chat.open()
    chat.hears("What is your order number?")
    assert bot.texts == ["menu", "/order_status"]


def test_the_pages_style_stays_outside_and_ours_inside(guest: str, page: Page) -> None:
    chat = ChatPage(page, guest).visit("/").open()
    expect(chat.panel).to_have_accessible_name("Chat with Guest & Co")
    style = chat.panel.evaluate("panel => { const s = getComputedStyle(panel); return [s.fontSize, s.color]; }")
    assert style == ["15px", "rgb(46, 35, 28)"]
    header = chat.chat.locator(".kefu-header")
    assert header.evaluate("header => getComputedStyle(header).backgroundColor") == "rgb(32, 64, 96)"
    box = chat.panel.bounding_box()
    assert box is not None
    assert box["x"] < 100
    assert page.locator("h1").evaluate("h1 => getComputedStyle(h1).fontSize") == "40px"


def test_a_page_that_is_not_allowed_is_told_so(page: Page, scripted: Callable[..., ScriptedShop], bot: ShopBot) -> None:
    shop = scripted(MemoryPorts(bot), allowed_origins=["https://shop.example"])
    chat = ChatPage(page, embed(shop)).visit("/").open()
    expect(chat.offline).to_contain_text("This page may not open the chat")
    chat.say("hello")
    assert bot.texts == []


# ---- window.Kefu ----


def test_a_new_visitor_costs_no_connection_until_the_chat_is_opened(page: Page, shop: ScriptedShop) -> None:
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    chat = ChatPage(page, shop.url).visit()
    page.wait_for_load_state("networkidle")
    assert sockets == []
    chat.open()
    expect(chat.chat).to_have_attribute("data-state", "online")
    assert len(sockets) == 1


def test_a_page_can_drive_the_chat(page: Page, shop: ScriptedShop, bot: ShopBot) -> None:
    chat = ChatPage(page, shop.url).visit()
    page.evaluate(
        """() => { window.heard = [];
            for (const name of ['open', 'close', 'message', 'sent', 'locale']) Kefu.on(name, () => heard.push(name));
            const never = () => heard.push('never');
            Kefu.on('open', never);
            Kefu.off('open', never);
            Kefu.on('open', () => { throw new Error('a listener that fails'); });
        }"""
    )
    page.evaluate("Kefu.toggle()")
    expect(chat.panel).to_be_visible()
    page.evaluate("Kefu.send('from the page')")
    chat.hears("You said from the page")
    page.evaluate("Kefu.send({ payload: '/order_status', title: 'My order' })")
    chat.hears("What is your order number?")
    page.evaluate("Kefu.setLocale('zh-CN')")
    expect(chat.panel).to_have_accessible_name("与灯与织聊天")
    page.evaluate("Kefu.close()")
    expect(chat.panel).to_be_hidden()
    heard = page.evaluate("heard")
    assert set(heard) == {"open", "close", "message", "sent", "locale"}
    assert heard.count("sent") == 2
    page.evaluate("Kefu.destroy()")
    expect(chat.chat).to_have_count(0)
    assert page.evaluate("'Kefu' in window") is False


def test_every_method_and_event_has_its_type(page: Page, shop: ScriptedShop) -> None:
    ChatPage(page, shop.url).visit()
    types = (WIDGET / "kefu.d.ts").read_text(encoding="utf-8")
    api = types[types.index("interface KefuApi") :].partition("\n}")[0]
    typed = set(re.findall(r"^  (?:readonly )?(\w+)[(:<]", api, re.MULTILINE))
    assert typed == set(page.evaluate("Object.keys(Kefu)"))
    events = types[types.index("interface KefuEvents") :].partition("\n}")[0]
    named = set(re.findall(r"^  (\w+):", events, re.MULTILINE))
    documented = set(re.findall(r"^\| `(\w+)` \|", (DOCS / "widget.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"open", "close", "message", "unread", "error", "ready"} <= named <= documented
    assert typed - {"version"} <= documented


def test_a_script_that_is_there_twice_is_one_chat(page: Page, shop: ScriptedShop) -> None:
    chat = ChatPage(page, shop.url).visit()
    page.add_script_tag(url="/widget/kefu.js")
    expect(chat.chat).to_have_count(1)


def test_the_demo_page_explains_each_turn(page: Page, scripted: Callable[..., ScriptedShop], bot: ShopBot) -> None:
    shop = scripted(MemoryPorts(bot), debug=True)
    turn = {
        "text": "<b>where</b>",
        "intent": "order_status",
        "confidence": 0.93,
        "ranking": [{"name": "order_status", "confidence": 0.93}, {"name": "inform", "confidence": 0.04}],
        "entities": [{"entity": "order_number", "value": "A-1001"}],
        "slots": {"language": "en"},
        "sentiment": {"label": "neutral"},
        "language": "en",
        "model_version": "20261123T1",
        "decisions": [
            {"action": "order_status_form", "policy": "RulePolicy", "confidence": 1.0, "why": "rule 'Ask for an order'"}
        ],
    }
    asked: list[str | None] = []

    def explain(route: PageRoute) -> None:
        asked.append(route.request.headers.get("x-kefu-visitor"))
        route.fulfill(json={"turns": [turn]})

    page.route(f"{shop.url}/demo/debug", explain)
    page.goto(f"{shop.url}/demo/?lang=en&debug")
    panel = page.get_by_role("complementary", name="Debug")
    for words in ("<b>where</b>", "order_status", "93.0 %", "A-1001", "neutral", "rule 'Ask for an order'"):
        expect(panel).to_contain_text(words)
    assert asked
    assert all(asked), "the visitor's token goes in the header, never in an address that gets logged"


def test_what_ends_after_the_chat_was_closed_tells_no_other_tab(page: Page, shop: ScriptedShop) -> None:
    page.goto(f"{shop.url}/demo/")
    told = page.evaluate(
        """async () => {
            const { Tabs } = await import('/widget/tabs.js');
            const tabs = new Tabs(location.origin);
            tabs.close();
            tabs.tell('late');
            return true;
        }"""
    )
    assert told
