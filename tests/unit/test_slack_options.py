"""What credentials.yml and the variables say about Slack, and what is said where something is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from ruamel.yaml import YAML
from starlette.routing import Route

from bot.channels import connectors_of
from bot.errors import ConfigurationError
from bot.settings import load_settings
from connectors.memory import MemoryPorts
from connectors.slack import Slack
from connectors.slack_options import KEYS, SCOPES, VARIABLES, SlackNotConfigured, SlackOptions
from tests.lab import labbot

ONE = {"slack_token": "xoxb-1", "slack_signing_secret": "s"}


def options(credentials: dict[str, Any] | None, **variables: str) -> SlackOptions:
    found = SlackOptions.of(credentials, variables)
    assert found is not None
    return found


def test_a_project_that_does_not_speak_of_slack_has_no_slack() -> None:
    assert SlackOptions.of(None, {"SLACK_SIGNING_SECRET": "of something else"}) is None


def test_variables_alone_are_enough_and_the_file_wins() -> None:
    variables = {"SLACK_BOT_TOKEN": "xoxb-2", "SLACK_SIGNING_SECRET": "s2"}
    assert options(None, **variables).bot_token == "xoxb-2"
    assert options({"slack_token": "xoxb-1"}, **variables).bot_token == "xoxb-1"
    assert options({"slack_token": "xoxb-1"}, **variables).signing_secret == "s2"


def test_every_key_of_rasa_s_is_known() -> None:
    rasas = {
        **ONE, "slack_channel": "C1", "proxy": "http://proxy.example", "use_threads": True,
        "slack_retry_reason_header": "x-slack-retry-reason", "slack_retry_number_header": "x-slack-retry-num",
        "errors_ignore_retry": None, "conversation_granularity": "thread",
    }  # fmt: skip
    found = options(rasas)
    assert (found.open_channel, found.proxy, found.has_threads) == ("C1", "http://proxy.example", True)


@pytest.mark.parametrize(
    ("more", "has_threads"),
    [
        ({}, True),
        ({"use_threads": False}, False),
        ({"use_threads": "false"}, False),
        ({"conversation_granularity": "channel"}, False),
        ({"conversation_granularity": "sender", "use_threads": True}, False),
    ],
)
def test_threads_are_conversations_unless_the_file_says_otherwise(more: dict[str, Any], has_threads: bool) -> None:
    assert options(ONE | more).has_threads is has_threads


def test_commands_say_what_the_assistant_understands() -> None:
    assert options(ONE).command_texts == {"human": "talk to human", "reset": "/restart"}
    assert options(ONE | {"commands": {"human": "/handoff"}}).command_texts["human"] == "/handoff"


@pytest.mark.parametrize(
    ("credentials", "says"),
    [
        ({"slack_token": "xoxb-1"}, "SLACK_SIGNING_SECRET"),
        ({"slack_signing_secret": "s"}, "SLACK_BOT_TOKEN"),
        ({}, "SLACK_SIGNING_SECRET"),
        (ONE | {"slack_client_id": "1.2"}, "SLACK_CLIENT_SECRET"),
        (ONE | {"slack_app_token": "xoxb-3"}, "xapp-"),
        (ONE | {"slack_tokn": "x"}, "'slack_tokn'"),
        (ONE | {"conversation_granularity": "user"}, "sender, channel or thread"),
        (ONE | {"commands": {"person": "/handoff"}}, "'person'"),
        (ONE | {"commands": ["human"]}, "human and reset"),
        (ONE | {"scopes": [1]}, "scopes"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(credentials: dict[str, Any], says: str) -> None:
    with pytest.raises(SlackNotConfigured, match=says):
        SlackOptions.of(credentials, {})


def test_the_platform_has_the_channel_or_says_why_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    settings = load_settings(home=tmp_path)
    monkeypatch.delenv("SLACK_BOT_TOKEN", raising=False)
    found = connectors_of(labbot(credentials={"slack": ONE}), settings)
    assert [type(each) for each in found if each.name == "slack"] == [Slack]
    with pytest.raises(ConfigurationError, match="SLACK_BOT_TOKEN"):
        connectors_of(labbot(credentials={"slack": {"slack_signing_secret": "s"}}), settings)
    assert not any(each.name == "slack" for each in connectors_of(labbot(), settings))
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-1")
    monkeypatch.setenv("SLACK_SIGNING_SECRET", "s")
    assert any(each.name == "slack" for each in connectors_of(labbot(), settings))


# ---- docs/slack.md ----

GUIDE = (Path(__file__).parents[2] / "docs" / "slack.md").read_text(encoding="utf-8")


def test_every_key_and_variable_is_in_the_guide() -> None:
    assert [key for key in sorted(KEYS) if f"`{key}`" not in GUIDE] == []
    assert [name for name in VARIABLES.values() if f"`{name}`" not in GUIDE] == []


def test_the_manifest_asks_for_what_the_channel_needs_and_leads_to_its_routes() -> None:
    manifest = YAML(typ="safe").load(GUIDE.partition("```yaml\n")[2].partition("```")[0])
    assert sorted(manifest["oauth_config"]["scopes"]["bot"]) == sorted(SCOPES)
    made = Slack(options(ONE | {"slack_client_id": "1.2", "slack_client_secret": "s"}), b"secret")
    paths = {route.path for route in made.routes(MemoryPorts()) if isinstance(route, Route)}
    urls = [
        manifest["features"]["slash_commands"][0]["url"],
        *manifest["oauth_config"]["redirect_urls"],
        manifest["settings"]["event_subscriptions"]["request_url"],
        manifest["settings"]["interactivity"]["request_url"],
    ]
    assert {urlsplit(url).path for url in urls} <= paths
    heard = {name.partition(".")[0] for name in manifest["settings"]["event_subscriptions"]["bot_events"]}
    assert heard == {"app_mention", "app_uninstalled", "message", "tokens_revoked"}
