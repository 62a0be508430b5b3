"""What credentials.yml and the variables say about Slack, and what is said where something is missing."""

from __future__ import annotations

from typing import Any

import pytest

from bot.channels import connectors_of
from bot.errors import ConfigurationError
from bot.settings import load_settings
from connectors.slack import Slack
from connectors.slack_options import SlackNotConfigured, SlackOptions
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
