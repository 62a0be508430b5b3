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
from connectors.slack import Slack
from connectors.slack_options import SlackNotConfigured, SlackOptions
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
    if (slack := _slack(credentials, settings)) is not None:
        found.append(slack)
    return found


def _slack(credentials: Mapping[str, Any], settings: Settings) -> Slack | None:
    section = (credentials["slack"] or {}) if "slack" in credentials else None
    try:
        options = SlackOptions.of(section, environment())
        return Slack(options, settings.secret()) if options else None
    except SlackNotConfigured as error:
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
