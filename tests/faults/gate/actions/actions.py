"""An action that a test can hold, or in which the serving process kills itself: the turn dies exactly there.

The test says what shall happen to a word by a file of that name in the folder KEFU_GATE: `a.hold` (wait until it is
gone), `a.kill` (die now, the first time only), `a.kill-committed` (die as soon as the turn is in the database).
"""

import asyncio
import os
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from rasa_sdk import Action, Tracker
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.types import DomainDict


class ActionGate(Action):
    """Answers "echo a" to the word a, unless the test has other plans."""

    def name(self) -> str:
        return "action_gate"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[dict[str, Any]]:
        word = next(tracker.get_latest_entity_values("word"))
        gate = Path(os.environ["KEFU_GATE"])
        with (gate / "ran").open("a") as ran:
            ran.write(f"{word}\n")
        if _take(gate / f"{word}.kill"):
            _die()
        while (gate / f"{word}.hold").exists():
            await asyncio.sleep(0.01)
        if _take(gate / f"{word}.kill-committed"):
            threading.Thread(target=_die_once_committed, args=(word,), daemon=True).start()
        dispatcher.utter_message(text=f"echo {word}")
        return []


def _take(order: Path) -> bool:
    """Whether the order was there; it is carried out once."""
    try:
        order.unlink()
    except FileNotFoundError:
        return False
    return True


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_once_committed(word: str) -> None:
    # A connection of its own sees the row only after the commit.
    with closing(sqlite3.connect(Path(os.environ["KEFU_HOME"]) / "kefu.db", timeout=10)) as connection:
        while True:
            query = "SELECT count(*) FROM outbox WHERE body LIKE ?"
            if connection.execute(query, (f"%echo {word}%",)).fetchone()[0]:
                _die()
