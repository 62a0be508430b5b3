"""A real Chromium, and a scripted shop that it can talk to, be cut off from and come back to."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from starlette.applications import Starlette
from starlette.types import ASGIApp

from connectors.base import InboundMessage, Ports
from connectors.memory import MemoryPorts
from connectors.webchat import WebChat
from tests.e2e.chromium import MISSING, find_chromium, launch
from tests.serving import serving

PATIENCE_MS = 20_000  # a page that is right waits for nothing; a busy machine may take seconds
expect.set_options(timeout=PATIENCE_MS)
SHOTS = Path(__file__).parent / "shots"
BRAND = {
    "name": {"en": "Lantern & Loom", "zh": "灯与织"},
    "assistant_name": {"en": "Lumi", "zh": "小灯"},
    "greeting": {"en": "Hello! I'm Lumi. How can I help?", "zh": "您好，我是小灯。有什么可以帮您？"},
    "disclosure": {"enabled": True, "text": {"en": "I'm an automated assistant.", "zh": "我是自动客服。"}},
    "reply_within": {"en": "within one working day", "zh": "一个工作日内"},
    "colors": {"primary": "#8A3D14", "on_primary": "#FFFFFF", "background": "#FFF9F1", "text": "#2E231C"},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium from the path, else Playwright's own; none: skipped here, a failure in CI.

    Not longer than this package: Playwright keeps an event loop running in the thread, where no other test could
    start one.
    """
    with sync_playwright() as playwright:
        path = find_chromium(playwright)
        if path is None:
            if os.environ.get("CI") == "true":
                pytest.fail(MISSING)
            pytest.skip(MISSING)
        browser = launch(playwright, path)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 820}, locale="en-GB", timezone_id="Europe/Berlin")
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page whose test fails when a script throws or the content security policy stops something."""
    problems: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if "Security Policy" in message.text else None)
    page.on("dialog", lambda dialog: problems.append(f"a dialog opened: {dialog.message}"))
    yield page
    assert not problems


class ScriptedShop:
    """The web chat over ports in memory, in a thread of its own; `stop` and `start` are a restart of the server.

    `brand` is laid over BRAND; `around` makes the app that is served out of the web chat's.
    """

    def __init__(
        self,
        ports: Ports,
        brand: Mapping[str, Any] | None = None,
        around: Callable[[ASGIApp], ASGIApp] = lambda app: app,
        **options: Any,
    ) -> None:
        self.ports, self._around = ports, around
        self._chat = WebChat(lambda: {**BRAND, **(brand or {})}, b"secret of the browser tests", **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack, self._others = AsyncExitStack(), AsyncExitStack()
        self.address = ""
        self.start()

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def start(self) -> None:
        app = self._around(Starlette(routes=self._chat.routes(self.ports)))
        port = int(self.address.rpartition(":")[2] or 0)
        self.address = self.run(self._stack.enter_async_context(serving(app, port)))

    def stop(self) -> None:
        self.run(self._stack.aclose())

    def also_serve(self, app: ASGIApp) -> str:
        """The address of another app beside the shop, until `close`."""
        return str(self.run(self._others.enter_async_context(serving(app))))

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Call on the server's loop, and wait for it."""

        async def called() -> None:
            function(*args)

        self.run(called())

    def close(self) -> None:
        self.stop()
        self.run(self._others.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class ShopBot:
    """Answers by key word; `received` is what a customer really managed to say."""

    def __init__(self) -> None:
        self.received: list[InboundMessage] = []
        self.answers: dict[str, Sequence[Mapping[str, Any]]] = {
            "menu": [
                {
                    "text": "What can I do for you?",
                    "buttons": [{"title": "Where is my order?", "payload": "/order_status"}],
                }
            ],
            "/order_status": [{"text": "What is your order number?"}],
            "/human_handoff": [{"text": "Leave me an e-mail address and a person will write to you."}],
        }

    def __call__(self, message: InboundMessage) -> Sequence[Mapping[str, Any]]:
        self.received.append(message)
        return self.answers.get(message.text, [{"text": f"You said {message.text}"}])

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.received]


@pytest.fixture
def bot() -> ShopBot:
    return ShopBot()


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedShop]]:
    """`scripted(ports, **options)`: a shop over those ports."""
    shops: list[ScriptedShop] = []

    def start(ports: Ports, **options: Any) -> ScriptedShop:
        shops.append(ScriptedShop(ports, **options))
        return shops[-1]

    yield start
    for shop in shops:
        shop.close()


@pytest.fixture
def shop(scripted: Callable[..., ScriptedShop], bot: ShopBot) -> ScriptedShop:
    """The demo shop with a bot that answers at once."""
    return scripted(MemoryPorts(bot))


@pytest.fixture
def shot(page: Page) -> Callable[[str], None]:
    """Keep a picture for people to look at."""
    SHOTS.mkdir(exist_ok=True)
    return lambda name: (page.wait_for_timeout(260), page.screenshot(path=SHOTS / f"{name}.png"), None)[-1]
