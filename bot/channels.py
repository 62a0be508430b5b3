"""Which channels an assistant has: REST and the web widget always, others where credentials.yml or a variable says so.

Invariant: a channel whose credentials are incomplete is an error when serving starts, not silence.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bot.assistant.brand import Brand
from bot.errors import ConfigurationError
from bot.settings import Settings
from bot.turns import Bot
from connectors.base import Connector
from connectors.rest import Rest
from connectors.socketio import SocketIo, SocketIoOptions
from connectors.webchat import WebChat


def connectors_of(bot: Bot, settings: Settings, *, debug: bool = False) -> list[Connector]:
    """The assistant's channels, none of them started.

    Raises ConfigurationError for credentials that cannot be used.
    """
    if settings.widget_strict and not settings.widget_secret:
        raise ConfigurationError(
            "KEFU_WIDGET_STRICT serves only customers whom your website named: set KEFU_WIDGET_SECRET too, "
            "the secret that it signs their tokens with (docs/widget.md)"
        )
    credentials = bot.assistant.credentials
    found: list[Connector] = [
        Rest(),
        WebChat(
            brand=public_brand(bot.assistant.brand),
            secret=settings.secret(),
            widget_secret=settings.widget_secret,
            allowed_origins=settings.allowed_origins,
            debug=debug,
            is_strict=settings.widget_strict,
        ),
    ]
    if "socketio" in credentials:
        found.append(SocketIo(SocketIoOptions.of(credentials["socketio"]), settings.allowed_origins))
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
        **{
            name: asdict(value)
            for name, value in (("hours", brand.hours), ("pre_chat", brand.pre_chat), ("csat", brand.csat))
            if value is not None
        },
    }
