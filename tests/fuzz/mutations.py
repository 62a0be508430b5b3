"""What is done to valid messages: bytes, JSON, XML and forms, broken in ways that are known or left to chance.

Pure functions of a random generator. `not_…` and `wrong_…` are certain not to be what was asked for; `blind_…` may by
chance still be a valid message.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Rng = random.Random

HOSTILE_TEXTS = (
    *("", " ", "\x00", "\ud800", "a\udfffb", "\u202e", "\ufeff", "\x1b[31m", "💥" * 40, "x" * 300, "x" * 70_000),
    *("../../etc/passwd", "${jndi:ldap://x/y}", "' OR 1=1--", "%s%n%x", "{{7*7}}", "<script>", "]]>", "/", "/{", "/a{"),
    *('/greet{"x": NaN}', "NaN", "null", "1e999", "0x10", "१२३", "²", "1.1", "-1", "\r\nSet-Cookie: a=b", "\n" * 50),
)
NUMBERS = (0, -1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**64), 10**400, 1.5, -0.0, 1e308, float("inf"), float("nan"))


def hostile(rng: Rng) -> Any:
    """Any JSON value, seldom a pleasant one."""
    return rng.choice((lambda: rng.choice(HOSTILE_TEXTS), lambda: not_text(rng)))()


def not_text(rng: Rng) -> Any:
    """A JSON value that is no string."""
    makers: tuple[Callable[[], Any], ...] = (
        lambda: rng.choice((None, True, False)),
        lambda: rng.choice(NUMBERS),
        lambda: rng.choice(([], {}, [[]], [None], {"": {}}, {"$ne": None}, {"__proto__": {"a": 1}}, [0] * 500)),
        lambda: nested(rng.choice((5, 25, 60, 300))),
        lambda: [rng.choice(HOSTILE_TEXTS)],
        lambda: {rng.choice(HOSTILE_TEXTS): rng.choice(HOSTILE_TEXTS)},
    )
    return rng.choice(makers)()


def nested(levels: int) -> Any:
    value: Any = None
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def dumped(value: Any) -> bytes:
    """JSON as clients write it; infinity is written as a number that only reads as infinite."""
    return json.dumps(value).replace("-Infinity", "-1e999").replace("Infinity", "1e999").encode()


# ---- bytes ----


def blind_bytes(rng: Rng, raw: bytes) -> bytes:
    """Flipped, cut, doubled, swapped bytes."""
    content = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(len(content) + 1)
        match rng.randrange(6):
            case 0 if content:
                content[min(place, len(content) - 1)] ^= 1 << rng.randrange(8)
            case 1:
                del content[place:]
            case 2:
                content[place:place] = rng.randbytes(rng.choice((1, 4, 60)))
            case 3:
                content[place:place] = content[: rng.randrange(40)]
            case 4:
                del content[place : place + rng.randrange(1, 12)]
            case _:
                content[place:place] = rng.choice((b"\xff\xfe", b"\x00", b"\xed\xa0\x80", b"&", b"=", b'"', b"%", b"}"))
    return bytes(content)


def not_json(rng: Rng, value: Any) -> bytes:
    """No JSON object, as Python's own reader says: cut, wrong encodings, another kind of value, nested too deep."""
    while True:
        candidate = _maybe_not_json(rng, value)
        try:
            is_object = isinstance(json.loads(candidate, parse_constant=_refuse), dict)
        except (ValueError, RecursionError):
            return candidate
        if not is_object:
            return candidate


def _maybe_not_json(rng: Rng, value: Any) -> bytes:
    raw = dumped(value)
    match rng.randrange(9):
        case 0:
            return raw[: rng.randrange(len(raw))]
        case 1:
            return rng.choice((b"", b" ", b"null", b"[]", b"0", b'"x"', b"true", b"[" + raw + b"]"))
        case 2:
            return b'{"a":' * 5_000 + b"1" + b"}" * 5_000
        case 3:
            return rng.choice((b"[", b'{"a":[')) * 20_000
        case 4:
            return raw.replace(b'"', rng.choice((b"'", b"", b"\xff")), rng.randrange(1, 5))
        case 5:
            return rng.randbytes(rng.randrange(1, 200))
        case 6:
            return raw[:-1] + b', "n": ' + rng.choice((b"NaN", b"Infinity", b"1" * 5_000, b"01", b".5", b"+1")) + b"}"
        case 7:
            return blind_bytes(rng, raw)
        case _:
            return raw + rng.choice((b"}", b"{}", b"\x00", raw))


def _refuse(name: str) -> None:
    raise ValueError(name)


# ---- JSON ----


def replaced(value: Mapping[str, Any], path: str, by: Any) -> dict[str, Any]:
    """A copy with something else at the dotted path; the path must be there."""
    changed: dict[str, Any] = copy.deepcopy(dict(value))
    *outer, last = path.split(".")
    inner: Any = changed
    for name in outer:
        inner = inner[name]
    assert last in inner, path
    inner[last] = by
    return changed


def without(value: Mapping[str, Any], path: str) -> dict[str, Any]:
    changed = replaced(value, path, None)
    *outer, last = path.split(".")
    inner: Any = changed
    for name in outer:
        inner = inner[name]
    del inner[last]
    return changed


def blind_json(rng: Rng, value: Mapping[str, Any]) -> dict[str, Any]:
    """One to three places of any depth replaced, removed, renamed or exchanged."""
    changed: dict[str, Any] = copy.deepcopy(dict(value))
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(changed))
        if not places:
            break
        holder, key = rng.choice(places)
        match rng.randrange(5):
            case 0 | 1:
                holder[key] = hostile(rng)
            case 2:
                del holder[key]
            case 3 if isinstance(holder, dict):
                holder[rng.choice(HOSTILE_TEXTS)] = holder.pop(key)
            case _:
                other, other_key = rng.choice(places)
                holder[key] = copy.deepcopy(other[other_key])
    return changed


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        keys: Sequence[Any] = list(value) if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield value, key
            yield from _places(value[key])


# ---- XML ----


def not_xml(rng: Rng, text: str, *, is_sealed: bool = False) -> bytes:
    """No document that may be read: not well-formed, with a DTD or entities, in no encoding, of another root.

    `is_sealed`: it will be read as UTF-8, whatever encoding it declares.
    """
    raw = text.encode()
    makers: tuple[Callable[[], bytes], ...] = (
        lambda: raw[: rng.randrange(len(raw))],
        lambda: rng.randbytes(rng.randrange(1, 300)),
        lambda: raw.replace(b"</", rng.choice((b"<", b"</x", b"")), 1),
        lambda: _bomb(rng) + raw.replace(b"<xml>", b"<xml><a>&e9;</a>"),
        lambda: b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + raw.replace(b"<xml>", b"<xml><a>&e;</a>"),
        lambda: b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">' + raw,
        lambda: b"" if is_sealed else b"<?xml version='1.0' encoding='nothing-known'?>" + raw,
        lambda: b"" if is_sealed else b"<?xml version='1.0' encoding='utf-16'?>" + raw,
        lambda: raw.replace(b"<xml>", b"<html>").replace(b"</xml>", b"</html>"),
        lambda: raw.replace(b"<xml>", b"<xml>" + rng.choice((b"\x00", b"\xff", b"\xed\xa0\x80", b"&undefined;", b"<"))),
        lambda: b"<a>" * 9_000,
        lambda: raw + raw,
        lambda: b"<xml " + b" ".join(b'a="1"' for _ in range(9)) + b">" + raw[5:],
    )
    return rng.choice(makers)()


def _bomb(rng: Rng) -> bytes:
    """A billion laughs."""
    lines = [f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha"}">' for n in range(10)]
    return f"<!DOCTYPE x [{''.join(lines)}]>".encode()


# ---- heads ----


def strange_headers(rng: Rng) -> tuple[tuple[bytes, bytes], ...]:
    """Headers beside those that count; none of them makes a request valid."""
    choices: tuple[tuple[bytes, bytes], ...] = (
        (
            b"content-type",
            rng.choice((b"", b"text/plain", b"application/json; charset=utf-7", b"\xff\xfe", b"x" * 5_000)),
        ),
        (b"x-forwarded-for", rng.choice((b"127.0.0.1", b"'", b"::1, 1.2.3.4", b"x" * 9_000))),
        (b"cookie", b"a=" + rng.randbytes(40).replace(b"\n", b"").replace(b"\r", b"")),
        (b"x-slack-retry-num", rng.choice((b"1", b"-1", b"9" * 400, b"x"))),
        (b"accept", rng.choice((b"*/*", b"\xc3\xa4", b"application/x-yaml;q=;", b"," * 999))),
        (b"authorization", rng.choice((b"Basic \xff", b"Bearer", b"Bearer a.b.c", b"Bearer " + b"x" * 9_000))),
        (b"accept-language", b"zh" * 2_000),
        (b"origin", rng.choice((b"null", b"http://[::1", b"https://\xff", b"http://localhost:99999"))),
        (b"expect", b"100-continue"),
        (b"x" * 3_000, b"y"),
    )
    return tuple(rng.sample(choices, rng.randrange(4)))
