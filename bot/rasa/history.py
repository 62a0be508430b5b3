"""A Rasa SQL tracker store's conversations brought into Kefu's database, in batches. The SQL is `bot.storage`'s.

Invariant: run it as often as you like: what is here already stays as it is, and what failed is named, never fatal.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bot.storage.database import Database
from bot.storage.importing import Outcome, add_conversations
from bot.storage.rasa_store import BadRow, RasaStore, StoredConversation

Progress = Callable[[str, int, int], None]
# Rows of one commit: enough that commits cost nothing, few enough for memory and for others who wait to write.
BATCH_ROWS = 2000
NAMED = 100
"""How many conversations and rows a report names of each kind; the rest are counted."""


@dataclass(kw_only=True)
class HistoryReport:
    """What an import did. The lists name the first `NAMED`, the counts are of all.

    Attributes:
        different: conversations whose name has other events here; left alone.
        refused: conversations whose name is empty or begins as another channel's ("web:…").
    """

    new: int = 0
    extended: int = 0
    unchanged: int = 0
    different: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    events: int = 0
    bad_rows: int = 0
    bad: list[BadRow] = field(default_factory=list)
    n_different: int = 0
    n_refused: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def note(self, conversation: StoredConversation, outcome: Outcome, added: int) -> None:
        self.events += added
        self.bad_rows += len(conversation.bad_rows)
        self.bad += conversation.bad_rows[: NAMED - len(self.bad)]
        if outcome == "different":
            self.n_different += 1
            self.different += [conversation.sender_id][: NAMED - len(self.different)]
        elif outcome == "refused":
            self.n_refused += 1
            self.refused += [conversation.sender_id][: NAMED - len(self.refused)]
        else:
            setattr(self, outcome, getattr(self, outcome) + 1)


async def import_history(
    db: Database, assistant_id: str, url: str, progress: Progress = lambda step, done, total: None
) -> HistoryReport:
    """Bring every conversation of the tracker store at `url` into `db`.

    Raises:
        ConfigurationError: the tracker store cannot be read.
        StorageError: our own database refused; what was committed before stays, run it again.
    """
    store = await asyncio.to_thread(RasaStore.open, url)
    report = HistoryReport()
    try:
        senders = await asyncio.to_thread(store.senders)
        done = 0
        progress("conversations", 0, len(senders))
        for batch in _batches(senders):
            read = await asyncio.to_thread(_read_batch, store, batch)
            outcomes = await db.write(functools.partial(add_conversations, assistant_id=assistant_id, batch=read))
            for conversation, (outcome, added) in zip(read, outcomes, strict=True):
                report.note(conversation, outcome, added)
            done += len(batch)
            progress("conversations", done, len(senders))
    finally:
        await asyncio.to_thread(store.close)
    return report


def _read_batch(store: RasaStore, names: Sequence[str]) -> list[StoredConversation]:
    return list(store.conversations(names))


def _batches(senders: Sequence[tuple[str, int]]) -> Iterator[list[str]]:
    """Names whose rows come to some `BATCH_ROWS`; a conversation is never cut."""
    waiting = iter(senders)
    batch: list[str] = []
    rows = 0
    for sender, n in waiting:
        batch.append(sender)
        rows += n
        if rows >= BATCH_ROWS:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch
