"""Files in the transcript: what is shown of a customer's attachments, and links that are fresh whenever it is read.

Invariant: a link is made only for a file of the conversation that is being read, whatever a message claims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connectors.base import File, Image, OutboundMessage, Part, Text
from connectors.file_kinds import SHOWN_INLINE
from connectors.files import FileStore, StoredFile, attachments_in, linked_id
from connectors.rendering import parts


def entry_parts(entry: OutboundMessage) -> list[Part]:
    """What an entry shows. A customer's button press is shown by the title they pressed, their files after the text."""
    if entry.author != "customer":
        return parts(entry.body)
    title = entry.metadata.get("title")
    shown = parts({"text": entry.body.get("text") if title is None else title})
    return [*shown, *(_unlinked(file) for file in attachments_in(entry.metadata))]


def _unlinked(file: StoredFile) -> Part:
    """A placeholder: `linked` gives it an address, or leaves the name where there is nothing to read any more."""
    url = f"/files/{file.id}/-"
    if file.media_type in SHOWN_INLINE:
        return Image(url=url, alt=file.name)
    return File(url=url, name=file.name, media_type=file.media_type, size=file.size)


async def fresh_links(files: FileStore | None, sender_id: str, shown: Sequence[Sequence[Part]]) -> Mapping[str, str]:
    """The links of every file of this conversation that the parts name, by id."""
    named = (part.url for parts_ in shown for part in parts_ if isinstance(part, Image | File))
    ids = {id_ for url in named if (id_ := linked_id(url)) is not None}
    if files is None or not ids:
        return {}
    return {id_: files.link(file) for id_, file in (await files.find(sender_id, ids)).items()}


def linked(shown: Sequence[Part], links: Mapping[str, str]) -> list[Part]:
    """The parts with these links; where a file is gone, its name as text, if it has one."""
    return [found for part in shown if (found := _linked(part, links)) is not None]


def _linked(part: Part, links: Mapping[str, str]) -> Part | None:
    if not isinstance(part, Image | File) or (id_ := linked_id(part.url)) is None:
        return part
    if id_ in links:
        return part.model_copy(update={"url": links[id_]})
    name = part.alt if isinstance(part, Image) else part.name
    return Text(text=name) if name else None
