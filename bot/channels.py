"""Which channels an assistant has: REST and the web widget always, others where credentials.yml or a variable says so.

Invariant: a channel whose credentials are incomplete is an error when serving starts, not silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.assistant.brand import Brand
from bot.errors import ConfigurationError
from bot.settings import Settings, environment
from bot.turns import Bot
from connectors.base import Connector
from connectors.rest import Rest
from connectors.socketio import SocketIo, SocketIoOptions
from connectors.webchat import WebChat


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


def _wechat(credentials: Mapping[str, Any], variables: Mapping[str, str]) -> list[Connector]:
    """The Official Account and 微信客服, each where it is named or its token is set."""
    wants = [name for name in ("wechat", "wechat_kf") if name in credentials or variables.get(f"{name.upper()}_TOKEN")]
    if not wants:
        return []
    try:
        from connectors.wechat import WeChat
        from connectors.wechat_kf import WeChatKf
        from connectors.wechat_options import WeChatKfOptions, WeChatOptions
    except ImportError as error:
        raise ConfigurationError(f"WeChat needs the package {error.name}: pip install 'kefu[wechat]'") from error
    found: list[Connector] = []
    try:
        if "wechat" in wants:
            found.append(WeChat(WeChatOptions.of(credentials.get("wechat"), variables)))
        if "wechat_kf" in wants:
            found.append(WeChatKf(WeChatKfOptions.of(credentials.get("wechat_kf"), variables)))
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    return found


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
