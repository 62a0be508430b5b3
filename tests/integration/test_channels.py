"""credentials.yml → channels: the ones Kefu brings, the ones a project brings, and errors that say what to do."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from bot.app import Platform, build_app, load_bot
from bot.channels import connectors_of
from bot.errors import ConfigurationError
from bot.settings import load_settings
from connectors.base import Connector, PushConnector
from tests.contract.sms_gateway import SECRET, Gateway, from_page
from tests.contract.telegram_platform import TOKEN
from tests.integration.test_worker import Scripted
from tests.learning import SMALL_SHOP, write_assistant
from tests.serving import serving

WEBHOOK = "https://shop.example/webhooks/telegram/webhook"
OWN = """
from connectors.base import ChannelLimits, Delivered

class Fax:
    name = "fax"
    limits = ChannelLimits()

    def __init__(self, number, *, speed=9600):
        if not number:
            raise ValueError("number is empty")
        self.number, self.speed = number, speed

    def routes(self, ports):
        return []

class PushedFax(Fax):
    can_repeat, hold_s = False, 0.0

    async def send(self, message, *, is_repeat):
        return Delivered()

class HalfPushed(Fax):
    async def send(self, message, *, is_repeat):
        return Delivered()

class Web(Fax):
    name = "web"

class OfRasa:
    def blueprint(self, on_new_message):
        ...

FAX = Fax("1")
"""
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())


@pytest.fixture
def module(tmp_path: Path) -> Iterator[str]:
    """The name of the project's module with channels; another one each time, for Python imports a name once."""
    name = f"own_channels_{next(_numbers)}"
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / f"{name}.py").write_text(OWN)
    yield name
    sys.modules.pop(name, None)


def channels(tmp_path: Path, credentials: str) -> dict[str, Connector]:
    write_assistant(tmp_path / "shop", {**SMALL_SHOP, "credentials.yml": credentials})
    settings = load_settings(home=tmp_path / "home")
    return {found.name: found for found in connectors_of(load_bot(tmp_path / "shop", settings), settings)}


def test_rest_and_the_widget_are_always_there(tmp_path: Path) -> None:
    assert list(channels(tmp_path, "rest:\n")) == ["rest", "web"]


def test_telegram_with_rasas_keys(tmp_path: Path) -> None:
    rasas = f"telegram:\n  access_token: '{TOKEN}'\n  verify: shop_bot\n  webhook_url: {WEBHOOK}\n"
    assert isinstance(channels(tmp_path, rasas)["telegram"], PushConnector)
    ours = f"telegram:\n  access_token: '{TOKEN}'\n  verify:\n  webhook_url:\n  secret_token: s\n"
    assert "telegram" in channels(tmp_path, ours)


@pytest.mark.parametrize(
    ("credentials", "says"),
    [
        ("telegram:\n", "telegram: access_token"),
        (f"telegram:\n  access_token: '{TOKEN}'\n", "telegram: give webhook_url"),
        (f"telegram:\n  access_token: '{TOKEN}'\n  webhook: {WEBHOOK}\n", "unexpected keyword argument 'webhook'"),
        (f"telegram: '{TOKEN}'\n", "telegram: its settings must be a mapping"),
    ],
)
def test_credentials_that_cannot_work_end_the_start(tmp_path: Path, credentials: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        channels(tmp_path, credentials)


def test_a_message_from_telegram_reaches_the_inbox_of_a_whole_server(tmp_path: Path) -> None:
    credentials = f"telegram:\n  access_token: '{TOKEN}'\n  secret_token: s\n"
    write_assistant(tmp_path / "shop", {**SMALL_SHOP, "credentials.yml": credentials})
    settings = load_settings(home=tmp_path / "home", max_waiting=1)
    platform = Platform.build(settings, load_bot(tmp_path / "shop", settings), understander=Scripted())
    platform.prepare()
    update = {"update_id": 1, "message": {"message_id": 1, "chat": {"id": 7}, "from": {"is_bot": False}, "text": "hi"}}
    path, secret = "/webhooks/telegram/webhook", {"X-Telegram-Bot-Api-Secret-Token": "s"}
    client = TestClient(build_app(platform))  # its lifespan is not entered: nothing answers, so that the inbox fills
    assert client.post(path, json=update).status_code == 401
    assert client.post(path, json=update, headers=secret).status_code == 200
    busy = client.post(path, json={**update, "update_id": 2}, headers=secret)
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "2")


# ---- a project's own ----


async def test_the_channel_of_the_page_answers_through_a_whole_server(tmp_path: Path) -> None:
    """docs/connectors.md as a reader follows it: its module, its credentials, one SMS and the bot's answer to it."""
    gateway = Gateway()
    async with serving(gateway.app()) as address:
        credentials = from_page("yaml").replace("https://gateway.example", f"http://{address}")
        credentials = credentials.replace("${SMS_SECRET}", SECRET)
        files = {**SMALL_SHOP, "credentials.yml": credentials, "my_channels.py": from_page("python")}
        write_assistant(tmp_path / "shop", files)
        settings = load_settings(home=tmp_path / "home")
        platform = Platform.build(settings, load_bot(tmp_path / "shop", settings), understander=Scripted())
        sys.modules.pop("my_channels")
        app = build_app(platform)
        await platform.start()
        try:
            async with serving(app) as ours, httpx.AsyncClient() as http:
                url, secret = f"http://{ours}/webhooks/sms/webhook", {"X-Gateway-Secret": SECRET}
                for _ in range(2):  # the gateway repeats itself
                    sms = {"id": "1", "from": "+43 1 5678", "text": "goodbye"}
                    assert (await http.post(url, json=sms, headers=secret)).status_code == 200
                assert (await http.post(url, json=sms)).status_code == 401
                heard = [await asyncio.wait_for(gateway.news.get(), 10) for _ in range(2)]
        finally:
            await platform.stop()
    assert heard[-1] == "Bye!"  # after the disclosure
    assert len(gateway.texts) == 2


def test_a_class_of_the_projects_own_is_a_channel(tmp_path: Path, module: str) -> None:
    found = channels(tmp_path, f"{module}.PushedFax:\n  number: '+43 1'\n  speed:\n")
    assert list(found) == ["rest", "web", "fax"]
    assert isinstance(found["fax"], PushConnector)
    assert vars(found["fax"]) == {"number": "+43 1", "speed": 9600}
    assert not isinstance(channels(tmp_path, f"{module}.Fax:\n  number: 1\n")["fax"], PushConnector)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("Telefax", "", "has no class Telefax"),
        ("FAX", "", "has no class FAX"),
        ("Fax", "", "missing 1 required positional argument: 'number'"),
        ("Fax", "  number: ''\n", "number is empty"),
        ("HalfPushed", "  number: 1\n", "has no can_repeat, hold_s; docs/connectors.md"),
        ("Web", "  number: 1\n", "two channels are called 'web'"),
        ("OfRasa", "", "a channel of Rasa's.*docs/connectors.md.*/webhooks/rest/webhook"),
    ],
)
def test_a_class_that_cannot_be_a_channel_says_what_to_do(
    tmp_path: Path, module: str, name: str, settings: str, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        channels(tmp_path, f"{module}.{name}:\n{settings}")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("from rasa.core.channels.channel import InputChannel\n", "a channel of Rasa's.*docs/connectors.md"),
        ("import no_such_library_of_theirs\n", "cannot be imported: ModuleNotFoundError.*no_such_library_of_theirs"),
        ("1 / 0\n", "cannot be imported: ZeroDivisionError"),
        (None, "there is no module nowhere_to_be_found"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(tmp_path: Path, module: str, code: str | None, says: str) -> None:
    if code is not None:
        (tmp_path / "shop" / f"{module}.py").write_text(code)
    name = module if code is not None else "nowhere_to_be_found"
    with pytest.raises(ConfigurationError, match=says):
        channels(tmp_path, f"{name}.Fax:\n")


def test_validate_does_not_call_an_own_channel_unserved(tmp_path: Path) -> None:
    from bot.assistant.loader import check_assistant

    write_assistant(tmp_path / "shop", {**SMALL_SHOP, "credentials.yml": "my_channels.Fax:\n  number: 1\n"})
    assert [p.message for p in check_assistant(tmp_path / "shop", {}) if "Fax" in p.message] == []
