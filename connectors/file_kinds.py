"""What a file is, by its content alone, and the name it is shown under. Pure: bytes and text in, values out.

A sender's media type is never looked at and a sender's name decides nothing but between two kinds of plain text. What
answers to two kinds at once is refused where that is cheap to see; where it is not, the answer's headers make it
harmless (`connectors/file_routes.py`).

Invariant: `recognise` raises nothing but `UnwantedFile`, whatever the bytes are, and never unpacks more than a name.
"""

from __future__ import annotations

import io
import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass

from connectors.base import BadRequest

MAX_NAME_CHARS = 100
MAX_NAME_BYTES = 200  # most file systems take 255, and a browser puts " (1)" behind a second one
MAX_ZIP_ENTRIES = 5_000  # a document has dozens; the list of two hundred thousand would take the server's memory
_ZIP_ENTRY, _ZIP_END = b"PK\x01\x02", b"PK\x05\x06"
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
_OFFICE = "application/vnd.openxmlformats-officedocument."


class UnwantedFile(BadRequest):
    """The file is of a kind that is not taken."""

    http_status = 415


@dataclass(frozen=True, kw_only=True)
class Kind:
    """`suffixes`: what such a file's name ends in; the first is given to a name that ends in none of them."""

    name: str
    media_type: str
    suffixes: tuple[str, ...]


def _kind(name: str, media_type: str, *more: str) -> Kind:
    return Kind(name=name, media_type=media_type, suffixes=(f".{name}", *more))


KINDS = {
    kind.name: kind
    for kind in (
        _kind("png", "image/png"),
        _kind("jpg", "image/jpeg", ".jpeg", ".jpe", ".jfif"),
        _kind("gif", "image/gif"),
        _kind("webp", "image/webp"),
        _kind("heic", "image/heic", ".heif"),
        _kind("pdf", "application/pdf"),
        _kind("txt", "text/plain", ".text", ".log", ".md"),
        _kind("csv", "text/csv", ".tsv"),
        _kind("docx", f"{_OFFICE}wordprocessingml.document"),
        _kind("xlsx", f"{_OFFICE}spreadsheetml.sheet"),
        _kind("pptx", f"{_OFFICE}presentationml.presentation"),
        _kind("odt", f"{_OPEN_DOCUMENT}text"),
        _kind("ods", f"{_OPEN_DOCUMENT}spreadsheet"),
        _kind("odp", f"{_OPEN_DOCUMENT}presentation"),
        _kind("amr", "audio/amr"),
        _kind("mp4", "video/mp4", ".m4v", ".mov"),
    )
}
# Few browsers can show the first; nobody looks into the others, which WeChat's customers speak and film.
DEFAULT_KINDS = tuple(name for name in KINDS if name not in {"heic", "amr", "mp4"})
# Browsers show these without running anything in them.
SHOWN_INLINE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})

_BEGINNINGS = (
    (re.compile(rb"\x89PNG\r\n\x1a\n.{4}IHDR", re.DOTALL), "png"),
    (re.compile(rb"\xff\xd8\xff[\xc0-\xfe]"), "jpg"),
    (re.compile(rb"GIF8[79]a"), "gif"),
    (re.compile(rb"RIFF.{4}WEBPVP8[ LX]", re.DOTALL), "webp"),
    (re.compile(rb".{4}ftyp(?:heic|heix|heim|heis|mif1)", re.DOTALL), "heic"),
    (re.compile(rb"%PDF-[12]\.\d"), "pdf"),
    (re.compile(rb"#!AMR(?:-WB)?\n"), "amr"),
    (re.compile(rb".{4}ftyp(?:isom|iso2|mp4[12]|avc1|M4V |qt  )", re.DOTALL), "mp4"),
)
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_MARKUP = re.compile(rb"\s*<[!?/a-zA-Z]")
_MAIN_PARTS = {"word/document.xml": "docx", "xl/workbook.xml": "xlsx", "ppt/presentation.xml": "pptx"}


def recognise(content: bytes, name: str, kinds: Collection[str]) -> Kind:
    """The kind of a file, one of those named in `kinds`.

    Raises:
        UnwantedFile: it is of another kind, of none that is known, of two at once, or a document with macros.
    """
    found = _found(content, name)
    if found is None or found not in kinds:
        wanted = ", ".join(kind for kind in KINDS if kind in kinds) or "none"
        raise UnwantedFile(f"this kind of file is not taken; taken are: {wanted}")
    return KINDS[found]


def _found(content: bytes, name: str) -> str | None:
    for beginning, kind in _BEGINNINGS:
        if beginning.match(content):
            is_two = kind != "pdf" and (b"%PDF-" in content[:1024] or _ends_as_zip(content))
            return None if is_two else kind
    if content.startswith(b"PK\x03\x04"):
        return _document(content)
    if not _is_text(content):
        return None
    return "csv" if name.lower().endswith(KINDS["csv"].suffixes) else "txt"


def _ends_as_zip(content: bytes) -> bool:
    """Whether an unpacker would take it: it reads from the end and ignores what stands in front."""
    return _ZIP_END in content[-65_558:] and _ZIP_ENTRY in content


def _is_text(content: bytes) -> bool:
    """Any encoding a spreadsheet writes; never something that a browser could take for a page."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            content = content.decode("utf-16").encode(errors="replace")
        except UnicodeDecodeError:
            return False
    content = content.removeprefix(b"\xef\xbb\xbf")
    return not _BINARY.search(content) and not _MARKUP.match(content) and b"%PDF-" not in content[:1024]


def _document(content: bytes) -> str | None:
    """An office document by the names of its parts; None for any other archive, and for one with macros."""
    if content.count(_ZIP_ENTRY) > MAX_ZIP_ENTRIES:
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = set(archive.namelist())
            declared = _declared(archive) if "mimetype" in parts else ""
    except (zipfile.BadZipFile, zlib.error, struct.error, ValueError, OSError, EOFError, RuntimeError, LookupError):
        return None
    if any(part.lower().endswith("vbaproject.bin") or part.startswith(("Basic/", "Scripts/")) for part in parts):
        return None
    if "[Content_Types].xml" in parts:
        return next((kind for part, kind in _MAIN_PARTS.items() if part in parts), None)
    return next((kind for kind in ("odt", "ods", "odp") if KINDS[kind].media_type == declared), None)


def _declared(archive: zipfile.ZipFile) -> str:
    with archive.open("mimetype") as file:
        return file.read(100).decode("ascii", errors="replace")


# ---- names ----

_SEPARATORS = re.compile(r"[/\\]")
_RISKY = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def clean_name(name: str, kind: Kind) -> str:
    """A name that no path, no terminal and no reader is misled by, ending as the content says: "a.html" → "a.html.txt".

    What is left out: folders, control and invisible characters (among them those that turn the reading direction, so
    that "exe.gpj" reads "jpg.exe"), characters that some file system refuses, dots at either end.
    """
    last = _SEPARATORS.split(unicodedata.normalize("NFC", name))[-1]
    shown = "".join(char for char in last if unicodedata.category(char)[0] != "C")
    shown = " ".join(_RISKY.sub("_", shown).split()).strip(". ")
    if _RESERVED.match(shown):
        shown = f"_{shown}"
    stem, dot, suffix = shown.rpartition(".")
    ending = f".{suffix}" if dot and stem and f".{suffix}".lower() in kind.suffixes else kind.suffixes[0]
    stem = shown.removesuffix(ending) or "file"
    return _cut(stem, ending) + ending


def _cut(stem: str, ending: str) -> str:
    stem = stem[: MAX_NAME_CHARS - len(ending)]
    return stem.encode()[: MAX_NAME_BYTES - len(ending)].decode(errors="ignore").rstrip(". ") or "file"
