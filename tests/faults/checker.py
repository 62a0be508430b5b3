"""What web-chat clients saw, and whether it keeps the delivery contract. Pure: no network, no database, no clock.

A history is what one client did and saw, in the order in which it happened. `check` names every breach of the four
promises; test_checker.py proves that it finds each kind.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The customer pressed "send"; sending the same message again is not a second event."""

    message_id: str


@dataclass(frozen=True, kw_only=True)
class Acked:
    """The server said: stored, at this place of the transcript."""

    message_id: str
    seq: int


@dataclass(frozen=True, kw_only=True)
class Received:
    """One transcript entry arrived. `message_id` is set on the echo of the customer's own."""

    seq: int
    author: str
    body: str
    message_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Resynced:
    """The server said that it cannot resume; the entries after this come from `next_seq` on."""

    next_seq: int


Event = Sent | Acked | Received | Resynced

Kind = Literal["lost", "twice", "order", "gap", "invented"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """One client's history, and what the server's log says about the same conversation after everything ended.

    Attributes:
        answers: by the seq of a bot's entry, the id of the message that it answers.
        turns: by message id, how many turns the log holds for it (must be 1).
        last_seq: where the transcript ends.
        reread: what a new client of the same visitor was shown, from the beginning; None: nobody looked.
    """

    client: str
    events: Sequence[Event]
    answers: Mapping[int, str]
    turns: Mapping[str, int]
    last_seq: int
    reread: Sequence[Received] | None = None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One breach of the contract."""

    kind: Kind
    client: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The faults, and over how much they were looked for."""

    faults: tuple[Fault, ...]
    sent: int
    acked: int
    answered: int
    received: int
    resyncs: int
    counts: Mapping[Kind, int]

    @property
    def is_clean(self) -> bool:
        return not self.faults


def check(conversations: Iterable[Conversation]) -> Verdict:
    """Hold every conversation against the contract."""
    faults: list[Fault] = []
    sent = acked = answered = received = resyncs = 0
    for conversation in conversations:
        for find in (_lost, _twice, _order, _gaps, _rewritten, _invented):
            faults += find(conversation)
        sent += len(_sent(conversation))
        acked += len(_acked(conversation))
        answered += len(_acked(conversation).keys() & set(_answers(conversation)))
        received += sum(isinstance(event, Received) for event in conversation.events)
        resyncs += sum(isinstance(event, Resynced) for event in conversation.events)
    counts: dict[Kind, int] = {kind: sum(fault.kind == kind for fault in faults) for kind in KINDS}
    return Verdict(
        faults=tuple(faults),
        sent=sent,
        acked=acked,
        answered=answered,
        received=received,
        resyncs=resyncs,
        counts=counts,
    )


def _lost(talk: Conversation) -> list[Fault]:
    """Acknowledged, but not in the transcript where the ack said, or never answered."""
    entries = {event.seq: event for event in talk.events if isinstance(event, Received)}
    answered = _answers(talk)
    faults = []
    for message_id, seqs in _acked(talk).items():
        entry = entries.get(seqs[0])
        if entry is None or entry.message_id != message_id:
            faults.append(_fault("lost", talk, f"{message_id} was acknowledged as seq {seqs[0]}, where {entry} stands"))
        if message_id not in answered:
            faults.append(_fault("lost", talk, f"{message_id} (seq {seqs[0]}) was acknowledged and never answered"))
    return faults


def _twice(talk: Conversation) -> list[Fault]:
    """Stored at two places, answered in two goes, answered with the same words twice, or two turns in the log."""
    stored: dict[str, set[int]] = defaultdict(set)
    for event in talk.events:
        if isinstance(event, Received) and event.message_id is not None:
            stored[event.message_id].add(event.seq)
    for message_id, seqs in _acked(talk).items():
        stored[message_id].update(seqs)
    faults = [
        _fault("twice", talk, f"{message_id} is stored as {sorted(seqs)}")
        for message_id, seqs in stored.items()
        if len(seqs) > 1
    ]
    for message_id, entries in _answers(talk).items():
        seqs = sorted({entry.seq for entry in entries})
        if seqs[-1] - seqs[0] != len(seqs) - 1:
            faults.append(_fault("twice", talk, f"{message_id} is answered in two goes: {seqs}"))
        bodies = {entry.seq: entry.body for entry in entries}
        if len(set(bodies.values())) < len(bodies):
            faults.append(_fault("twice", talk, f"{message_id} got the same words twice: {bodies}"))
    faults += [
        _fault("twice", talk, f"the log holds {turns} turns for {message_id}")
        for message_id, turns in talk.turns.items()
        if turns > 1
    ]
    return faults


def _order(talk: Conversation) -> list[Fault]:
    """Accepted in another order than sent, or answered in another order than accepted."""
    place = {message_id: seqs[0] for message_id, seqs in _acked(talk).items()}
    faults = []
    for earlier, later in pairwise(message_id for message_id in _sent(talk) if message_id in place):
        if place[earlier] >= place[later]:
            faults.append(
                _fault("order", talk, f"{earlier} was sent first, but seq {place[earlier]} ≥ {place[later]} of {later}")
            )
    answered = [place[talk.answers[entry.seq]] for entry in _bot_entries(talk) if talk.answers.get(entry.seq) in place]
    for first, second in pairwise(answered):
        if first > second:
            faults.append(_fault("order", talk, f"the message at seq {first} was answered before the one at {second}"))
    return faults


def _gaps(talk: Conversation) -> list[Fault]:
    """An entry missing, repeated or out of place on the client's screen."""
    expected, faults = 1, []
    for event in talk.events:
        if isinstance(event, Resynced):
            expected = event.next_seq
        elif isinstance(event, Received):
            if event.seq != expected:
                faults.append(_fault("gap", talk, f"seq {event.seq} arrived where {expected} was due"))
            expected = event.seq + 1
    if expected != talk.last_seq + 1:
        faults.append(_fault("gap", talk, f"the client has seq 1..{expected - 1} of {talk.last_seq}"))
    return faults


def _rewritten(talk: Conversation) -> list[Fault]:
    """An entry that reads differently when the conversation is opened anew."""
    if talk.reread is None:
        return []
    seen = {event.seq: event for event in talk.events if isinstance(event, Received)}
    again = {entry.seq: entry for entry in talk.reread}
    return [
        _fault("gap", talk, f"seq {seq} was {seen.get(seq)}, opened anew it is {again.get(seq)}")
        for seq in sorted(seen.keys() | again.keys())
        if seen.get(seq) != again.get(seq)
    ]


def _invented(talk: Conversation) -> list[Fault]:
    """An entry nobody asked for: the echo of, or an answer to, a message this client never sent."""
    sent = set(_sent(talk))
    faults = []
    for event in talk.events:
        if not isinstance(event, Received):
            continue
        origin = event.message_id if event.author == "customer" else talk.answers.get(event.seq)
        if origin not in sent:
            faults.append(_fault("invented", talk, f"seq {event.seq} ({event.author}) belongs to {origin}"))
    return faults


def _fault(kind: Kind, talk: Conversation, detail: str) -> Fault:
    return Fault(kind=kind, client=talk.client, detail=detail)


def _sent(talk: Conversation) -> list[str]:
    return [event.message_id for event in talk.events if isinstance(event, Sent)]


def _acked(talk: Conversation) -> dict[str, list[int]]:
    """The seqs that acks named, by message; more than one only when the server contradicted itself."""
    seqs: dict[str, list[int]] = defaultdict(list)
    for event in talk.events:
        if isinstance(event, Acked) and event.seq not in seqs[event.message_id]:
            seqs[event.message_id].append(event.seq)
    return dict(seqs)


def _bot_entries(talk: Conversation) -> list[Received]:
    entries = {event.seq: event for event in talk.events if isinstance(event, Received) and event.author == "bot"}
    return [entries[seq] for seq in sorted(entries)]


def _answers(talk: Conversation) -> dict[str, list[Received]]:
    """The bot's entries by the message they answer, each entry once however often it arrived."""
    answers: dict[str, list[Received]] = defaultdict(list)
    for entry in _bot_entries(talk):
        if entry.seq in talk.answers:
            answers[talk.answers[entry.seq]].append(entry)
    return dict(answers)


# ---- platforms that push: Slack, WeChat ----


@dataclass(frozen=True, kw_only=True)
class Told:
    """One message of a customer on a platform that delivers by HTTP and is written to.

    Attributes:
        sent_at: when its first delivery began, on the harness's clock.
        acked_at: when a delivery was answered with 200; None: never, and nothing is promised.
    """

    message_id: str
    sent_at: float
    acked_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Talk:
    """One customer on such a platform. `heard`: the message that each reply answers, in the order of the replies.

    `unknown`: messages whose reply the server shows to an operator as "may have arrived"; they may be heard or not.
    """

    client: str
    told: Sequence[Told]
    heard: Sequence[str]
    unknown: frozenset[str] = frozenset()


def check_talks(talks: Iterable[Talk]) -> Verdict:
    """Hold what a platform saw against the contract; there is no sequence, so nothing to find gaps in."""
    faults: list[Fault] = []
    sent = acked = answered = received = 0
    for talk in talks:
        for find in (_unheard, _heard_twice, _heard_in_disorder, _unasked):
            faults += find(talk)
        sent += len(talk.told)
        accepted = {one.message_id for one in talk.told if one.acked_at is not None}
        acked += len(accepted)
        answered += len(accepted & set(talk.heard))
        received += len(talk.heard)
    counts: dict[Kind, int] = {kind: sum(fault.kind == kind for fault in faults) for kind in KINDS}
    return Verdict(
        faults=tuple(faults), sent=sent, acked=acked, answered=answered, received=received, resyncs=0, counts=counts
    )


def _unheard(talk: Talk) -> list[Fault]:
    """Acknowledged, and neither answered nor shown to an operator."""
    known = set(talk.heard) | talk.unknown
    return [
        Fault(kind="lost", client=talk.client, detail=f"{one.message_id} was acknowledged and never answered")
        for one in talk.told
        if one.acked_at is not None and one.message_id not in known
    ]


def _heard_twice(talk: Talk) -> list[Fault]:
    return [
        Fault(kind="twice", client=talk.client, detail=f"{message_id} was answered {count} times")
        for message_id, count in Counter(talk.heard).items()
        if count > 1
    ]


def _heard_in_disorder(talk: Talk) -> list[Fault]:
    """Answered before a message that had been acknowledged when this one was first sent.

    Of two under way at once nobody outside knows which was accepted first. An `unknown` one that an operator let go
    late says nothing about order.
    """
    place = {message_id: number for number, message_id in reversed(list(enumerate(talk.heard)))}
    accepted = sorted(
        (one.acked_at, place[one.message_id], one.message_id)
        for one in talk.told
        if one.acked_at is not None and one.message_id in place and one.message_id not in talk.unknown
    )
    faults, latest, name = [], -1, ""
    waiting = iter(accepted)
    upcoming = next(waiting, None)
    for one in sorted(talk.told, key=lambda told: told.sent_at):
        while upcoming is not None and upcoming[0] <= one.sent_at:
            if upcoming[1] > latest:
                latest, name = upcoming[1], upcoming[2]
            upcoming = next(waiting, None)
        mine = place.get(one.message_id)
        if mine is not None and mine < latest and one.message_id not in talk.unknown:
            faults.append(
                Fault(kind="order", client=talk.client, detail=f"{one.message_id} was answered before {name}")
            )
    return faults


def _unasked(talk: Talk) -> list[Fault]:
    sent = {one.message_id for one in talk.told}
    return [
        Fault(kind="invented", client=talk.client, detail=f"a reply answers {message_id}")
        for message_id in talk.heard
        if message_id not in sent
    ]
