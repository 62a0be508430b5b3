"""Where customers' files are kept: `connectors.files.FileStore` over the database and a folder, or any fsspec URL.

Invariant: a content is found only once it is written whole and its row says so; it is named by its random id alone, so
that nothing a customer typed is ever part of a path.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from bot.assistant.loader import Assistant
from bot.errors import ConfigurationError, StorageError
from bot.settings import Settings
from bot.storage import files
from bot.storage.database import Database
from connectors.file_kinds import DEFAULT_KINDS, KINDS
from connectors.files import GIGABYTE, MEGABYTE, Correspondent, FileLinks, FileRules, StoredFile, StoreFull, TooOften

log = logging.getLogger("kefu.files")

MOST_AT_ONCE = 100


class FileArea:
    """Contents by id, in a folder or behind an fsspec URL. Blocking: call it from a thread."""

    def __init__(self, url: str) -> None:
        """Raises ConfigurationError where the URL names no file system that can be used."""
        try:
            self._system, root = url_to_fs(url)
        except (ImportError, ValueError, OSError) as error:
            # The URL itself is not shown: it may hold a password.
            raise ConfigurationError(
                f"KEFU_FILES_URL cannot be used: {type(error).__name__}: {error}; write a folder, file:///FOLDER, "
                "s3://BUCKET/PREFIX (pip install s3fs) or another fsspec URL"
            ) from error
        self._root = str(root).rstrip("/")
        self._is_local = isinstance(self._system, LocalFileSystem)

    def write(self, assistant_id: str, file_id: str, content: bytes) -> None:
        """Durable when it returns. Until then a reader may find a part of it, where that is no local folder."""
        path = self._path(assistant_id, file_id)
        if self._is_local:
            _write_durably(Path(path), content)
            return
        try:
            self._system.pipe_file(path, content)
        except FileNotFoundError:  # of the systems that have folders
            self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._system.pipe_file(path, content)

    def read(self, assistant_id: str, file_id: str) -> bytes:
        """Raises FileNotFoundError."""
        content: Any = self._system.cat_file(self._path(assistant_id, file_id))
        return bytes(content)

    def remove(self, assistant_id: str, file_id: str) -> None:
        """Nothing to do where it is gone already."""
        with suppress(FileNotFoundError):
            self._system.rm_file(self._path(assistant_id, file_id))

    def _path(self, assistant_id: str, file_id: str) -> str:
        return f"{self._root}/{assistant_id}/{file_id[:2]}/{file_id}"


def _write_durably(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    fd = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Files:
    """The files of one assistant.

    Args:
        keep_days: after so many days a content is removed by `tidy`; the row stays.
    """

    def __init__(
        self,
        *,
        db: Database,
        assistant_id: str,
        area: FileArea,
        secret: bytes,
        rules: FileRules | None = None,
        keep_days: float = 90,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._db, self._assistant_id, self._area, self._clock = db, assistant_id, area, clock
        self._rules, self._keep = rules or FileRules(), timedelta(days=keep_days)
        self._links = FileLinks(secret, self._rules.link_for_s, lambda: clock().timestamp())

    @classmethod
    def of(cls, settings: Settings, assistant: Assistant, db: Database) -> Files:
        """As the settings say. Raises ConfigurationError for a KEFU_FILES_… that cannot be used."""
        kinds = DEFAULT_KINDS if settings.files_types is None else settings.files_types
        if unknown := [name for name in kinds if name not in KINDS]:
            raise ConfigurationError(f"KEFU_FILES_TYPES: {unknown[0]!r} is not one of {', '.join(KINDS)}")
        return cls(
            db=db,
            assistant_id=assistant.assistant_id,
            area=FileArea(settings.files_place),
            secret=settings.secret(),
            rules=FileRules(
                max_bytes=int(settings.files_max_mb * MEGABYTE),
                total_bytes=int(settings.files_total_gb * GIGABYTE),
                kinds=kinds,
                link_for_s=int(settings.files_link_min * 60),
                text=assistant.config.file_text,
            ),
            keep_days=settings.files_keep_days,
        )

    @property
    def rules(self) -> FileRules:
        return self._rules

    async def admit(self, sender_id: str) -> None:
        """See `connectors.files.FileStore`, as for the other methods without a docstring."""
        since, mine = self._clock() - timedelta(hours=1), self._assistant_id
        if await self._db.read(lambda c: files.count_since(c, mine, sender_id, since)) >= self._rules.max_per_hour:
            raise TooOften(f"at most {self._rules.max_per_hour} files an hour are taken; try again later")
        if await self._db.read(lambda c: files.kept_bytes(c, mine)) >= self._rules.total_bytes:
            log.warning("files.store_full")
            raise StoreFull

    async def put(self, owner: Correspondent, name: str, content: bytes) -> StoredFile:
        shown_name, media_type = await asyncio.to_thread(self._rules.check, name, content)
        file = StoredFile(id=secrets.token_urlsafe(16), name=shown_name, media_type=media_type, size=len(content))
        mine, now = self._assistant_id, self._clock()
        await self._db.write(lambda c: files.begin(c, mine, owner, file, now, self._rules.total_bytes))
        await asyncio.to_thread(self._area.write, mine, file.id, content)
        if not await self._db.write(lambda c: files.finish(c, mine, file.id, self._clock())):
            await asyncio.to_thread(self._area.remove, mine, file.id)
            raise StorageError("the conversation was erased while its file was written")
        return file

    async def find(self, sender_id: str, ids: Collection[str]) -> dict[str, StoredFile]:
        if not ids:
            return {}
        found = await self._db.read(lambda c: files.find(c, self._assistant_id, sender_id, ids))
        return {file.id: file for file in found}

    async def get(self, file_id: str) -> tuple[StoredFile, bytes] | None:
        file = await self._db.read(lambda c: files.get(c, self._assistant_id, file_id))
        if file is None:
            return None
        try:
            return file, await asyncio.to_thread(self._area.read, self._assistant_id, file_id)
        except FileNotFoundError:
            log.exception("files.content_missing", extra={"file_id": file_id})
            return None

    def link(self, file: StoredFile) -> str:
        return self._links.link(file)

    def opens(self, file_id: str, expires: str, signature: str) -> bool:
        return self._links.opens(file_id, expires, signature)

    async def tidy(self, now: datetime) -> int:
        """Remove what is older than `keep_days` or was never finished; how many they were."""
        mine, removed = self._assistant_id, 0
        while due := await self._db.read(lambda c: files.due(c, mine, now - self._keep, now, MOST_AT_ONCE)):
            gone = [file_id for file_id in due if await self._remove(file_id)]
            await self._db.write(functools.partial(files.mark_deleted, assistant_id=mine, ids=gone, now=now))
            removed += len(gone)
            if len(gone) < len(due):  # the rest waits for the next time, and does not hold up what comes behind it
                break
        return removed

    async def erase(self, customer_id: int) -> int:
        """Remove every file of a customer, contents and rows; how many they were.

        Raises OSError where a content cannot be removed; its row is kept, so that it can be tried again.
        """
        mine = self._assistant_id
        ids = await self._db.read(lambda c: files.of_customer(c, mine, customer_id))
        for file_id in ids:
            await asyncio.to_thread(self._area.remove, mine, file_id)
            await self._db.write(functools.partial(files.forget, assistant_id=mine, ids=[file_id]))
        return len(ids)

    async def _remove(self, file_id: str) -> bool:
        try:
            await asyncio.to_thread(self._area.remove, self._assistant_id, file_id)
        except OSError:
            log.exception("files.remove_failed", extra={"file_id": file_id})
            return False
        return True
