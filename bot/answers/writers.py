"""Who words answers now: a server that kefu.yml names, or the local generator that was trained last.

A folder `writer-<name>` beside the indexes holds all that the local one needs; the file WRITER names the one that
counts, so that a running server takes up a new one, as it does an index.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bot.answers.guard import Guard
from bot.answers.knowledge import GUARD, judge_folder
from bot.answers.writer import Writer
from bot.assistant.brand import Brand
from bot.assistant.config import GenerationConfig
from models.artifact import sha256_file
from models.base import ArtifactInvalid
from models.cross_encoder import CrossEncoder
from models.generation import Generator, LocalGenerator, Prices, ServedGenerator, Usage

log = logging.getLogger("kefu.writers")

WRITER = "WRITER"
MODEL, ABOUT = "merged.gguf", "writer.json"
BOTH = ("en", "zh")
AGAIN_AFTER_S = 5.0
"""What could not be made is tried again after this long."""

TunedPart = Literal["judge", "writer"]
"""What has to be trained before anything is worded: who checks it, and who words it."""


@dataclass(frozen=True, kw_only=True)
class Writers:
    """Makes the writer."""

    store: Path
    config: GenerationConfig
    brand: Brand
    threads: int = 1

    def wanted(self) -> str | None:
        """Names the writer that should serve, so that a change shows; None where answers are only quoted. Nothing is
        worded that no cross-encoder can check."""
        guard = named(self.store / GUARD) if self.config.is_on else None
        if guard is None:
            return None
        chosen = f"server {self.config.server} {self.config.model}" if self.config.server else self._local()
        return f"{chosen}/{guard}" if chosen else None

    def untrained(self) -> tuple[TunedPart, ...]:
        """What has to be trained before answers can be worded, in its order; nothing where they are only quoted."""
        if not self.config.is_on:
            return ()
        guard = named(self.store / GUARD)
        needed: dict[TunedPart, bool] = {
            "judge": guard is None or not judge_folder(self.store, guard).is_dir(),
            "writer": self.config.server is None and self._trained() is None,
        }
        return tuple(part for part, is_missing in needed.items() if is_missing)

    def make(self) -> Writer:
        """Raises ArtifactInvalid where its files are damaged."""
        generator, languages = self._generator()
        return Writer(
            generator, guard_of(self.store, self.threads), self.brand, self.config.languages or languages,
            deadline_s=self.config.deadline_s, is_elsewhere=self.config.server is not None,
        )  # fmt: skip

    def _generator(self) -> tuple[Generator, tuple[str, ...]]:
        config = self.config
        if config.server:
            prices = Prices(prompt=config.prices.get("prompt", 0.0), completion=config.prices.get("completion", 0.0))
            return ServedGenerator(config.server, config.model, api_key=config.api_key, prices=prices), BOTH
        folder = self.store / (self._local() or "")
        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            name, languages = str(about["name"]), tuple(map(str, about["languages"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactInvalid(f"{folder}: the generator cannot be read ({error}); kefu knowledge tune") from error
        # -P: the folder it is started in may be an assistant's, whose `models/` is another.
        command = [sys.executable, "-P", "-m", "models.llama_server", str(folder / MODEL)]
        return LocalGenerator([*command, "--threads", str(self.threads)], name), languages

    def _local(self) -> str | None:
        return self._trained() if importlib.util.find_spec("xllamacpp") is not None else None

    def _trained(self) -> str | None:
        name = named(self.store / WRITER)
        # os.path: a folder that this user may not open has no file for it either.
        return name if name is not None and os.path.isfile(self.store / name / MODEL) else None


class CurrentWriter:
    """The writer that serves, changed when another should. `close` it at the end."""

    def __init__(self, writers: Writers) -> None:
        self._writers = writers
        self._name: str | None = None
        self._writer: Writer | None = None
        self._lock = asyncio.Lock()
        self._again_at = 0.0
        self._is_closed = False

    async def get(self) -> Writer | None:
        """None where answers are only quoted."""
        async with self._lock:
            wanted = None if self._is_closed else await asyncio.to_thread(self._writers.wanted)
            if wanted != self._name and time.monotonic() >= self._again_at:
                await self._change(wanted)
            return self._writer

    @property
    def usage(self) -> Usage | None:
        """What the one that serves was asked; None where none does."""
        return self._writer.generator.usage if self._writer else None

    async def close(self) -> None:
        async with self._lock:
            self._is_closed = True
            await self._change(None)

    async def _change(self, wanted: str | None) -> None:
        """Take the wanted one; where it cannot be made none serves, and it is tried again a little later."""
        before, self._writer, self._name = self._writer, None, None
        if before is not None:
            await before.generator.close()
        if wanted is None:
            return
        try:
            self._writer = await asyncio.to_thread(self._writers.make)
        except (ArtifactInvalid, OSError, ValueError):  # damaged files, or an address that is none
            log.exception("writer.unreadable")
            self._again_at = time.monotonic() + AGAIN_AFTER_S
            return
        self._name = wanted
        log.info("writer.loaded", extra={"model": self._writer.generator.name})


def guard_of(store: Path, threads: int) -> Guard:
    """The guard with the cross-encoder that GUARD names. Raises ArtifactInvalid."""
    folder = judge_folder(store, named(store / GUARD) or "")
    return Guard.load(CrossEncoder(folder, threads), folder)


def named(file: Path) -> str | None:
    """What the file names; None where there is none."""
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def writer_name(folder: Path) -> str:
    """Another name whenever it writes otherwise."""
    return f"writer-{sha256_file(folder / MODEL)[:16]}"
