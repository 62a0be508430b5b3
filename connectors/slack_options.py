"""What `slack:` in credentials.yml and the SLACK_* variables say, and what is missing there.

Invariant: options that exist can serve: every request can be verified and every answer has a token, or it was said
what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors.base import ConnectorError

API_URL = "https://slack.com/api/"
AUTHORIZE_URL = "https://slack.com/oauth/v2/authorize"
SCOPES = (
    *("app_mentions:read", "chat:write", "commands", "files:read"),
    *("channels:history", "groups:history", "im:history", "im:write", "mpim:history"),
)
"""What the app's features need; the manifest in docs/slack.md asks for the same."""

VARIABLES = {
    "slack_signing_secret": "SLACK_SIGNING_SECRET",
    "slack_token": "SLACK_BOT_TOKEN",
    "slack_app_token": "SLACK_APP_TOKEN",
    "slack_client_id": "SLACK_CLIENT_ID",
    "slack_client_secret": "SLACK_CLIENT_SECRET",
}
KEYS = frozenset(
    {
        *VARIABLES,
        *("slack_channel", "proxy", "use_threads", "conversation_granularity", "scopes", "commands", "api_url"),
        *("authorize_url", "bot_status"),
        # Rasa's, for requests that it does not want to hear again: nothing is lost here by hearing them.
        *("slack_retry_reason_header", "slack_retry_number_header", "errors_ignore_retry"),
    }
)


class SlackNotConfigured(ConnectorError):
    """The Slack channel cannot be served as it is configured."""


@dataclass(frozen=True, kw_only=True)
class SlackOptions:
    """How the channel is served.

    Attributes:
        signing_secret: verifies requests over HTTP; None where all come over Socket Mode.
        bot_token: of the one workspace; None where workspaces install the app themselves.
        app_token: opens Socket Mode ("xapp-…").
        open_channel: a channel in which every post is for the bot, without a mention.
        has_threads: in channels a thread is a conversation; else a person in a channel is one.
        command_texts: what `/kefu human` and `/kefu reset` say to the assistant in the person's name.
        status: what Slack shows while an answer is made; "" shows nothing.
        posts_per_s: in one channel, by this process. One is Slack's own figure.
    """

    signing_secret: str | None = None
    bot_token: str | None = None
    app_token: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    open_channel: str | None = None
    proxy: str | None = None
    has_threads: bool = True
    scopes: tuple[str, ...] = SCOPES
    command_texts: Mapping[str, str] = field(
        default_factory=lambda: {"human": "talk to human", "reset": "/restart"}, hash=False
    )
    status: str = "is typing…"
    posts_per_s: float = 1.0
    api_url: str = API_URL
    authorize_url: str = AUTHORIZE_URL

    @property
    def has_oauth(self) -> bool:
        return bool(self.client_id and self.client_secret)

    @staticmethod
    def of(credentials: Mapping[str, Any] | None, variables: Mapping[str, str]) -> SlackOptions | None:
        """The options, or None where neither the file nor a variable speaks of Slack.

        Args:
            credentials: the section `slack` of credentials.yml; None: there is no such section.
            variables: the environment; a key of the section wins over its variable.
        Raises:
            SlackNotConfigured: something is missing, unknown or contradicts itself.
        """
        given = {key: value for key, value in (credentials or {}).items() if value not in (None, "")}
        named = {key: variables[name] for key, name in VARIABLES.items() if variables.get(name)}
        if credentials is None and not {"slack_token", "slack_app_token", "slack_client_id"} & named.keys():
            return None
        _check_keys(given)
        secrets = {key: str(value).strip() for key, value in {**named, **given}.items() if key in VARIABLES}
        options = SlackOptions(
            signing_secret=secrets.get("slack_signing_secret"),
            bot_token=secrets.get("slack_token"),
            app_token=secrets.get("slack_app_token"),
            client_id=secrets.get("slack_client_id"),
            client_secret=secrets.get("slack_client_secret"),
            open_channel=_text(given, "slack_channel"),
            proxy=_text(given, "proxy"),
            has_threads=_has_threads(given),
            scopes=_scopes(given.get("scopes")),
            command_texts=_command_texts(given.get("commands")),
            status=str(given.get("bot_status", SlackOptions.status)),
            api_url=str(given.get("api_url", API_URL)).rstrip("/") + "/",
            authorize_url=str(given.get("authorize_url", AUTHORIZE_URL)),
        )
        _check_complete(options)
        return options


def _check_keys(given: Mapping[str, Any]) -> None:
    if unknown := sorted(given.keys() - KEYS):
        raise SlackNotConfigured(
            f"credentials.yml, slack: unknown key {unknown[0]!r}; known are {', '.join(sorted(KEYS))}"
        )


def _check_complete(options: SlackOptions) -> None:
    if not options.signing_secret and not options.app_token:
        raise SlackNotConfigured(
            "Slack: there is no signing secret, so no request could be verified; copy it from the app's page "
            "(Basic Information, App Credentials) into SLACK_SIGNING_SECRET or credentials.yml (slack_signing_secret), "
            "or set SLACK_APP_TOKEN for Socket Mode"
        )
    if bool(options.client_id) != bool(options.client_secret):
        missing = "SLACK_CLIENT_SECRET" if options.client_id else "SLACK_CLIENT_ID"
        raise SlackNotConfigured(f"Slack: installing in many workspaces needs {missing} as well")
    if not options.bot_token and not options.has_oauth:
        raise SlackNotConfigured(
            "Slack: there is no bot token, so nothing could be answered; install the app in your workspace and copy "
            "the Bot User OAuth Token (xoxb-…) into SLACK_BOT_TOKEN or credentials.yml (slack_token), or set "
            "SLACK_CLIENT_ID and SLACK_CLIENT_SECRET to let workspaces install it"
        )
    if options.app_token and not options.app_token.startswith("xapp-"):
        raise SlackNotConfigured("Slack: SLACK_APP_TOKEN must be an app-level token (xapp-…) with connections:write")


def _text(given: Mapping[str, Any], key: str) -> str | None:
    return str(given[key]).strip() if key in given else None


def _has_threads(given: Mapping[str, Any]) -> bool:
    granularity = str(given.get("conversation_granularity", "thread"))
    if granularity not in {"sender", "channel", "thread"}:
        raise SlackNotConfigured(
            f"credentials.yml, slack: conversation_granularity is {granularity!r}; it may be sender, channel or thread"
        )
    return granularity == "thread" and str(given.get("use_threads", True)).lower() != "false"


def _scopes(value: object) -> tuple[str, ...]:
    if value is None:
        return SCOPES
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SlackNotConfigured("credentials.yml, slack: scopes must be a list of names")
    return tuple(name.strip() for name in names)


def _command_texts(value: object) -> dict[str, str]:
    texts = {"human": "talk to human", "reset": "/restart"}
    if value is None:
        return texts
    if not isinstance(value, Mapping) or not all(isinstance(text, str) and text.strip() for text in value.values()):
        raise SlackNotConfigured("credentials.yml, slack: commands must give a text to each of human and reset")
    if unknown := sorted(map(str, value.keys() - texts.keys())):
        raise SlackNotConfigured(f"credentials.yml, slack: commands: {unknown[0]!r} is neither human nor reset")
    return {**texts, **value}
