"""Who words answers now: a server that kefu.yml names, or the local generator that was trained last.

A folder `writer-<name>` beside the indexes holds all that the local one needs, and says in ABOUT which server it needs;
the file WRITER names the one that counts, so that a running server takes up a new one, as it does an index.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bot.answers.guard import Guard
from bot.answers.index_files import GUARD, judge_folder
from bot.answers.writer import Writer
from bot.assistant.brand import Brand
from bot.assistant.config import GenerationConfig
from models.artifact import sha256_file
from models.base import ArtifactInvalid
from models.cross_encoder import CrossEncoder
from models.generation import Generator, LocalGenerator, Prices, ServedGenerator, Usage

log = logging.getLogger("kefu.writers")

WRITER = "WRITER"
ABOUT = "writer.json"
MODEL = "merged.gguf"
"""What llama.cpp serves: base and adapter in one."""
BASE, PEFT_ADAPTER = "base", "adapter"
"""Folders that `transformers` serves."""
BOTH = ("en", "zh")
AGAIN_AFTER_S = 5.0
"""What could not be made is tried again after this long."""

TunedPart = Literal["judge", "writer"]
"""What has to be trained before anything is worded: who checks it, and who words it."""

Server = Literal["llama.cpp", "transformers"]
PACKAGES: Mapping[Server, Mapping[str, str]] = {
    "llama.cpp": {"xllamacpp": "generate"},
    "transformers": {"torch": "train", "transformers": "train", "peft": "train"},
}
"""What each local server needs: package → the extra of Kefu that has it."""
_STARTS_WITHIN_S: Mapping[Server, float] = {"llama.cpp": 30.0, "transformers": 300.0}


@dataclass(frozen=True, kw_only=True)
class About:
    """What `writer.json` says of a trained generator; `has_template`: the model has a chat template of its own."""

    name: str
    languages: tuple[str, ...]
    server: Server = "llama.cpp"
    has_template: bool = True

    @classmethod
    def read(cls, folder: Path) -> About:
        """Raises ArtifactInvalid."""
        try:
            said = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            server = said.get("server", cls.server)  # those of before had one
            if server not in PACKAGES:
                raise ValueError(f"there is no server {server!r}")
            return cls(
                name=str(said["name"]), languages=tuple(map(str, said["languages"])), server=server,
                has_template=bool(said.get("has_template", cls.has_template)),
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactInvalid(f"{folder}: the generator cannot be read ({error}); kefu knowledge tune") from error

    @property
    def missing(self) -> dict[str, str]:
        """Packages that serving it needs and that are not here, with their extras."""
        return {name: extra for name, extra in PACKAGES[self.server].items() if importlib.util.find_spec(name) is None}

    def command(self, folder: Path, threads: int) -> list[str]:
        """What starts its server."""
        if self.server == "llama.cpp":
            model = ["models.llama_server", str(folder / MODEL), *([] if self.has_template else ["--without-template"])]
        else:
            model = ["models.transformers_server", str(folder / BASE), str(folder / PEFT_ADAPTER)]
        # -P: the folder it is started in may be an assistant's, whose `models/` is another.
        return [sys.executable, "-P", "-m", *model, "--threads", str(threads)]


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
        generator, languages = self.generator()
        return Writer(
            generator, guard_of(self.store, self.threads), self.brand, languages,
            deadline_s=self.config.deadline_s, is_elsewhere=self.config.server is not None,
        )  # fmt: skip

    def generator(self) -> tuple[Generator, tuple[str, ...]]:
        """What words answers, and the languages it may write. Raises ArtifactInvalid where its files are damaged."""
        config = self.config
        if config.server:
            prices = Prices(prompt=config.prices.get("prompt", 0.0), completion=config.prices.get("completion", 0.0))
            served = ServedGenerator(config.server, config.model, api_key=config.api_key, prices=prices)
            return served, config.languages or BOTH
        folder = self.store / (self._local() or "")
        about = About.read(folder)
        generator = LocalGenerator(
            about.command(folder, self.threads), about.name, start_within_s=_STARTS_WITHIN_S[about.server]
        )
        # It can write no language that it was not trained in.
        wanted = config.languages or about.languages
        return generator, tuple(language for language in about.languages if language in wanted)

    def about(self) -> About | None:
        """What was trained last; None where nothing was, or where it cannot be read."""
        name = self._trained()
        try:
            return About.read(self.store / name) if name else None
        except ArtifactInvalid:
            return None

    def _local(self) -> str | None:
        """What was trained, where its packages are here; damaged, it is named all the same, and `make` says so."""
        about = self.about()
        return None if about is not None and about.missing else self._trained()

    def _trained(self) -> str | None:
        name = named(self.store / WRITER)
        if name is None:
            return None
        # What an earlier version trained has neither. os.path: nor has, for this user, a folder that it may not open.
        return name if any(os.path.exists(self.store / name / each) for each in (MODEL, BASE)) else None


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


def writer_name(base_sha256: str, adapter: Path) -> str:
    """Another name whenever it writes otherwise."""
    made_of = base_sha256 + sha256_file(adapter)
    return f"writer-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"
