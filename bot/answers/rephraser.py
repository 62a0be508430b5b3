"""Responses of the domain in the brand's voice: each text is worded once, and kept while the same generator serves.

What may be said is the writer's to decide. Invariant: a response waits no longer than an answer may take, and whatever
fails there is a value.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict

from bot.answers.writer import Writer
from bot.answers.writers import CurrentWriter
from bot.dialogue.effects import NotRephrased, Rephrase, Rephrased
from bot.redaction import find
from models.base import ModelError

log = logging.getLogger("kefu.rephraser")

MOST_KEPT = 1_000


class Rephraser:
    """Of one brand. `close` it at the end.

    What was kept is forgotten when another generator or guard serves. Nothing is kept with words from a slot, or in
    which personal data is recognised: what a customer has erased must not be here.
    """

    def __init__(self, writing: CurrentWriter, deadline_s: float) -> None:
        self._writing, self._deadline_s = writing, deadline_s
        self._known: OrderedDict[Rephrase, Rephrased | NotRephrased] = OrderedDict()
        self._known_to: Writer | None = None
        self._running: dict[Rephrase, asyncio.Task[Rephrased | NotRephrased]] = {}

    async def rephrase(self, effect: Rephrase) -> Rephrased | NotRephrased:
        """The text in other words, from before or anew. Who comes while it is being worded waits for the same words."""
        task = self._running.get(effect)
        if task is None:
            task = self._running[effect] = asyncio.create_task(self._worded(effect))
            task.add_done_callback(lambda _: self._running.pop(effect))
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.shield(task)
        except TimeoutError:
            return NotRephrased(why=f"nothing was written within {self._deadline_s:g} s")

    def usage(self) -> Mapping[str, float]:
        """What the generator was asked since it was loaded, and what it cost; empty where none serves."""
        used = self._writing.usage
        return asdict(used) if used else {}

    async def close(self) -> None:
        """End the generator; who still waits for it is told that there is none."""
        await self._writing.close()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _worded(self, effect: Rephrase) -> Rephrased | NotRephrased:
        try:
            return await self._tried(effect)
        except (ModelError, OSError, RuntimeError, ValueError) as error:  # it can be said as it is written
            log.exception("rephraser.failed")
            return NotRephrased(why=f"{type(error).__name__}: {error}")

    async def _tried(self, effect: Rephrase) -> Rephrased | NotRephrased:
        writer = await self._writing.get()
        if writer is None:
            return NotRephrased(why="no generator serves")
        if writer is not self._known_to:
            self._known.clear()
            self._known_to = writer
        if (known := self._known.get(effect)) is not None:
            self._known.move_to_end(effect)
            return known
        writing = await writer.rephrased(effect.text, effect.inserted, effect.language)
        outcome: Rephrased | NotRephrased = NotRephrased(why=writing.problem or "it cannot be said otherwise")
        if writing.text is not None and writing.text != effect.text:
            outcome = Rephrased(text=writing.text, model=writer.generator.name)
        if effect.inserted:
            return outcome
        if await asyncio.to_thread(find, effect.text):
            return outcome
        if not writing.has_failed and writer is self._known_to:
            self._known[effect] = outcome
            if len(self._known) > MOST_KEPT:
                self._known.popitem(last=False)
        return outcome
