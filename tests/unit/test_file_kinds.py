"""What a file is: by its bytes, whatever it is called; and a name that misleads nobody."""

from __future__ import annotations

import unicodedata
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.file_kinds import (
    DEFAULT_KINDS,
    KINDS,
    MAX_NAME_BYTES,
    MAX_NAME_CHARS,
    UnwantedFile,
    clean_name,
    recognise,
)
from tests.sample_files import (
    BY_KIND,
    DRAWING,
    GIF,
    HEIC,
    JPEG,
    PAGE,
    PDF,
    PROGRAM,
    archive,
    office,
    open_document,
    png,
)


@pytest.mark.parametrize("kind", BY_KIND)
def test_every_kind_is_known_by_its_content(kind: str) -> None:
    for name in ("", f"a.{kind}", "a.exe") if kind != "csv" else ("a.csv", "A.CSV", "a.tsv"):
        assert recognise(BY_KIND[kind], name, DEFAULT_KINDS).name == kind


def test_the_samples_are_every_kind_that_is_taken_by_default() -> None:
    assert set(BY_KIND) == set(DEFAULT_KINDS)


def test_a_kind_that_is_not_listed_is_refused_and_the_listed_are_named() -> None:
    with pytest.raises(UnwantedFile, match="taken are: png, pdf"):
        recognise(HEIC, "a.heic", ["pdf", "png"])
    assert recognise(HEIC, "a", ["heic"]).media_type == "image/heic"
    assert recognise(b"#!AMR\n<\x91\x17", "a", ["amr"]).media_type == "audio/amr"
    assert recognise(b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00", "a", ["mp4"]).media_type == "video/mp4"
    with pytest.raises(UnwantedFile, match="none"):
        recognise(JPEG, "a.jpg", [])


REFUSED = {
    "a program": PROGRAM,
    "an ELF program": b"\x7fELF\x02\x01\x01\x00" + bytes(8),
    "a page": PAGE,
    "a page after spaces": b" \r\n\t" + PAGE,
    "a page after a byte order mark": b"\xef\xbb\xbf" + PAGE,
    "a page in UTF-16": "\ufeff<script>".encode("utf-16-le"),
    "a drawing that can run scripts": DRAWING,
    "XML": b'<?xml version="1.0"?><x/>',
    "any archive": archive(a="x"),
    "a Java archive": archive(**{"META-INF__MANIFEST.MF": "x"}),
    "a document with macros": office("word/document.xml", "word/vbaProject.bin"),
    "an open document with macros": open_document("text", "Basic/Standard/Module1.xml"),
    "a document of no kind": office("other/main.xml"),
    "an archive that says it is a document": archive(mimetype="application/zip", x="x"),
    "the beginning of an archive": b"PK\x03\x04" + bytes(100),
    "text with a NUL": b"hello\x00world",
    "a picture that is also a PDF": GIF[:-1] + PDF,
    "a picture that is also an archive": png() + archive(**{"META-INF__MANIFEST.MF": "x"}),
    "text that is also a PDF": b"hello\n" + PDF,
    "almost a PNG": b"\x89PNG\r\n\x1a\n" + bytes(30),
    "an old Office file": bytes.fromhex("d0cf11e0a1b11ae1") + bytes(500),
}


@pytest.mark.parametrize("what", REFUSED)
def test_everything_else_is_refused(what: str) -> None:
    for name in ("a.png", "a.txt", "a.docx", "a"):
        with pytest.raises(UnwantedFile):
            recognise(REFUSED[what], name, DEFAULT_KINDS)


def test_an_archive_of_very_many_names_is_not_even_opened() -> None:
    entry = archive(a="")
    start = entry.index(b"PK\x01\x02")
    listing = entry[start : entry.index(b"PK\x05\x06")]
    with pytest.raises(UnwantedFile):
        recognise(entry[:start] + listing * 6_000 + entry[-22:], "a.docx", DEFAULT_KINDS)


@pytest.mark.parametrize("text", ["Grüße\n", "你好，世界", "a\tb\r\n\f", "1 < 2", "<3 thank you", "x"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_text_in_the_encodings_that_people_use(text: str, encoding: str) -> None:
    assert recognise(text.encode(encoding), "note", DEFAULT_KINDS).name == "txt"


@given(
    st.binary(max_size=300)
    | st.sampled_from(sorted(BY_KIND.values())).flatmap(
        lambda it: st.binary(max_size=40).map(lambda end: it[:-7] + end)
    )
)
def test_no_content_breaks_the_recognition(content: bytes) -> None:
    with suppress(UnwantedFile):
        assert recognise(content, "a", KINDS).name in KINDS


# ---- names ----


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("photo.png", "photo.png"),
        ("Photo.PNG", "Photo.PNG"),
        ("发票 2026.png", "发票 2026.png"),
        ("../../etc/passwd", "passwd.png"),
        ("..\\..\\boot.ini", "boot.ini.png"),
        ("C:\\Users\\ann\\a.png", "a.png"),
        ("/etc/shadow.png", "shadow.png"),
        ("a/../b.png", "b.png"),
        ("..", "file.png"),
        (".", "file.png"),
        ("", "file.png"),
        ("///", "file.png"),
        (".png", "png.png"),
        (".htaccess", "htaccess.png"),
        ("a.png.", "a.png"),
        ("a.html", "a.html.png"),
        ("a.png.exe", "a.png.exe.png"),
        ("a\x00.exe.png", "a.exe.png"),
        ("a\r\nSet-Cookie: x=1.png", "aSet-Cookie_ x=1.png"),
        ('a"; filename="b.exe', "a_; filename=_b.exe.png"),
        ("photo\u202egnp.exe", "photognp.exe.png"),
        ("a\u200b\ufeffb.png", "ab.png"),
        ("a*?<>|:b.png", "a______b.png"),
        ("CON.png", "_CON.png"),
        ("nul", "_nul.png"),
        ("cafe\u0301.png", "café.png"),
        ("  a   b  .png", "a b.png"),
        ("\ud800.png", "png.png"),
        ("%2e%2e%2fpasswd.png", "%2e%2e%2fpasswd.png"),
    ],
)
def test_names(given_: str, shown: str) -> None:
    assert clean_name(given_, KINDS["png"]) == shown


@given(st.text(max_size=400), st.sampled_from(sorted(KINDS)))
def test_every_name_is_short_printable_and_ends_as_its_kind(given_: str, kind: str) -> None:
    name = clean_name(given_, KINDS[kind])
    assert len(name) <= MAX_NAME_CHARS
    assert len(name.encode()) <= MAX_NAME_BYTES
    assert name.lower().endswith(KINDS[kind].suffixes)
    assert not set(name) & set('/\\<>:"|?*')
    assert not any(unicodedata.category(char)[0] == "C" for char in name)
    assert not name.startswith((".", " "))
    assert clean_name(name, KINDS[kind]) == name
