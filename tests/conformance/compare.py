"""One walk, both engines: where do they part?

Our side walks first, since its state guides the walker; Rasa then gets the whole walk in one request. A conversation is
compared up to its first difference: what follows would be its consequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bot.rasa.oracle import Oracle
from tests.conformance.stage import Bot, Outcome, Talk, comparable, comparable_state
from tests.conformance.walks import Walker

Json = dict[str, Any]
ENDLESS = 50
"""Actions of one turn at which the dialogue core stops."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """`index` of the first step that differs; what each side did there."""

    index: int
    ours: Outcome
    theirs: Outcome

    def __str__(self) -> str:
        lines = [f"step {self.index}"]
        for mine, yours in _aligned(self.ours.events, self.theirs.events):
            lines.append(f"    {mine}" if mine == yours else f"  K {mine}\n  R {yours}")
        mine, yours = self.ours.state, self.theirs.state
        lines += [f"  {key}: K {mine[key]}  R {yours[key]}" for key in mine if mine[key] != yours[key]]
        return "\n".join(lines)


def _aligned(ours: list[Json], theirs: list[Json]) -> list[tuple[Json | None, Json | None]]:
    length = max(len(ours), len(theirs))
    padded = [[*events, *[None] * (length - len(events))] for events in (ours, theirs)]
    return list(zip(*padded, strict=True))


async def walk(bot: Bot, walker: Walker, sender: str) -> tuple[list[Json], list[Outcome]]:
    """Let the walker talk to our side; its steps and what they led to."""
    talk = Talk(bot, sender)
    steps: list[Json] = []
    outcomes: list[Outcome] = []
    for _ in range(walker.length):
        steps.append(walker.next(talk.tracker))
        outcomes.append(await talk.play(steps[-1]))
    return steps, outcomes


async def play(bot: Bot, steps: list[Json], sender: str) -> list[Outcome]:
    """The same steps once more, on our side."""
    talk = Talk(bot, sender)
    return [await talk.play(step) for step in steps]


def ask(oracle: Oracle, steps: list[Json], sender: str) -> list[Outcome]:
    """The same steps on Rasa's side, with the model that is loaded there."""
    requests = [{**step, "sender": sender} for step in steps]
    results = oracle.walk([*requests, {"op": "reset", "sender": sender}])[:-1]
    return [
        Outcome(events=[comparable(event) for event in each["events"]], state=comparable_state(each["state"]))
        for each in results
    ]


def first_difference(ours: list[Outcome], theirs: list[Outcome]) -> Difference | None:
    """The first step whose events or state differ, if any."""
    for index, (mine, yours) in enumerate(zip(ours, theirs, strict=True)):
        yours = _after_restart(_with_channel(yours, mine), mine)
        if mine != yours:
            return Difference(index=index, ours=mine, theirs=yours)
    return None


def until_endless(steps: list[Json], ours: list[Outcome]) -> tuple[list[Json], list[Outcome]]:
    """Both before the first turn that ends in Kefu because it would not end: Rasa would never come back from it."""
    for index, outcome in enumerate(ours):
        if sum(event["event"] in ("action", "action_execution_rejected") for event in outcome.events) >= ENDLESS:
            return steps[:index], ours[:index]
    return steps, ours


def until_unended(ours: list[Outcome], theirs: list[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
    """Both sides before the first turn that Rasa does not end by listening: serving goes on otherwise there."""
    for index, outcome in enumerate(theirs):
        if any(event["event"] == "user" for event in outcome.events):
            last = next((e["name"] for e in reversed(outcome.events) if e["event"] == "action"), None)
            if last != "action_listen":
                return ours[:index], theirs[:index]
    return ours, theirs


# ---- the named differences; each is invisible to a customer or in their favour ----


def _with_channel(theirs: Outcome, ours: Outcome) -> Outcome:
    """Theirs, with the channel that Rasa forgets when a session begins, since its store returns the last session only.

    Kefu remembers it: a reminder or `trigger_intent` right after a restart still reaches the customer.
    """
    external = [event["input_channel"] for event in ours.events if _is_external(event)]
    channel = external[0] if external else ours.state["latest_input_channel"]
    events = [
        {**event, "input_channel": channel} if _is_external(event) and event["input_channel"] is None else event
        for event in theirs.events
    ]
    known = theirs.state["latest_input_channel"] or ours.state["latest_input_channel"]
    return Outcome(events=events, state={**theirs.state, "latest_input_channel": known})


def _is_external(event: Json) -> bool:
    return event["event"] == "user" and bool(event.get("metadata", {}).get("is_external"))


def _after_restart(theirs: Outcome, ours: Outcome) -> Outcome:
    """Theirs, where a `restart` was logged from outside: Rasa's store drops the session start that it asks for.

    Both begin a session with the next message.
    """
    if not ours.events or ours.events[-1]["event"] != "restart":
        return theirs
    return Outcome(events=theirs.events, state={**theirs.state, "followup_action": ours.state["followup_action"]})
