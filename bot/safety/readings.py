"""The ways in which a text may be meant to be read: as it stands, decoded, backwards.

Invariant: a reading holds nothing but what the text itself says, and is short work whatever the text is.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import unicodedata
from collections.abc import Callable, Iterator
from urllib.parse import unquote

_TAGS = range(0xE0020, 0xE007F)
"""Invisible copies of ASCII."""
_QUOTES = str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'", "“": '"', "”": '"'})
_BLANKS = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\s*\n\s*")


def plain(text: str) -> str:
    """A text in compatible lower-case forms, without invisible characters; runs of blanks are one, lines stay lines."""
    shown = "".join(chr(ord(char) - 0xE0000) if ord(char) in _TAGS else char for char in text)
    shown = "".join(char for char in unicodedata.normalize("NFKC", shown) if unicodedata.category(char) != "Cf")
    return _LINES.sub("\n", _BLANKS.sub(" ", shown.translate(_QUOTES))).strip().casefold()


def readings(text: str) -> Iterator[tuple[str, str]]:
    """How a text was read ("" as it stands) and what it says then, in plain forms; decoded only where that gives a word
    of instructions."""
    yield "", plain(text)
    for how, decode in _DISGUISES.items():
        said = decode(text)
        if said != text and _OF_INSTRUCTIONS.search(said):
            yield how, plain(said)


# ---- disguises ----

_OF_INSTRUCTIONS = re.compile(
    r"instruct|prompt|ignor|disregard|forget|overrid|reveal|pretend|system|restrict|rules|[忽规規]|指令|提示",
    re.IGNORECASE,
)
_SPACED = re.compile(r"\b(?:\w[ ._-]){3,}\w\b")
_LEET = str.maketrans("013457@$", "oieastas")
_LEET_WORD = re.compile(r"[\w@$]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")
_BASE32 = re.compile(r"[A-Z2-7]{16,}={0,6}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2} ?){12,}")
_BITS = re.compile(r"(?:[01]{8}\s?){8,}")
_ESCAPES = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")


def _unspaced(text: str) -> str:
    return _SPACED.sub(lambda found: re.sub(r"[ ._-]", "", found[0]), text)


def _unleeted(text: str) -> str:
    return _LEET_WORD.sub(lambda found: found[0].translate(_LEET), text)


def _unescaped(text: str) -> str:
    return _ESCAPES.sub(lambda found: chr(int(found[1] or found[2], 16)), unquote(text))


def _in_place(pattern: re.Pattern[str], decode: Callable[[str], bytes]) -> Callable[[str], str]:
    """Decodes whatever matches and turns out to be text."""

    def said(found: re.Match[str]) -> str:
        try:
            words = decode(found[0]).decode("utf-8")
        except (ValueError, binascii.Error):
            return found[0]
        return words if words.isprintable() else found[0]

    return lambda text: pattern.sub(said, text)


def _padded(text: str, block: int) -> str:
    bare = text.rstrip("=")
    return bare + "=" * (-len(bare) % block)


def _of_bits(text: str) -> bytes:
    bits = re.sub(r"\s", "", text)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


_DISGUISES: dict[str, Callable[[str], str]] = {
    "base64": _in_place(_BASE64, lambda found: base64.b64decode(_padded(found, 4), validate=True)),
    "base32": _in_place(_BASE32, lambda found: base64.b32decode(_padded(found, 8))),
    "hexadecimal": _in_place(_HEX, bytes.fromhex),
    "binary": _in_place(_BITS, _of_bits),
    "escapes": _unescaped,
    "spaced letters": _unspaced,
    "digits as letters": _unleeted,
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "backwards": lambda text: text[::-1],
}
