"""Files from the customer: chosen, dropped or pasted; their way to the server is seen, and what goes wrong is said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from connectors.base import ConnectorError
from connectors.file_kinds import UnwantedFile
from connectors.files import MEGABYTE, Correspondent, FileRules, StoredFile, StoreFull, TooOften
from connectors.memory import MemoryFiles, MemoryPorts
from tests.e2e.chat_page import ChatPage
from tests.e2e.conftest import ScriptedShop, ShopBot

Shot = Callable[[str], None]
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c63606060f80f0001040100"
    "5f5fc3a50000000049454e44ae426082"
)


class Shelf(MemoryFiles):
    """Where the shop keeps files: while `gate` is clear all wait, and `refusals` are the next answers."""

    def __init__(self) -> None:
        super().__init__(FileRules(max_bytes=MEGABYTE))
        self.gate = asyncio.Event()
        self.gate.set()
        self.refusals: list[ConnectorError] = []
        self.kept: list[tuple[StoredFile, bytes]] = []

    async def put(self, owner: Correspondent, name: str, content: bytes) -> StoredFile:
        await self.gate.wait()
        if self.refusals:
            raise self.refusals.pop(0)
        file = await super().put(owner, name, content)
        self.kept.append((file, content))
        return file


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def taking(scripted: Callable[..., ScriptedShop], bot: ShopBot, shelf: Shelf) -> ScriptedShop:
    """A shop that takes files."""
    return scripted(MemoryPorts(bot, files=shelf))


def sent(bot: ShopBot) -> list[list[str]]:
    """The names of the files that came with each message."""
    return [[file["name"] for file in message.metadata.get("attachments", [])] for message in bot.received]


@pytest.fixture
def chat(page: Page, taking: ScriptedShop) -> ChatPage:
    return ChatPage(page, taking.url).visit().open()


def attach(chat: ChatPage, *files: Path | dict[str, object]) -> None:
    with chat.page.expect_file_chooser() as chooser:
        chat.panel.get_by_role("button", name="Attach a file").click()
    chooser.value.set_files(list(files))  # type: ignore[arg-type]


def pdf(name: str, size: int = 2_000) -> dict[str, object]:
    return {"name": name, "mimeType": "application/pdf", "buffer": b"%PDF-1.7" + b"x" * (size - 8)}


def test_a_server_that_takes_no_files_shows_no_button(
    page: Page, scripted: Callable[..., ScriptedShop], bot: ShopBot
) -> None:
    shop = scripted(MemoryPorts(bot, files=MemoryFiles(FileRules(kinds=()))))
    chat = ChatPage(page, shop.url).visit().open()
    expect(chat.chat).to_have_attribute("data-state", "online")
    expect(chat.panel.get_by_role("button", name="Attach a file")).to_have_count(0)


def test_files_are_uploaded_and_sent_with_the_words(
    chat: ChatPage, shelf: Shelf, bot: ShopBot, page: Page, shot: Shot
) -> None:
    attach(chat, pdf("receipt.pdf", 12_000), {"name": "lamp.png", "mimeType": "image/png", "buffer": PIXEL})
    expect(chat.panel.get_by_role("alert")).to_contain_text("is attached")
    expect(chat.panel.get_by_role("button", name="Remove receipt.pdf")).to_be_visible()
    expect(chat.panel.locator(".kefu-is-done")).to_have_count(2)
    shot("uploads")
    chat.say("It arrived broken")
    chat.hears("You said It arrived broken")
    own = chat.confirmed("own").last
    expect(own).to_contain_text("It arrived broken")
    expect(own.get_by_role("link", name="Download receipt.pdf")).to_contain_text("PDF · 12 kB")
    expect(own.get_by_role("img", name="lamp.png")).to_be_visible()
    assert sent(bot) == [["receipt.pdf", "lamp.png"]]
    shot("uploads-sent")
    page.reload()
    chat.open()
    expect(chat.confirmed("own").last.get_by_role("link", name="Download receipt.pdf")).to_be_visible()
    assert bot.texts == ["It arrived broken"]


def test_a_file_without_words_is_a_message_too(chat: ChatPage, shelf: Shelf, bot: ShopBot) -> None:
    send = chat.panel.get_by_role("button", name="Send", exact=True)
    expect(send).to_be_disabled()
    attach(chat, pdf("receipt.pdf"))
    expect(send).to_be_enabled()
    send.click()
    chat.hears("You said receipt.pdf")
    own = chat.confirmed("own").last
    expect(own.get_by_role("link", name="Download receipt.pdf")).to_be_visible()
    expect(own.locator(".kefu-bubble")).to_have_count(0)
    assert bot.texts == ["receipt.pdf"]


def test_the_way_is_shown_and_nothing_is_sent_before_it_ends(
    chat: ChatPage, taking: ScriptedShop, shelf: Shelf, bot: ShopBot
) -> None:
    taking.call(shelf.gate.clear)
    attach(chat, pdf("slow.pdf", 900_000))
    progress = chat.panel.get_by_role("progressbar", name="Uploading slow.pdf")
    expect(progress).to_have_js_property("value", 100)
    chat.input.fill("see this")
    chat.input.press("Enter")
    expect(chat.panel.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    assert bot.texts == []
    taking.call(shelf.gate.set)
    expect(progress).to_be_hidden()
    chat.input.press("Enter")
    chat.hears("You said see this")
    assert sent(bot) == [["slow.pdf"]]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (pdf("huge.pdf", MEGABYTE + 1), "Too large: at most 1 MB"),
        (
            {"name": "run.exe", "mimeType": "application/x-msdownload", "buffer": b"MZ"},
            "This kind of file is not taken",
        ),
    ],
)
def test_what_the_server_would_refuse_is_said_at_once(
    chat: ChatPage, shelf: Shelf, file: dict[str, object], reason: str
) -> None:
    attach(chat, file)
    expect(chat.panel.locator(".kefu-upload")).to_contain_text(reason)
    expect(chat.panel.get_by_role("alert")).to_contain_text(reason)
    assert shelf.kept == []
    chat.panel.get_by_role("button", name=f"Remove {file['name']}").click()
    expect(chat.panel.locator(".kefu-upload")).to_have_count(0)


def test_what_the_server_says_is_shown_and_can_be_tried_again(
    chat: ChatPage, shelf: Shelf, bot: ShopBot, shot: Shot
) -> None:
    shelf.refusals += [UnwantedFile("This PDF is encrypted."), TooOften("Too many files; wait a minute.")]
    attach(chat, pdf("one.pdf"))
    row = chat.panel.locator(".kefu-upload", has_text="one.pdf")
    expect(row).to_contain_text("This PDF is encrypted.")
    expect(row.get_by_role("button", name="Retry")).to_be_hidden()
    attach(chat, pdf("two.pdf"))
    other = chat.panel.locator(".kefu-upload", has_text="two.pdf")
    expect(other).to_contain_text("Too many files")
    shot("uploads-refused")
    other.get_by_role("button", name="Retry").click()
    expect(chat.panel.locator(".kefu-is-done")).to_have_count(1)
    chat.say("the second one")
    chat.hears("You said the second one")
    assert sent(bot) == [["two.pdf"]]


def test_a_full_store_is_told_in_the_customers_words(chat: ChatPage, shelf: Shelf) -> None:
    shelf.refusals.append(StoreFull())
    attach(chat, pdf("one.pdf"))
    row = chat.panel.locator(".kefu-upload", has_text="one.pdf")
    expect(row).to_contain_text("No more files are taken at the moment")


TRANSFER = """() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File(['hello'], 'note.txt', { type: 'text/plain' }));
    return transfer;
}"""


def test_a_file_is_dropped_onto_the_chat(chat: ChatPage, shelf: Shelf, page: Page, shot: Shot) -> None:
    expect(chat.panel.get_by_role("button", name="Attach a file")).to_be_visible()
    transfer = page.evaluate_handle(TRANSFER)
    chat.log.dispatch_event("dragenter", {"dataTransfer": transfer})
    expect(chat.panel.locator(".kefu-drop")).to_be_visible()
    shot("uploads-drop")
    chat.log.dispatch_event("drop", {"dataTransfer": transfer})
    expect(chat.panel.locator(".kefu-drop")).to_be_hidden()
    expect(chat.panel.locator(".kefu-is-done")).to_contain_text("note.txt")
    assert [content for _, content in shelf.kept] == [b"hello"]


def test_a_picture_is_pasted(chat: ChatPage, shelf: Shelf, page: Page) -> None:
    expect(chat.panel.get_by_role("button", name="Attach a file")).to_be_visible()
    chat.input.evaluate(
        """(input, bytes) => {
            const clipboardData = new DataTransfer();
            const picture = new File([new Uint8Array(bytes)], 'image.png', { type: 'image/png' });
            clipboardData.items.add(picture);
            input.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
        }""",
        list(PIXEL),
    )
    expect(chat.panel.locator(".kefu-is-done")).to_contain_text("image.png")
    assert [file.media_type for file, _ in shelf.kept] == ["image/png"]


def test_files_of_an_unsent_message_survive_a_reload(chat: ChatPage, shelf: Shelf, page: Page, bot: ShopBot) -> None:
    attach(chat, pdf("receipt.pdf"))
    expect(chat.panel.locator(".kefu-is-done")).to_have_count(1)
    page.context.set_offline(True)
    page.evaluate("window.dispatchEvent(new Event('offline'))")
    chat.say("written in a tunnel")
    expect(chat.entries("own").last.get_by_role("link", name="Download receipt.pdf")).to_be_visible()
    page.context.set_offline(False)
    page.reload()
    chat.open()
    chat.hears("You said written in a tunnel")
    assert sent(bot) == [["receipt.pdf"]]
    assert bot.texts == ["written in a tunnel"]
