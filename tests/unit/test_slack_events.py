"""What Slack's payloads say, and which of them a bot has nothing to answer to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import BadRequest
from connectors.slack_events import (
    AppRemoved,
    AssistantThread,
    Ignored,
    Place,
    Post,
    read_command,
    read_event,
    read_interaction,
)
from tests import slack_people as people
from tests.slack_server import BOT_USER, TEAM, Said

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


def post_of(event: dict[str, Any], **more: Any) -> Post:
    found = read_event(people.event(event, **more))
    assert isinstance(found, Post), found
    return found


@pytest.mark.parametrize(
    "place",
    [
        Place(team="T1", channel="D1"),
        Place(team="T1", channel="C1", thread="1700000000.000100"),
        Place(team="T1", channel="C1", user="U1"),
    ],
)
def test_a_sender_id_carries_everything_to_answer_with(place: Place) -> None:
    assert Place.read(place.sender_id) == place


@pytest.mark.parametrize("sender_id", ["", "anna", "web:x", "slack:T1", "slack:T1/", "slack:/C1", "slack:T1/C1/a b"])
def test_what_is_no_place_is_not_read_as_one(sender_id: str) -> None:
    assert Place.read(sender_id) is None


def test_a_post_is_read_with_its_files() -> None:
    file = {"id": "F1", "name": "bill.pdf", "mimetype": "application/pdf", "size": 12, "url_private": "https://f/1"}
    found = post_of(people.direct("see", subtype="file_share", files=[file, {"no": "id"}, 7]))
    assert found.origin.team == TEAM
    assert found.origin.bot_users == {BOT_USER}
    assert found.files == (
        {"id": "F1", "name": "bill.pdf", "media_type": "application/pdf", "size": 12, "url": "https://f/1"},
    )


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (people.direct("hi", subtype="bot_message", bot_id="B1"), "not_a_person"),
        (people.direct("hi", bot_id="B1"), "not_a_person"),
        (people.direct("hi", user=BOT_USER), "not_a_person"),
        (people.direct("hi", user="USLACKBOT"), "not_a_person"),
        ({"type": "message", "subtype": "message_changed", "message": {"text": "edited"}}, "edited"),
        ({"type": "message", "subtype": "message_deleted"}, "deleted"),
        (people.in_channel("joined", subtype="channel_join"), "other"),
        ({"type": "reaction_added"}, "other"),
    ],
)
def test_there_is_nothing_to_answer_to(event: dict[str, Any], reason: str) -> None:
    assert read_event(people.event(event)) == Ignored(reason=reason)  # type: ignore[arg-type]


def test_other_callbacks_are_left_alone_and_a_rate_limit_is_noticed() -> None:
    assert read_event({"type": "app_rate_limited", "team_id": TEAM}) == Ignored(reason="rate_limited")
    assert read_event({"type": "something_new"}) == Ignored(reason="other")


def test_news_about_the_app() -> None:
    removed = read_event(people.event({"type": "app_uninstalled"}, event_time=5))
    assert isinstance(removed, AppRemoved)
    assert (removed.origin.team, removed.at) == (TEAM, 5.0)
    assert isinstance(read_event(people.event({"type": "tokens_revoked", "tokens": {"bot": ["U1"]}})), AppRemoved)
    assert read_event(people.event({"type": "tokens_revoked", "tokens": {"oauth": ["U1"]}})) == Ignored(reason="other")
    thread = {"user_id": "U1", "channel_id": "D1", "thread_ts": "1.2"}
    opened = read_event(people.event({"type": "assistant_thread_started", "assistant_thread": thread}))
    assert isinstance(opened, AssistantThread)
    assert (opened.channel, opened.thread_ts) == ("D1", "1.2")


def test_an_organisation_s_installation_is_told_apart() -> None:
    whole = [
        {"enterprise_id": "E1", "team_id": None, "user_id": BOT_USER, "is_bot": True, "is_enterprise_install": True}
    ]
    assert post_of(people.direct("hi"), authorizations=whole).origin.enterprise == "E1"
    assert post_of(people.direct("hi")).origin.enterprise is None


@pytest.mark.parametrize(
    ("action", "value", "title"),
    [
        (
            {"type": "button", "action_id": "kefu:press:1", "value": "/affirm", "text": {"text": "Yes"}},
            "/affirm",
            "Yes",
        ),
        ({"type": "feedback_buttons", "action_id": "fb", "value": "/thumbs_up"}, "/thumbs_up", ""),
        (
            {"type": "static_select", "selected_option": {"text": {"text": "Lamp"}, "value": "/lamp"}},
            "/lamp",
            "Lamp",
        ),
        ({"type": "overflow", "selected_option": {"value": "x"}}, "x", ""),
        ({"type": "checkboxes", "selected_options": [{"value": "a"}, {"value": "b"}]}, "a, b", ""),
        ({"type": "multi_users_select", "selected_users": ["U1", "U2"]}, "U1, U2", ""),
        ({"type": "datepicker", "selected_date": "2026-12-24"}, "2026-12-24", ""),
        ({"type": "datetimepicker", "selected_date_time": 1798000000}, "1798000000", ""),
        ({"type": "users_select", "selected_user": "U1"}, "U1", ""),
    ],
)
def test_what_a_person_chose_is_their_message(action: dict[str, Any], value: str, title: str) -> None:
    [found] = read_interaction(people.press(Said(channel="C1", ts="1.2", text="?", thread_ts="1.1"), action))
    assert (found.value, found.title, found.message_ts, found.thread_ts) == (value, title, "1.2", "1.1")


@pytest.mark.parametrize(
    "action",
    [
        {"type": "button", "action_id": "kefu:link:0", "value": "x", "url": "https://a.example"},
        {"type": "button", "action_id": "mine"},
        {"type": "checkboxes", "selected_options": []},
        {"type": "datepicker", "selected_date": None},
    ],
)
def test_a_link_and_an_empty_choice_say_nothing(action: dict[str, Any]) -> None:
    assert read_interaction(people.press(Said(channel="C1", ts="1.2", text="?"), action)) == []


def test_modals_and_shortcuts_say_nothing() -> None:
    assert read_interaction({"type": "view_submission"}) == []
    assert read_interaction({"type": "shortcut"}) == []


def reads_or_names_the_field(read: Callable[[Mapping[str, Any]], object], payload: Mapping[str, Any]) -> None:
    try:
        read(payload)
    except BadRequest as error:
        problem = str(error)
    else:
        return
    assert problem.startswith("`")


FIELDS = ["team_id", "event", "authorizations", "event_time", "type"]
INNER = ["type", "user", "channel", "ts", "thread_ts", "text", "files", "subtype", "bot_id"]


@given(st.sampled_from(FIELDS), st.sampled_from([*INNER, ""]), JSON)
def test_any_field_of_an_event_may_be_anything(field: str, inner: str, value: Any) -> None:
    payload = people.event(people.direct("hello"))
    if inner:
        payload["event"][inner] = value
    else:
        payload[field] = value
    reads_or_names_the_field(read_event, payload)


@given(st.sampled_from(["user", "team", "channel", "container", "message", "actions", "enterprise"]), JSON)
def test_any_field_of_an_interaction_may_be_anything(field: str, value: Any) -> None:
    payload = people.press(Said(channel="C1", ts="1.2", text="?"), {"type": "button", "value": "x"})
    payload[field] = value
    reads_or_names_the_field(read_interaction, payload)


@given(st.dictionaries(st.sampled_from(list(people.command("x"))), JSON))
def test_any_field_of_a_command_may_be_anything(changes: dict[str, Any]) -> None:
    reads_or_names_the_field(read_command, {**people.command("human"), **changes})
