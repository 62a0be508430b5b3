"""Which channels an assistant has: REST and the web widget always, others where credentials.yml or a variable says so.

Invariant: a channel whose credentials are incomplete is an error when serving starts, not silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from bot.assistant.brand import Brand
from bot.errors import ConfigurationError
from bot.own_channels import own_channel
from bot.settings import Settings, environment
from bot.turns import Bot
from connectors.base import Connector
from connectors.refusals import Refusals
from connectors.rest import Rest
from connectors.slack import Slack
from connectors.slack_options import SlackNotConfigured, SlackOptions
from connectors.socketio import SocketIo, SocketIoOptions
from connectors.telegram import Telegram
from connectors.webchat import WebChat
from connectors.wechat import WeChat
from connectors.wechat_kf import WeChatKf
from connectors.wechat_options import WeChatKfOptions, WeChatOptions

CHANNELS: Mapping[str, Callable[..., Connector]] = {"telegram": Telegram}
"""Channels that are made of what credentials.yml says under their name, and of nothing else."""


def connectors_of(
    bot: Bot, settings: Settings, *, debug: bool = False, refusals: Refusals | None = None
) -> list[Connector]:
    """The assistant's channels, none of them started. `refusals`: where the web chat counts bad identity tokens.

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
            brand=brand_shown(bot.assistant.brand),
            secret=settings.secret(),
            widget_secret=settings.widget_secret,
            allowed_origins=settings.allowed_origins,
            debug=debug,
            is_strict=settings.widget_strict,
            refusals=refusals,
        ),
    ]
    if "socketio" in credentials:
        found.append(SocketIo(SocketIoOptions.of(credentials["socketio"]), settings.allowed_origins))
    found += _slack(credentials, settings)
    found += _wechat(credentials, environment())
    for name, given in credentials.items():
        if name in CHANNELS or "." in name:
            make = CHANNELS.get(name) or own_channel(name, bot.assistant.root)
            found.append(_made(name, make, given))
    names = [connector.name for connector in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigurationError(
            f"two channels are called {twice.pop()!r}; one of credentials.yml needs another `name`"
        )
    return found


def _slack(credentials: Mapping[str, Any], settings: Settings) -> Iterator[Connector]:
    """Where credentials.yml names it, or its variables are set."""
    section = (credentials["slack"] or {}) if "slack" in credentials else None
    try:
        if options := SlackOptions.of(section, environment()):
            yield Slack(options, settings.secret())
    except SlackNotConfigured as error:
        raise ConfigurationError(str(error)) from error


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


def _made(key: str, make: Callable[..., Connector], given: object) -> Connector:
    """The channel with its settings as keyword arguments; an empty one counts as not given, as in Rasa."""
    if not isinstance(given, Mapping | None):
        raise ConfigurationError(f"credentials.yml: {key}: its settings must be a mapping, one `name: value` a line")
    try:
        return make(**{str(name): value for name, value in (given or {}).items() if value is not None})
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"credentials.yml: {key}: {error}") from error


def brand_shown(brand: Brand) -> Callable[[], dict[str, Any]]:
    """`public_brand` of the moment in which it is asked for."""
    return lambda: public_brand(brand, datetime.now(UTC))


def public_brand(brand: Brand, now: datetime) -> dict[str, Any]:
    """What a customer's browser may know of brand.yml, as JSON; the greeting is that of `now`."""
    return {
        "name": dict(brand.name),
        "assistant_name": dict(brand.assistant_name),
        "greeting": dict(brand.greeting_at(now)),
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
