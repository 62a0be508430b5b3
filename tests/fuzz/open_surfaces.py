"""Malformed requests of channels that anybody may speak to: REST, web chat, uploads, links, Socket.IO, Rasa's API."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import jwt

from connectors.visitors import new_visitor_id, visitor_token
from tests.fuzz import mutations as m
from tests.fuzz.requests import Asked, Header
from tests.fuzz.shop import API_TOKEN, BOUNDARY, ORIGIN, QUESTION, form_of, upload_headers
from tests.fuzz.surfaces import Case, Surface, Verdict
from tests.sample_files import BY_KIND, DRAWING, PAGE, PROGRAM, png


class RestSurface:
    channel = "rest"

    def strict(self, rng: random.Random) -> Case:
        body = self._message(rng)
        match rng.randrange(5):
            case 0 | 1:
                return self._case("no JSON", m.not_json(rng, body))
            case 2:
                wrong: Any = rng.choice((None, True, 1, [], {}, ["x"], "", " \n", "\x00", "\ud800", "x" * 70_000))
                return self._case("no message", m.dumped(m.replaced(body, "message", wrong)))
            case 3:
                senders: Any = (True, [], {}, "", " ", "x" * 300, "\x00", "a\nb", "web:x", "slack:T/D", "telegram:1")
                return self._case("a sender that cannot be", m.dumped({**body, "sender": rng.choice(senders)}))
            case _:
                wrong_extra: Any = rng.choice(
                    ({"metadata": rng.choice((1, "x", [], True, {"a": m.nested(40)}, {"a": float("inf")}))},
                     {"message_id": rng.choice(([], {}, 1.5, "x" * 300, "\n"))},
                     {"input_channel": rng.choice((1, [], "x" * 65))})
                )  # fmt: skip
                return self._case("a field that cannot be", m.dumped(body | wrong_extra))

    def loose(self, rng: random.Random) -> Case:
        body = self._message(rng) | {"metadata": {"a": m.hostile(rng)}}
        raw = m.dumped(m.blind_json(rng, body)) if rng.random() < 0.7 else m.blind_bytes(rng, m.dumped(body))
        return self._case("changed by chance", raw, "at_most_one")

    def _message(self, rng: random.Random) -> dict[str, object]:
        return {"sender": f"mallory-{rng.randrange(10_000)}", "message": QUESTION}

    def _case(self, kind: str, body: bytes, verdict: Verdict = "refused") -> Case:
        return Case(
            channel=self.channel, kind=kind, asked=Asked(path="/webhooks/rest/webhook", body=body), verdict=verdict
        )


@dataclass(frozen=True, kw_only=True)
class UploadSurface:
    """`secret` signs visitors' tokens."""

    secret: bytes
    channel: str = "files"

    def strict(self, rng: random.Random) -> Case:
        right = visitor_token(new_visitor_id(), self.secret)
        match rng.randrange(4):
            case 0:
                token = rng.choice(
                    ("", "x", right[:-1], right.replace(".", ".."), new_visitor_id(), "é.é", "x" * 5_000)
                )
                return self._case("no visitor's", upload_headers(token), form_of(png()))
            case 1:
                return self._case(
                    "no form", upload_headers(right, self._boundary(rng)), rng.randbytes(rng.randrange(900))
                )
            case 2:
                return self._case("no file that is taken", upload_headers(right), self._unwanted(rng))
            case _:
                return self._link(rng)

    def loose(self, rng: random.Random) -> Case:
        body = m.blind_bytes(rng, form_of(rng.choice(list(BY_KIND.values())), rng.choice(_NAMES)))
        right = visitor_token(new_visitor_id(), self.secret)
        case = self._case("changed by chance", upload_headers(right), body)
        return Case(channel=case.channel, kind=case.kind, asked=case.asked, verdict="at_most_one")

    def _boundary(self, rng: random.Random) -> bytes:
        return rng.choice((b"", b"x" * 900, b"\xff\xfe", b'"', b"other", b"a\x00b", BOUNDARY + b"; boundary=b"))

    def _unwanted(self, rng: random.Random) -> bytes:
        contents = (b"", PROGRAM, b"\x00" * 99, b"PK\x03\x04" + rng.randbytes(300), png(60_000))
        whole = form_of(rng.choice(contents), rng.choice(_NAMES))
        good = form_of(png())
        return rng.choice(
            (whole, whole, whole, good[: rng.randrange(len(good) - 60)], form_of(png(), field=b"other"),
             good.replace(b"filename", b"filenam"), form_of(PAGE), form_of(DRAWING))
        )  # fmt: skip

    def _link(self, rng: random.Random) -> Case:
        file_id = rng.choice((new_visitor_id(), "..", "%2e%2e%2f%2e%2e", "%00", "%ff", "x" * 3_000))
        expires = rng.choice(("", "0", "99999999999", "9" * 400, "-1", "²", "1e9", "%ff"))
        query = f"expires={expires}&signature={rng.choice(('', 'x' * 43, '%ff%fe', 'é'))}"
        asked = Asked(path=f"/files/{file_id}/a.png", method="GET", query=query.encode())
        return Case(channel=self.channel, kind="a link that nobody signed", asked=asked, verdict="refused")

    def _case(self, kind: str, headers: tuple[Header, ...], body: bytes) -> Case:
        asked = Asked(path="/webchat/upload", headers=headers, body=body)
        return Case(channel=self.channel, kind=kind, asked=asked, verdict="refused")


_NAMES = (
    b"a.png", b"", b"\xff\xfe.png", b"../../x.png", b"a\x00.png", b"x" * 2_000, b'"', b"CON", "你好.txt".encode(),
    b"a.png\r\nX-Evil: 1", b"%00", b"\xed\xa0\x80.pdf", b"a;filename*=utf-8''%ff",
)  # fmt: skip


class PageSurface:
    """What a browser gets: the brand, the widget's files, the demo, health. Nothing of it writes."""

    channel = "web pages"
    _PATHS = (
        "/webchat/brand",
        "/demo",
        "/demo/",
        "/widget/kefu.js",
        "/demo/debug",
        "/metrics",
        "/readyz",
        "/healthz",
        "/",
    )

    def strict(self, rng: random.Random) -> Case:
        path = rng.choice(self._PATHS)
        path += rng.choice(
            ("", "", "%00", "..%2f..%2fetc%2fpasswd", "%ff", "/" * 50, "%f0%9f%92%a9", "x" * 2_000, ".map")
        )
        headers: list[Header] = [
            (b"x-kefu-visitor", rng.choice((b"", b"\xff", b"x" * 900, b"a.b"))),
            (
                b"origin",
                rng.choice((ORIGIN.encode(), b"null", b"http://[", b"http://[::1", b"//", b"\xff", b"https://x:y")),
            ),
            (b"if-none-match", rng.choice((b"", b"*", b"\xff"))),
        ]
        method, query = rng.choice(("GET", "GET", "HEAD", "OPTIONS", "POST")), rng.randbytes(rng.randrange(30))
        asked = Asked(path=path, method=method, query=query, headers=tuple(rng.sample(headers, 2)))
        return Case(channel=self.channel, kind="a hostile page view", asked=asked, verdict="no_message")

    loose = strict


class SocketIoSurface:
    """Long polling without a session, or with one that nobody has; campaign.py sends the packets of open ones."""

    channel = "socketio"

    def strict(self, rng: random.Random) -> Case:
        versions, sids = (b"4", b"3", b"x", b"", b"\xff"), (b"unknown", b"%00", b"x" * 900, b"\xff", b"")
        query = b"EIO=" + rng.choice(versions) + b"&transport=polling&sid=" + rng.choice(sids)
        if rng.random() < 0.3:
            query = rng.choice((b"", b"transport=carrier-pigeon&EIO=4", b"EIO=4&transport=websocket", b"EIO=4&j=x"))
        body = rng.choice((b"", b"42[", b"4" * 9_000, b"\x1e" * 999, b"b" + rng.randbytes(99), rng.randbytes(300)))
        method = "POST" if rng.random() < 0.7 else rng.choice(("PUT", "DELETE"))
        path = rng.choice(("/socket.io/", "/socket.io/x", "/socket.io/%00"))
        asked = Asked(path=path, method=method, query=query, body=body)
        return Case(channel=self.channel, kind="a session that nobody has", asked=asked, verdict="no_message")

    loose = strict


class ApiSurface:
    """Rasa's HTTP API: without a right, and with the token but nothing that can be read."""

    channel = "rasa_api"
    _WRITING: Sequence[tuple[str, str]] = (
        ("POST", "tracker/events"), ("PUT", "tracker/events"), ("POST", "messages"), ("POST", "execute"),
        ("POST", "trigger_intent"),
    )  # fmt: skip
    _ALL = (
        ("GET", "/status"), ("GET", "/domain"), ("POST", "/model/parse"), ("POST", "/model/predict"),
        ("POST", "/model/train"), ("PUT", "/model"), ("DELETE", "/model"), ("GET", "/conversations/x/tracker"),
        *((method, f"/conversations/x/{path}") for method, path in _WRITING),
    )  # fmt: skip

    def strict(self, rng: random.Random) -> Case:
        match rng.randrange(5):
            case 0 | 1:
                method, path = rng.choice(self._ALL)
                bearers = (
                    b"", b"Bearer wrong", b"Bearer \xff\xfe", b"Basic x", b"bearer  ", b"Bearer " + b"x" * 9_000,
                    b"Bearer " + jwt.encode({"user": {"role": "admin"}}, "guessed " * 5).encode(),
                    b"Bearer " + jwt.encode({"user": {"role": "admin"}}, "", algorithm="none").encode(),
                )  # fmt: skip
                headers = ((b"authorization", rng.choice(bearers)),)
                query = rng.choice((b"", b"token=wrong", b"token=%ff", b"token="))
                body = m.dumped({"name": "ask_hours", "text": "x"})
                return self._case("without a right", method, path, body, "refused", query, headers)
            case 2:
                method, path = rng.choice(self._WRITING)
                return self._case("no JSON", method, self._of(rng, path), self._no_value(rng), "refused")
            case 3:
                method, path = rng.choice(self._WRITING[:2])
                return self._case("no event", method, self._of(rng, path), m.dumped(self._no_event(rng)), "refused")
            case _:
                path = rng.choice(("tracker", "story"))
                query = b"include_events=" + rng.choice((b"ALL", b"x", b"%ff", b"")) + b"&until="
                query += rng.choice((b"nan", b"1e999", b"x", b"-1", b"%ff", b"1" * 900))
                return self._case("a hostile question", "GET", self._of(rng, path), b"", "no_message", query)

    def loose(self, rng: random.Random) -> Case:
        event = {"event": "user", "text": QUESTION, "parse_data": {"intent": {"name": "ask_hours"}, "entities": []}}
        bodies: Sequence[tuple[str, str, Callable[[], object]]] = (
            ("POST", "tracker/events", lambda: m.blind_json(rng, event)),
            ("POST", "tracker/events", lambda: {"event": "slot", "name": m.hostile(rng), "value": m.hostile(rng)}),
            ("PUT", "tracker/events", lambda: [m.blind_json(rng, event), event]),
            ("POST", "messages", lambda: {"sender": "user", "text": m.hostile(rng)}),
            ("POST", "trigger_intent", lambda: {"name": "ask_hours", "entities": m.hostile(rng)}),
            ("POST", "execute", lambda: {"name": m.hostile(rng), "policy": m.hostile(rng)}),
        )
        method, path, make = rng.choice(bodies)
        return self._case("changed by chance", method, self._of(rng, path), m.dumped(make()), "at_most_one")

    def _of(self, rng: random.Random, path: str) -> str:
        names = ("mallory", f"m-{rng.randrange(999)}", "x" * 300, "\x00", "a/b", "web:x", "é", " ", "..")
        return f"/conversations/{quote(rng.choice(names), safe='')}/{path}"

    def _no_value(self, rng: random.Random) -> bytes:
        """Not even a list or null: those mean something here."""
        while True:
            raw = m.not_json(rng, {"event": "restart"})
            try:
                json.loads(raw)
            except (ValueError, RecursionError):
                if raw.strip():
                    return raw

    def _no_event(self, rng: random.Random) -> object:
        return rng.choice(
            (1, "x", [[]], [None], {"event": m.not_text(rng)}, {"event": "nothing_known"}, {"event": "slot"},
             {"event": "user", "timestamp": rng.choice(("x", True, [], {}))}, [{"event": "handoff"}],
             {"event": "user", "text": "x", "parse_data": rng.choice((1, "x", []))}, {})
        )  # fmt: skip

    def _case(
        self, kind: str, method: str, path: str, body: bytes, verdict: Verdict, query: bytes = b"",
        headers: tuple[Header, ...] = ((b"authorization", f"Bearer {API_TOKEN}".encode()),),
    ) -> Case:  # fmt: skip
        asked = Asked(path=path, method=method, body=body, query=query, headers=headers)
        return Case(channel=self.channel, kind=kind, asked=asked, verdict=verdict)


def open_surfaces(secret: bytes) -> tuple[Surface, ...]:
    return (RestSurface(), UploadSurface(secret=secret), PageSurface(), SocketIoSurface(), ApiSurface())


# ---- frames ----


def wrong_frame(rng: random.Random) -> str | bytes:
    """A frame of an open web chat that can only be answered with an error."""
    send = {"type": "send", "client_msg_id": f"message-{rng.getrandbits(40)}", "text": "hello"}
    wrong: Sequence[Callable[[], object]] = (
        lambda: {"type": m.not_text(rng)},
        lambda: {"type": rng.choice(("", "welcome", "ack", "SEND", "\ud800"))},
        lambda: {**send, "client_msg_id": rng.choice((None, 1, "", "short", "x" * 65, "äöü-12345", [], "\ud800" * 9))},
        lambda: {**send, "text": rng.choice((None, 1, [], "", " ", "\x00", "x" * 5_000, True))},
        lambda: {**send, "payload": rng.choice(("x", 1, [], {}))},
        lambda: {**send, "title": rng.choice((1, [], "x" * 201))},
        lambda: {**send, "language": rng.choice((1, [], "x" * 36))},
        lambda: {**send, "attachments": rng.choice((["x"], ["\x00"], [1], "x", {}, ["a"] * 6, ["x" * 65], ["\ud800"]))},
        lambda: {**send, "context": rng.choice((1, "x", [], {"a": "x" * 5_000}, {"a": m.nested(40)}))},
        lambda: {"type": "seen", "seq": rng.choice((None, "1", -1, 1.5, 2**53, True, [], 10**400))},
        lambda: {"type": "identify", "identity": rng.choice((None, 1, "", "a.b.c", "x" * 4_096, "x" * 5_000, "é.é.é"))},
        lambda: {"type": "identify", "identity": jwt.encode({"email": "a@b.c", "exp": 2**40}, "guessed " * 5)},
    )  # fmt: skip
    match rng.randrange(10):
        case 0:
            return rng.randbytes(rng.randrange(1, 90))
        case 1:
            raw = m.not_json(rng, send)
            try:
                return raw.decode()
            except UnicodeDecodeError:
                return raw  # a text frame holds UTF-8 and nothing else: this comes as a binary one
        case 2:
            return "[" * 60_000
        case 3:
            return json.dumps(send | {"x": "y" * 70_000})
        case _:
            return m.dumped(rng.choice(wrong)()).decode()


def wrong_hello(rng: random.Random) -> str | bytes:
    """A first frame that opens no chat."""
    hello = {"type": "hello", "protocol": 1}
    wrong: Sequence[Callable[[], object]] = (
        lambda: {**hello, "protocol": rng.choice((None, "1", 2, -1, True, 1.5, []))},
        lambda: {**hello, "visitor": rng.choice((1, [], "x" * 201))},
        lambda: {**hello, "resume_from": rng.choice(("0", -1, 2**53, 1.5, None))},
        lambda: {**hello, "history": rng.choice(("0", -1, 10_001, []))},
        lambda: {**hello, "identity": rng.choice((1, "x" * 4_097, {}))},
        lambda: {"type": rng.choice(("ping", "seen", "identify"))},
        lambda: {"type": "send", "client_msg_id": "message-1", "text": "hello"},
    )
    return wrong_frame(rng) if rng.random() < 0.3 else m.dumped(rng.choice(wrong)()).decode()
