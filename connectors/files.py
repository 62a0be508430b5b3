"""Files that customers and the company send each other: the store that the platform gives a connector, and its rules.

What a file is by its content is `file_kinds.py`'s, the routes are `file_routes.py`'s; the store itself is the
platform's. Every channel puts what it received through the same `FileStore.put`.

Invariant: a file belongs to one conversation; whoever names its id must own that conversation or hold a signed link.

BadRequest
├── FileTooLarge      413
└── UnwantedFile      415, see file_kinds.py
TooOften              429 with Retry-After
StoreFull             507
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from connectors.base import BadRequest, ConnectorError
from connectors.file_kinds import DEFAULT_KINDS, KINDS, clean_name, recognise

MEGABYTE = 1024 * 1024
GIGABYTE = 1024 * MEGABYTE


class FileTooLarge(BadRequest):
    """The file is larger than is taken."""

    http_status = 413


class TooOften(ConnectorError):
    """Too many files of one conversation in one hour."""

    http_status = 429
    retry_after_s = 600.0


class StoreFull(ConnectorError):
    """There is no room for more files, of whoever it is."""

    http_status = 507

    def __init__(self) -> None:
        super().__init__("no more files are taken at the moment; try again later")


@dataclass(frozen=True, kw_only=True)
class Correspondent:
    """Whose conversation a file belongs to, in the words of `InboundMessage`."""

    channel: str
    customer: str
    sender_id: str
    account: str = ""
    thread: str = ""
    must_exist: bool = False
    """The conversation was there already: where it is not any more, it was erased."""


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A kept file. `media_type` is what the content is, whatever its sender called it."""

    id: str
    name: str
    media_type: str
    size: int


@dataclass(frozen=True, kw_only=True)
class FileRules:
    """What is taken.

    Attributes:
        total_bytes: of all files of the assistant that are kept together.
        kinds: names of `file_kinds.KINDS`; none: nothing is taken.
        link_for_s: how long a link opens its file.
        text: what the bot reads where a customer sent files and no words; `{names}` are the files' names.
    """

    max_bytes: int = 10 * MEGABYTE
    total_bytes: int = 10 * GIGABYTE
    kinds: Collection[str] = DEFAULT_KINDS
    max_per_hour: int = 60
    link_for_s: int = 3600
    text: str = "{names}"

    def offer(self) -> dict[str, Any]:
        """What a client needs to know before it lets a customer choose files."""
        suffixes = [suffix for kind in self.kinds for suffix in KINDS[kind].suffixes]
        return {"max_bytes": self.max_bytes, "accept": suffixes}

    def check(self, name: str, content: bytes) -> tuple[str, str]:
        """The name to show and the media type. Raises as `FileStore.put` does."""
        if not content:
            raise BadRequest("the file is empty")
        if len(content) > self.max_bytes:
            raise FileTooLarge(f"the file is larger than {size_text(self.max_bytes)}")
        kind = recognise(content, name, self.kinds)
        return clean_name(name, kind), kind.media_type

    def text_of(self, files: Sequence[StoredFile]) -> str:
        """What the bot reads for these."""
        return self.text.replace("{names}", ", ".join(file.name for file in files))


class FileStore(Protocol):
    """Files of conversations. The implementations in memory and over SQL pass one contract suite (tests/contract)."""

    @property
    def rules(self) -> FileRules: ...

    async def admit(self, sender_id: str) -> None:
        """Before a file is read from the wire.

        Raises:
            TooOften: the conversation got `rules.max_per_hour` files within the hour.
            StoreFull: nothing more is kept, not even a file of one byte.
        """
        ...

    async def put(self, owner: Correspondent, name: str, content: bytes) -> StoredFile:
        """Keep a file, durably, under a name that is safe to show. It may come before the first message.

        Raises FileTooLarge, UnwantedFile (not one of `rules.kinds`), BadRequest (empty, or the conversation is another
        customer's), or StoreFull (with it, there would be more than `rules.total_bytes`).
        """
        ...

    async def find(self, sender_id: str, ids: Collection[str]) -> dict[str, StoredFile]:
        """Those of the ids that are this conversation's and still there."""
        ...

    async def get(self, file_id: str) -> tuple[StoredFile, bytes] | None:
        """None when there is no such file, or no more."""
        ...

    def link(self, file: StoredFile) -> str:
        """A path on this server: whoever has it may read the file for `rules.link_for_s`."""
        ...

    def opens(self, file_id: str, expires: str, signature: str) -> bool:
        """Whether these come from a link that this server signed and that has not expired."""
        ...


def attachment(file: StoredFile, url: str) -> dict[str, Any]:
    """A file as JSON: in an upload's answer, and in `InboundMessage.metadata["attachments"]`."""
    return {"id": file.id, "name": file.name, "media_type": file.media_type, "size": file.size, "url": url}


def attachments_in(metadata: Mapping[str, Any]) -> list[StoredFile]:
    """The files that a message's metadata names; what is no such entry is left out."""
    entries = metadata.get("attachments")
    found = []
    for entry in entries if isinstance(entries, list) else ():
        match entry:
            case {"id": str(id_), "name": str(name), "media_type": str(media_type), "size": int(size)}:
                found.append(StoredFile(id=id_, name=name, media_type=media_type, size=size))
    return found


def size_text(size: int) -> str:
    return f"{size / MEGABYTE:g} MB" if size >= MEGABYTE else f"{size} bytes"


# ---- links ----

_LINK = re.compile(r"/files/([A-Za-z0-9_-]{22})/[^/]+")
_EXPIRES = re.compile(r"[0-9]{1,12}")


def linked_id(url: str) -> str | None:
    """The id of the file that a path of ours names, whatever its signature."""
    found = _LINK.match(url)
    return found[1] if found else None


class FileLinks:
    """Signs and checks paths of files: HMAC-SHA256 over the id and the second at which the link ends."""

    def __init__(self, secret: bytes, for_s: int, clock: Callable[[], float] = time.time) -> None:
        self._secret, self._for_s, self._clock = secret, for_s, clock

    def link(self, file: StoredFile) -> str:
        expires = str(int(self._clock()) + self._for_s)
        return (
            f"/files/{file.id}/{quote(file.name, safe='')}?expires={expires}&signature={self._sign(file.id, expires)}"
        )

    def opens(self, file_id: str, expires: str, signature: str) -> bool:
        if not _EXPIRES.fullmatch(expires):
            return False
        is_ours = hmac.compare_digest(signature.encode(errors="replace"), self._sign(file_id, expires).encode())
        return is_ours and int(expires) > self._clock()

    def _sign(self, file_id: str, expires: str) -> str:
        said = f"kefu-file:1:{file_id}:{expires}".encode(errors="replace")
        return urlsafe_b64encode(hmac.digest(self._secret, said, hashlib.sha256)).rstrip(b"=").decode()
