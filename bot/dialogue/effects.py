"""What a turn asks of the world, and what the world answers. The runners live in `bot.rasa` and in the worker.

Invariant: an answer is a value, also where something failed; nothing raises into a turn.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from bot.dialogue.events import Event


@dataclass(frozen=True, kw_only=True)
class RunAction:
    """Run a custom action. `tracker` and `domain` are Rasa's JSON; the runner must not change `domain`."""

    name: str
    tracker: dict[str, Any]
    domain: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class AskNlg:
    """Let an nlg server word a response, as Rasa asks it.

    Attributes:
        response_id: the `id` that the domain's variation carries; None also where a custom action says the response.
        arguments: what the custom action gave along.
        channel: Rasa's name of the channel that the words are for.
    """

    response: str
    response_id: Any
    arguments: Mapping[str, Any]
    tracker: dict[str, Any]
    channel: str


@dataclass(frozen=True, kw_only=True)
class Rephrase:
    """Let a generator say a response of the domain in other words.

    Attributes:
        text: with its slots filled in; `inserted` is what they hold.
        language: the one that it is meant to be in, where its words alone do not tell.
    """

    text: str
    inserted: tuple[str, ...] = ()
    language: str | None = None


Effect = RunAction | AskNlg | Rephrase


@dataclass(frozen=True, kw_only=True)
class ActionResult:
    """`events` and `responses` as the action returned them (Rasa's JSON)."""

    events: tuple[dict[str, Any], ...] = ()
    responses: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ActionRejected:
    """The action declined to run: something else is predicted instead."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class ActionCrashed:
    """The action failed, hung, or does not exist; its events are lost and the turn goes on."""

    error: str


@dataclass(frozen=True, kw_only=True)
class NlgAnswer:
    """`message` is Rasa's bot message, and has something to say."""

    message: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class NlgFailed:
    """The nlg server gave nothing that can be said: the domain's response is."""

    why: str


@dataclass(frozen=True, kw_only=True)
class Rephrased:
    """What is said in the response's place, and the `model` that worded it."""

    text: str
    model: str


@dataclass(frozen=True, kw_only=True)
class NotRephrased:
    """The response is said as it is written."""

    why: str


EffectResult = ActionResult | ActionRejected | ActionCrashed | NlgAnswer | NlgFailed | Rephrased | NotRephrased

T = TypeVar("T")
Steps = Generator[Effect, EffectResult, T]
"""A part of a turn that may need the world on its way to a T."""

Events = list[Event]
