"""Which channels an assistant has: REST and the web widget always, others where credentials.yml or a variable says so.

Invariant: a channel whose credentials are incomplete is an error when serving starts, not silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bot.assistant.brand import Brand
from bot.errors import ConfigurationError
from bot.settings import Settings, environment
from bot.turns import Bot
from connectors.base import Connector
from connectors.rest import Rest
from connectors.socketio import SocketIo, SocketIoOptions
from connectors.webchat import WebChat
from connectors.wechat import WeChat
from connectors.wechat_kf import WeChatKf
from connectors.wechat_options import WeChatKfOptions, WeChatOptions


def connectors_of(bot: Bot, settings: Settings, *, debug: bool = False) -> list[Connector]:
    """The assistant's channels, none of them started.

    Raises ConfigurationError for credentials that cannot be used.
    """
    credentials = bot.assistant.credentials
    found: list[Connector] = [
        Rest(),
        WebChat(
            brand=public_brand(bot.assistant.brand),
            secret=settings.secret(),
            widget_secret=settings.widget_secret,
            allowed_origins=settings.allowed_origins,
            debug=debug,
        ),
    ]
    if "socketio" in credentials:
        found.append(SocketIo(SocketIoOptions.of(credentials["socketio"]), settings.allowed_origins))
    found += _wechat(credentials, environment())
    return found


def _wechat(credentials: Mapping[str, Any], variables: Mapping[str, str]) -> Iterator[Connector]:
    """The Official Account and 微信客服, each where it is named or its token is set."""
    if "wechat" in credentials or variables.get("WECHAT_TOKEN"):
        yield wechat_account(credentials, variables)
    if "wechat_kf" in credentials or variables.get("WECHAT_KF_TOKEN"):
        try:
            yield WeChatKf(WeChatKfOptions.of(credentials.get("wechat_kf"), variables))
        except ValueError as error:
            raise ConfigurationError(str(error)) from error


def wechat_account(credentials: Mapping[str, Any], variables: Mapping[str, str]) -> WeChat:
    """The Official Account. Raises ConfigurationError where its credentials cannot be used."""
    try:
        return WeChat(WeChatOptions.of(credentials.get("wechat"), variables))
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def public_brand(brand: Brand) -> dict[str, Any]:
    """What a customer's browser may know of brand.yml, as JSON."""
    return {
        "name": dict(brand.name),
        "assistant_name": dict(brand.assistant_name),
        "greeting": dict(brand.greeting),
        "disclosure": {"enabled": brand.disclosure_enabled, "text": dict(brand.disclosure_text)},
        "colors": dict(brand.colors),
        "reply_within": dict(brand.reply_within),
        "avatar": brand.avatar,
    }
