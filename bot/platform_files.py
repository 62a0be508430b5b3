"""Files that lie with the platform that a customer writes on: fetched into our own store before the turn that they
belong to, so that an action, an operator and `kefu erase` find them where those of the web chat are.

Invariant: a file that cannot be had never costs the message its answer; its entry says why it is not there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.base import Connector, ConnectorError, InboundMessage
from connectors.fetching import FetchFailed, FetchRefused, FileConnector, PlatformFile
from connectors.file_kinds import UnwantedFile
from connectors.files import Correspondent, FileStore, FileTooLarge, StoreFull, TooOften, attachment

log = logging.getLogger("kefu.files")

WITHIN_S = 20.0  # all files of a message together; the customer waits for the answer meanwhile
AT_ONCE = 8  # each may be held in memory as a whole
TRIES = 3
WAIT_S = 0.5  # between two of them, doubled
_WORDS: Mapping[type[Exception], str] = {
    FileTooLarge: "too_large",
    UnwantedFile: "unwanted_kind",
    TooOften: "too_many",
    StoreFull: "store_full",
    FetchRefused: "refused",
}
"""What an entry's `error` says; "unavailable" is every other failure."""


class PlatformFiles:
    """Fetches and keeps. An entry of `attachments` that was dealt with carries `source`, what the platform said of it,
    or `error`; one that carries neither is still to be fetched."""

    def __init__(self, connectors: Sequence[Connector], store: FileStore) -> None:
        self._connectors = {one.name: one for one in connectors if isinstance(one, FileConnector)}
        self._store = store
        self._places = asyncio.Semaphore(AT_ONCE)

    async def collect(self, message: InboundMessage) -> list[Any] | None:
        """The message's attachments, fetched or with the reason why not; None where there was nothing to fetch."""
        connector, entries = self._connectors.get(message.channel), message.metadata.get("attachments")
        if connector is None or not isinstance(entries, list):
            return None
        give_up_at = asyncio.get_running_loop().time() + WITHIN_S
        dealt_with = await asyncio.gather(*(self._collected(connector, message, one, give_up_at) for one in entries))
        return dealt_with if dealt_with != entries else None

    async def _collected(
        self, connector: FileConnector, message: InboundMessage, entry: Any, give_up_at: float
    ) -> object:
        if not isinstance(entry, Mapping) or "source" in entry or "error" in entry:
            return entry
        try:
            async with asyncio.timeout_at(give_up_at), self._places:
                return await self._kept(connector, message, entry)
        except Exception as error:
            why = next((word for kind, word in _WORDS.items() if isinstance(error, kind)), "unavailable")
            # Whatever is neither the platform's nor the network's doing is a fault of ours: with its traceback.
            is_ours = not isinstance(error, ConnectorError | TimeoutError | OSError)
            level = logging.ERROR if is_ours else logging.WARNING
            fields = {"channel": message.channel, "reason": why, "error": repr(error)}
            log.log(level, "files.not_fetched", exc_info=error if is_ours else None, extra=fields)
            return {**entry, "error": why}

    async def _kept(
        self, connector: FileConnector, message: InboundMessage, entry: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        found = await self._fetched(connector, message, entry)
        if found is None:
            return entry
        await self._store.admit(message.sender_id)
        owner = Correspondent(
            channel=message.channel,
            customer=message.customer,
            sender_id=message.sender_id,
            account=message.account,
            thread=message.thread,
            must_exist=True,
        )
        file = await self._store.put(owner, found.name, found.content)
        return {**attachment(file, self._store.link(file)), "source": dict(entry)}

    async def _fetched(
        self, connector: FileConnector, message: InboundMessage, entry: Mapping[str, Any]
    ) -> PlatformFile | None:
        for attempt in range(1, TRIES):
            try:
                return await connector.fetch_file(message, entry, self._store.rules.max_bytes)
            except FetchFailed as error:
                log.info("files.fetch_again", extra={"channel": message.channel, "error": repr(error)})
                await asyncio.sleep(WAIT_S * 2 ** (attempt - 1))
        return await connector.fetch_file(message, entry, self._store.rules.max_bytes)
