"""The account's settings: from credentials.yml and variables, complete or refused with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from bot.channels import connectors_of
from bot.errors import ConfigurationError
from bot.settings import load_settings
from connectors.base import Background, PushConnector
from connectors.wechat import WeChat
from connectors.wechat_kf import WeChatKf
from connectors.wechat_options import WeChatKfOptions, WeChatOptions
from tests.kf_side import CORP_ID
from tests.lab import labbot
from tests.wechat_side import AES_KEY, APP_ID, TOKEN

DOCS = Path(__file__).parents[2] / "docs" / "wechat.md"
WECHAT = {
    "WECHAT_TOKEN": TOKEN,
    "WECHAT_APP_ID": APP_ID,
    "WECHAT_APP_SECRET": "app secret",
    "WECHAT_AES_KEY": AES_KEY,
}
KF = {
    "WECHAT_KF_TOKEN": TOKEN,
    "WECHAT_KF_CORP_ID": CORP_ID,
    "WECHAT_KF_SECRET": "kf secret",
    "WECHAT_KF_AES_KEY": AES_KEY,
}


def test_variables_are_enough_and_what_is_written_wins() -> None:
    options = WeChatOptions.of(None, WECHAT)
    assert (options.token, options.app_id, options.app_secret, options.aes_key) == tuple(WECHAT.values())
    assert options.mode == "safe"
    assert options.hold_s == 14.5
    written = WeChatOptions.of({"token": 12345, "app_secret": None, "mode": "compatible", "budget": {}}, WECHAT)
    assert (written.token, written.app_secret, written.mode) == ("12345", "app secret", "compatible")
    assert (written.budget.after_message, written.budget.after_event) == (5, 3)


def test_a_token_alone_serves_an_account_that_may_send_nothing() -> None:
    options = WeChatOptions.of({"token": "t", "customer_messages": False}, {})
    assert options.mode == "plaintext"
    assert WeChat(options).hold_s > 3_600


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("just a token", "must hold keys"),
        ({}, "WECHAT_TOKEN"),
        ({"token": "t"}, "customer_messages: false"),
        ({"token": "t", "app_id": "wx1"}, "WECHAT_APP_SECRET"),
        ({"token": "t", "mode": "safe", "customer_messages": False}, "EncodingAESKey"),
        ({"token": "t", "aes_key": AES_KEY, "customer_messages": False}, "WECHAT_APP_ID"),
        ({"token": "t", "app_id": "wx1", "app_secret": "s", "aes_key": "short"}, "43 letters"),
        ({"token": "t", "mode": "encrypted"}, "mode"),
        ({"token": "t", "app_key": "s"}, "app_key"),
        ({"token": "t", "budget": {"after_message": -1}}, "budget.after_message"),
    ],
)
def test_what_is_missing_or_wrong_is_said(given: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named) as refused:
        WeChatOptions.of(given, {})
    assert "wechat" in str(refused.value)


@pytest.mark.parametrize("missing", KF)
def test_kf_needs_all_four(missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        WeChatKfOptions.of(None, {name: value for name, value in KF.items() if name != missing})
    with pytest.raises(ValueError, match="43 letters"):
        WeChatKfOptions.of({"aes_key": "short"}, KF)


def test_secrets_are_not_printed() -> None:
    printed = repr(WeChatOptions.of(None, WECHAT)) + repr(WeChatKfOptions.of(None, KF))
    assert not [secret for secret in (TOKEN, "app secret", "kf secret", AES_KEY) if secret in printed]


# ---- which channels there are ----


def test_an_account_in_the_environment_is_a_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (WECHAT | KF).items():
        monkeypatch.setenv(name, value)
    channels = {channel.name: channel for channel in connectors_of(labbot(), load_settings(secret_key="s"))}
    for name, kind in (("wechat", WeChat), ("wechat_kf", WeChatKf)):
        assert isinstance(channels[name], kind)
        assert isinstance(channels[name], PushConnector)
        assert isinstance(channels[name], Background)


def test_an_account_that_cannot_be_used_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*WECHAT, *KF):
        monkeypatch.delenv(name, raising=False)
    assert "wechat" not in {channel.name for channel in connectors_of(labbot(), load_settings(secret_key="s"))}
    with pytest.raises(ConfigurationError, match="WECHAT_TOKEN"):
        connectors_of(labbot(credentials={"wechat": None}), load_settings(secret_key="s"))


@pytest.mark.parametrize("options", [WeChatOptions, WeChatKfOptions])
def test_every_setting_is_documented(options: type[BaseModel]) -> None:
    page = DOCS.read_text(encoding="utf-8")
    missing = [name for name in options.model_fields if f"`{name}`" not in page and f"{name}:" not in page]
    assert not missing
