"""Slack's payloads → what they say: a post, a pressed button, a slash command, news about the app. No I/O.

Source: https://docs.slack.dev/apis/events-api, https://docs.slack.dev/interactivity

Invariant: a payload that Slack could have sent is read or left alone (None); one that it could not is a BadRequest that
names the field. What is read here holds ids that can be stored and that cannot be mistaken for one another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from connectors.base import BadRequest
from connectors.inbound import clean_text
from connectors.slack_text import mentions

SENDER_PREFIX = "slack:"
OWN_ACTION = "kefu:"
LINK_ACTION = "kefu:link"
"""A button that opens a page: Slack tells about the press, and there is nothing to answer."""

_ID = re.compile(r"[A-Za-z0-9]{1,40}")
_TS = re.compile(r"[0-9]{1,16}\.[0-9]{1,10}")
# A post by a person that is no plain message: with a file, also shown in the channel, "/me".
_PERSONS_SUBTYPES = (None, "file_share", "thread_broadcast", "me_message")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a conversation is: a direct message, a thread of a channel, or one person in a channel without threads."""

    team: str
    channel: str
    thread: str = ""
    user: str = ""

    @property
    def is_direct(self) -> bool:
        return self.channel.startswith("D")

    @property
    def sender_id(self) -> str:
        """`slack:<team>/<channel>`, and `/<thread or user>` where there is one."""
        tail = self.thread or self.user
        return f"{SENDER_PREFIX}{self.team}/{self.channel}" + (f"/{tail}" if tail else "")

    @staticmethod
    def read(sender_id: str) -> Place | None:
        """The place that a sender_id names, or None when it names none."""
        team, _, rest = sender_id.removeprefix(SENDER_PREFIX).partition("/")
        channel, _, tail = rest.partition("/")
        is_thread = bool(_TS.fullmatch(tail))
        is_place = sender_id.startswith(SENDER_PREFIX) and _ID.fullmatch(team) and _ID.fullmatch(channel)
        if not is_place or (tail and not is_thread and not _ID.fullmatch(tail)):
            return None
        return Place(team=team, channel=channel, thread=tail if is_thread else "", user="" if is_thread else tail)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Whose app it is that hears this. `enterprise` is set where a whole Enterprise Grid organisation installed it."""

    team: str
    enterprise: str | None = None
    bot_users: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Post:
    """What a person wrote. `text` is Slack's markup."""

    origin: Origin
    channel: str
    ts: str
    thread_ts: str | None
    user: str
    text: str
    is_mention: bool
    files: tuple[Mapping[str, Any], ...] = ()

    @property
    def mentions_bot(self) -> bool:
        return self.is_mention or bool(mentions(self.text) & self.origin.bot_users)

    @property
    def addresses_others(self) -> bool:
        return bool(mentions(self.text) - self.origin.bot_users)


@dataclass(frozen=True, kw_only=True)
class Press:
    """A button, a select or a feedback button that a person used."""

    origin: Origin
    channel: str
    message_ts: str
    thread_ts: str | None
    user: str
    action_ts: str
    value: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Command:
    """A slash command."""

    origin: Origin
    user: str
    name: str
    text: str
    trigger_id: str


@dataclass(frozen=True, kw_only=True)
class AssistantThread:
    """A person opened the app's own chat panel: this thread of the direct message is a conversation of its own."""

    origin: Origin
    channel: str
    thread_ts: str


@dataclass(frozen=True, kw_only=True)
class AppRemoved:
    """The workspace took the app or its tokens away, at `at` (seconds)."""

    origin: Origin
    at: float


@dataclass(frozen=True, kw_only=True)
class Ignored:
    """Nothing to answer; `reason` is for the log."""

    reason: Literal["edited", "deleted", "not_a_person", "rate_limited", "other"]


News = Post | AssistantThread | AppRemoved | Ignored


# ---- Events API ----


def read_event(payload: Mapping[str, Any]) -> News:
    """What an Events API callback says. Raises BadRequest where a field is not what Slack sends."""
    if payload.get("type") == "app_rate_limited":
        return Ignored(reason="rate_limited")
    if payload.get("type") != "event_callback":
        return Ignored(reason="other")
    event = _mapping(payload, "event")
    match event.get("type"):
        case "message" | "app_mention":
            return _post(payload, event)
        case "assistant_thread_started":
            thread = _mapping(event, "assistant_thread")
            channel, thread_ts = _id(thread, "channel_id"), _ts(thread, "thread_ts")
            return AssistantThread(origin=_origin(payload), channel=channel, thread_ts=thread_ts)
        case "app_uninstalled":
            return AppRemoved(origin=_origin(payload), at=_seconds(payload))
        case "tokens_revoked" if _mapping(event, "tokens").get("bot"):
            return AppRemoved(origin=_origin(payload), at=_seconds(payload))
    return Ignored(reason="other")


def _post(payload: Mapping[str, Any], event: Mapping[str, Any]) -> Post | Ignored:
    subtype = event.get("subtype")
    if subtype == "message_changed":
        return Ignored(reason="edited")
    if subtype == "message_deleted":
        return Ignored(reason="deleted")
    if event.get("bot_id") or event.get("bot_profile") or not event.get("user") or event.get("hidden"):
        return Ignored(reason="not_a_person")
    if subtype not in _PERSONS_SUBTYPES:
        return Ignored(reason="other")
    origin, user = _origin(payload), _id(event, "user")
    if user in origin.bot_users or user == "USLACKBOT":
        return Ignored(reason="not_a_person")
    return Post(
        origin=origin,
        channel=_id(event, "channel"),
        ts=_ts(event, "ts"),
        thread_ts=_ts(event, "thread_ts") if event.get("thread_ts") else None,
        user=user,
        text=_text(event, "text"),
        is_mention=event["type"] == "app_mention",
        files=tuple(_files(event.get("files"))),
    )


def _origin(payload: Mapping[str, Any]) -> Origin:
    found = payload.get("authorizations")
    authorizations = [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
    enterprises = [_id(each, "enterprise_id") for each in authorizations if each.get("is_enterprise_install")]
    bots = frozenset(str(each["user_id"]) for each in authorizations if each.get("is_bot") and each.get("user_id"))
    return Origin(team=_id(payload, "team_id"), enterprise=enterprises[0] if enterprises else None, bot_users=bots)


def _files(value: object) -> Iterator[dict[str, Any]]:
    """What a custom action needs to fetch a file, with the bot's token. What a person may not see has no address."""
    for file in value if isinstance(value, list) else ():
        if isinstance(file, Mapping) and file.get("id"):
            known = {
                "id": file["id"],
                "name": file.get("name") or file.get("title"),
                "media_type": file.get("mimetype"),
                "size": file.get("size"),
                "url": file.get("url_private"),
            }
            yield {
                key: clean_text(item) if isinstance(item, str) else item
                for key, item in known.items()
                if isinstance(item, str | int)
            }


# ---- interactivity ----


def read_interaction(payload: Mapping[str, Any]) -> list[Press]:
    """The presses in an interactivity payload; none where it is about modals, shortcuts or links."""
    actions = payload.get("actions")
    if payload.get("type") != "block_actions" or not isinstance(actions, list):
        return []
    container = payload["container"] if isinstance(payload.get("container"), Mapping) else {}
    message = payload["message"] if isinstance(payload.get("message"), Mapping) else {}
    if container.get("type") == "view":
        return []
    place = {"channel_id": container.get("channel_id") or _inner_id(payload, "channel")}
    times = {
        "message_ts": container.get("message_ts") or message.get("ts"),
        "thread_ts": container.get("thread_ts") or message.get("thread_ts"),
    }
    values = [(action, _value(action)) for action in actions if isinstance(action, Mapping)]
    return [
        Press(
            origin=_interaction_origin(payload),
            channel=_id(place, "channel_id"),
            message_ts=_ts(times, "message_ts"),
            thread_ts=_ts(times, "thread_ts") if times["thread_ts"] else None,
            user=_id(_mapping(payload, "user"), "id"),
            action_ts=_ts(action, "action_ts"),
            value=value,
            title=_title(action),
        )
        for action, value in values
        if value is not None
    ]


def _interaction_origin(payload: Mapping[str, Any]) -> Origin:
    # In an app of a whole organisation `team` may be null; the person's own workspace is what is left.
    team = _inner_id(payload, "team") or _mapping(payload, "user").get("team_id")
    enterprise = _inner_id(payload, "enterprise") if payload.get("is_enterprise_install") else None
    return Origin(team=_id({"team": team}, "team"), enterprise=enterprise)


def _value(action: Mapping[str, Any]) -> str | None:
    """What an element carries: a button's value, an option's, several joined by commas, a date as it is."""
    if str(action.get("action_id", "")).startswith(LINK_ACTION):
        return None
    options = action.get("selected_options")
    if isinstance(options, list):
        chosen = [option.get("value") for option in options if isinstance(option, Mapping)]
        return _joined(chosen)
    option = action.get("selected_option")
    several = next((value for key, value in action.items() if key.startswith("selected_") and key[-1] == "s"), None)
    if isinstance(several, list):
        return _joined(several)
    candidates = [
        option.get("value") if isinstance(option, Mapping) else None,
        action.get("value"),
        *(action.get(f"selected_{kind}") for kind in ("date", "time", "date_time", "user", "channel", "conversation")),
    ]
    return _joined([value for value in candidates if value is not None][:1])


def _joined(values: Sequence[object]) -> str | None:
    text = ", ".join(str(value) for value in values if isinstance(value, str | int) and not isinstance(value, bool))
    return clean_text(text).strip() or None


def _title(action: Mapping[str, Any]) -> str:
    option = action.get("selected_option")
    text = option.get("text") if isinstance(option, Mapping) else action.get("text")
    title = text.get("text") if isinstance(text, Mapping) else None
    return clean_text(title)[:200] if isinstance(title, str) else ""


# ---- slash commands ----


def read_command(form: Mapping[str, Any]) -> Command:
    """A slash command's form, as HTTP and Socket Mode send it."""
    is_enterprise = str(form.get("is_enterprise_install")).lower() == "true"
    return Command(
        origin=Origin(team=_id(form, "team_id"), enterprise=_id(form, "enterprise_id") if is_enterprise else None),
        user=_id(form, "user_id"),
        name=_text(form, "command")[:80],
        text=_text(form, "text").strip()[:4_000],
        trigger_id=_trigger(form),
    )


def _trigger(form: Mapping[str, Any]) -> str:
    trigger = form.get("trigger_id")
    if not isinstance(trigger, str) or not re.fullmatch(r"[A-Za-z0-9.]{1,200}", trigger):
        raise BadRequest("`trigger_id` is not an id of Slack's")
    return trigger


# ---- fields ----


def _mapping(value: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    found = value.get(field)
    if not isinstance(found, Mapping):
        raise BadRequest(f"`{field}` must be an object")
    return found


def _id(value: Mapping[str, Any], field: str) -> str:
    found = value.get(field)
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise BadRequest(f"`{field}` is not an id of Slack's")
    return found


def _inner_id(value: Mapping[str, Any], field: str) -> str | None:
    found = value.get(field)
    inner = found.get("id") if isinstance(found, Mapping) else None
    return inner if isinstance(inner, str) else None


def _ts(value: Mapping[str, Any], field: str) -> str:
    found = value.get(field)
    if not isinstance(found, str) or not _TS.fullmatch(found):
        raise BadRequest(f"`{field}` is not a time stamp of Slack's")
    return found


def _text(value: Mapping[str, Any], field: str) -> str:
    found = value.get(field, "")
    if found is None:
        return ""
    if not isinstance(found, str):
        raise BadRequest(f"`{field}` must be a string")
    return clean_text(found)


def _seconds(payload: Mapping[str, Any]) -> float:
    at = payload.get("event_time")
    return float(at) if isinstance(at, int) and not isinstance(at, bool) and 0 <= at < 10**12 else 0.0
