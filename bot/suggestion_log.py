"""What became of suggestions: from a conversation's log to showings whose worth can be estimated.

Invariant: a reward belongs to a showing before it; what is not in the log, or not in the orders, is no reward.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from bot.answers.suggest import Evidence, RankingPolicy, Shown, showing_from
from bot.answers.suggest_value import Showing
from bot.assistant.catalogue import Order, customer_key, read_files
from bot.assistant.domain import SUGGEST_ACTION
from bot.assistant.loader import Assistant
from bot.assistant.source import Problems
from bot.storage import conversations
from bot.storage.database import Database
from bot.suggesting import SUGGESTIONS, customers

Event = Mapping[str, Any]
Reward = Literal["click", "purchase"]
PURCHASE_WITHIN = timedelta(days=14)
"""After a showing; later orders are hardly owed to it."""
POLICIES: Mapping[str, RankingPolicy] = {
    "all evidence": RankingPolicy(),
    "conversation": RankingPolicy(together=0, popular=0),
    "orders": RankingPolicy(asked=0, popular=0),
    "popularity": RankingPolicy(asked=0, together=0),
}
"""Those that a log is asked about, without chance in them."""


def clicks(sender_id: str, events: Sequence[Event]) -> list[Showing]:
    """The showings of one conversation; a card's reward is 1 where its button was pressed before the next showing."""
    return [
        _showing(sender_id, each, [float(payload in each.said) for payload in _payloads(each.event)])
        for each in _logged(events)
    ]


def purchases(sender_id: str, events: Sequence[Event], orders: Sequence[Order]) -> list[Showing]:
    """The showings of one conversation to a customer whose orders are known; a card's reward is 1 where they took the
    thing soon after, and kept it."""
    known = {order.customer for order in orders}
    bought: dict[tuple[str, str], list[date]] = {}
    for order in orders:
        if order.on is not None and not order.is_returned:
            bought.setdefault((order.customer, order.item), []).append(order.on)
    found = []
    for each in _logged(events):
        names = known.intersection(map(customer_key, customers(sender_id, each.metadata)))
        first = datetime.fromtimestamp(float(each.event["timestamp"]), UTC).date()
        days = [[day for name in names for day in bought.get((name, item), ())] for item in each.items]
        rewards = [float(any(first <= day <= first + PURCHASE_WITHIN for day in of_item)) for of_item in days]
        if names:
            found.append(_showing(sender_id, each, rewards))
    return found


@dataclass(frozen=True, kw_only=True)
class _Logged:
    """A bot message with suggestions, the metadata of the message before it, and what was said until the next."""

    event: Event
    candidates: Sequence[Evidence]
    shown: Sequence[Shown]
    metadata: Mapping[str, Any]
    said: frozenset[str]

    @property
    def items(self) -> list[str]:
        return [self.candidates[each.place].id for each in self.shown]


def _logged(events: Sequence[Event]) -> Iterator[_Logged]:
    numbers = [number for number, event in enumerate(events) if _has_suggestions(event)]
    for number, following in zip(numbers, [*numbers[1:], len(events)], strict=True):
        before = [event for event in events[:number] if event["event"] == "user"][-1:]
        after = events[number + 1 : following]
        candidates, shown = showing_from(events[number]["metadata"][SUGGESTIONS])
        yield _Logged(
            event=events[number],
            candidates=candidates,
            shown=shown,
            metadata=(before[0].get("metadata") or {}) if before else {},
            said=frozenset(str(event.get("text")) for event in after if event["event"] == "user"),
        )


def _has_suggestions(event: Event) -> bool:
    return event["event"] == "bot" and SUGGESTIONS in (event.get("metadata") or {})


def _payloads(event: Event) -> list[str | None]:
    """What each card's button sends, in the order of the cards."""
    custom = event["data"]["custom"]
    cards = custom.get("cards") or [custom]
    return [next((button.get("payload") for button in card.get("buttons") or ()), None) for card in cards]


def _showing(sender_id: str, logged: _Logged, rewards: Sequence[float]) -> Showing:
    return Showing(group=sender_id, candidates=logged.candidates, shown=logged.shown, rewards=rewards)


# ---- the database ----


async def read_showings(db: Database, assistant: Assistant, reward: Reward) -> list[Showing]:
    """All showings that the assistant's log tells something of."""
    logs = await db.read(lambda c: conversations.logs_with(c, assistant.assistant_id, SUGGEST_ACTION))
    if reward == "click":
        return [showing for sender, events in logs.items() for showing in clicks(sender, events)]
    config = assistant.config.suggestions
    orders = read_files(assistant.root, config, Problems())[1] if config else []
    return [showing for sender, events in logs.items() for showing in purchases(sender, events, orders)]
