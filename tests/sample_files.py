"""Small real files of every kind, made by hand or by the standard library: nothing of our own code."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping


def png(size: int = 0) -> bytes:
    """One grey pixel; with `size`, so many bytes in all."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    tail = chunk(b"IDAT", zlib.compress(b"\x00\x80")) + chunk(b"IEND", b"")
    padding = size - len(head) - len(tail)
    return head + (chunk(b"teXt", b"x" * (padding - 12)) if padding > 0 else b"") + tail


def archive(**parts: str | bytes) -> bytes:
    """A ZIP; a part's name is written with "__" for "/"."""
    return _archive({name.replace("__", "/"): content for name, content in parts.items()})


def office(main: str, *more: str) -> bytes:
    """An Office document whose main part is this one, with more parts."""
    return _archive({"[Content_Types].xml": "<Types/>", main: "<x/>"} | dict.fromkeys(more, "x"))


def open_document(kind: str, *more: str) -> bytes:
    media_type = f"application/vnd.oasis.opendocument.{kind}"
    return _archive({"mimetype": media_type, "content.xml": "<x/>"} | dict.fromkeys(more, "x"))


def _archive(parts: Mapping[str, str | bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return made.getvalue()


JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")
GIF = b"GIF89a\x01\x00\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
WEBP = b"RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00/\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00"
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
PROGRAM = b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00"
PAGE = b"<!DOCTYPE html><script>alert(document.domain)</script>"
DRAWING = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'

BY_KIND: dict[str, bytes] = {
    "png": png(),
    "jpg": JPEG,
    "gif": GIF,
    "webp": WEBP,
    "pdf": PDF,
    "txt": "Grüße, 你好\n".encode(),
    "csv": "Artikel;Preis\nLampe;12,50\n".encode("latin-1"),
    "docx": office("word/document.xml"),
    "xlsx": office("xl/workbook.xml"),
    "pptx": office("ppt/presentation.xml"),
    "odt": open_document("text"),
    "ods": open_document("spreadsheet"),
    "odp": open_document("presentation"),
}
