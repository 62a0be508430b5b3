"""Erasing a customer over every store: files, database, the channels' notes. The SQL is `bot/storage/erasing.py`'s.

Invariant: a customer whose erasure failed in between is found again by the same name, so that it can be repeated.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from bot.answers.from_logs import FROM_LOGS, forget
from bot.assistant.loader import Assistant
from bot.files import Files
from bot.storage import asked, erasing
from bot.storage.database import Database

log = logging.getLogger("kefu.privacy")

AUDIT_FILE = "erasures.jsonl"


async def found(db: Database, assistant_id: str, who: str) -> tuple[list[int], dict[str, int]]:
    """Whom a sender_id or the e-mail address of a verified identity names, and the rows there are of them."""
    customers = await db.read(lambda c: erasing.customers_of(c, assistant_id, who))
    total: Counter[str] = Counter()
    for customer_id in customers:
        total.update(await db.read(lambda c, one=customer_id: erasing.counted(c, one)))  # type: ignore[misc]
    return customers, dict(total)


async def erase(db: Database, files: Files, assistant: Assistant, customer_id: int, audit: Path) -> Mapping[str, int]:
    """Erase one customer; how many rows of each table, files, and lines that the search learns from.

    `audit` gets a line with the customer's number and these counts, nothing else about them.

    Raises OSError where a file cannot be removed: then no row is erased.
    """
    assistant_id = assistant.assistant_id
    erased = {"file": await files.erase(customer_id)}
    key = await db.read(lambda c: asked.customer_key(c, customer_id))
    erased["question"] = await asyncio.to_thread(forget, assistant.root / FROM_LOGS, key)
    now = datetime.now(UTC)
    erased |= await db.write(lambda c: erasing.erase(c, assistant_id, customer_id, now))
    erased["file"] += await files.erase(customer_id)  # what was uploaded in between
    line = {"at": now.isoformat(timespec="seconds"), "assistant": assistant_id, "customer": customer_id, **erased}
    with audit.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    log.warning("customer.erased", extra={"customer_id": customer_id})
    return erased
