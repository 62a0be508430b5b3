"""Malformed requests of the channels that sign or authenticate: Slack, WeChat, 微信客服, Telegram.

Each surface gives two kinds: `strict`, of which it is known that no message may come of it, and `loose`, a valid
message with something in it changed by chance under a right signature, of which at most one message may come.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from wechatpy.crypto import PrpCrypto, WeChatCrypto, _get_signature  # type: ignore[import-untyped]
from wechatpy.utils import WeChatSigner  # type: ignore[import-untyped]

from tests import slack_people
from tests.contract.telegram_platform import SECRET_HEADER
from tests.fuzz import mutations as m
from tests.fuzz.requests import Asked, Header
from tests.fuzz.shop import QUESTION, TELEGRAM_SECRET, telegram_update
from tests.kf_side import CORP_ID, KF_ACCOUNT
from tests.slack_server import ANNA, SECRET, Said
from tests.wechat_side import ACCOUNT, AES_KEY, APP_ID, event_xml, message_xml
from tests.wechat_side import TOKEN as WECHAT_TOKEN

Verdict = Literal["refused", "no_message", "at_most_one"]
"""What may come of a request: a 4xx answer; any answer below 500 and no row; below 500 and at most one message."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One request. `kind` says in words what is wrong with it."""

    channel: str
    kind: str
    asked: Asked
    verdict: Verdict


class Surface(Protocol):
    @property
    def channel(self) -> str: ...

    def strict(self, rng: random.Random) -> Case: ...

    def loose(self, rng: random.Random) -> Case: ...


def shaken(rng: random.Random, case: Case) -> Case:
    """The same with strange headers beside, or, where it is refused already, in a strange shape."""
    asked = replace(case.asked, headers=case.asked.headers + m.strange_headers(rng))
    if case.verdict == "refused" and rng.random() < 0.05:
        method = rng.choice(("PUT", "DELETE", "PATCH", "TRACE", "GE T", "\x00"))
        return replace(case, asked=replace(asked, method=method), kind="wrong method")
    if case.verdict == "refused" and rng.random() < 0.03:
        return replace(case, asked=replace(asked, breaks_off=True), kind="broken off", verdict="no_message")
    return replace(case, asked=asked)


# ---- Slack ----


class SlackSurface:
    channel = "slack"
    _PATHS = ("events", "webhook", "interactivity", "commands")

    def strict(self, rng: random.Random) -> Case:
        match rng.randrange(8):
            case 0 | 1 | 2:
                return self._unproven(rng)
            case 3:
                return self._case(rng, "signed, no event", m.not_json(rng, self._event(rng)), "refused", starts=b"{")
            case 4:
                return self._case(rng, "signed, a field missing", self._broken_event(rng), "no_message")
            case 5:
                return self._case(rng, "signed, a press missing a field", self._broken_press(rng), "no_message")
            case 6:
                return self._case(rng, "signed, a command missing a field", self._broken_command(rng), "no_message")
            case _:
                challenge = {"type": "url_verification", "challenge": m.hostile(rng), "token": m.hostile(rng)}
                return self._case(rng, "signed, a hostile challenge", m.dumped(challenge), "no_message")

    def loose(self, rng: random.Random) -> Case:
        event = self._event(rng)
        bodies = (
            lambda: m.dumped(m.blind_json(rng, event)),
            lambda: m.dumped(m.blind_json(rng, event)),
            lambda: m.blind_bytes(rng, m.dumped(event)),
            lambda: self._form(payload=m.dumped(m.blind_json(rng, self._press(rng))).decode()),
            lambda: m.blind_bytes(rng, self._form(**slack_people.command("human", _user(rng)))),
        )
        return self._case(rng, "signed, changed by chance", rng.choice(bodies)(), "at_most_one")

    def _unproven(self, rng: random.Random) -> Case:
        body = rng.choice((m.dumped(self._event(rng)), self._form(payload=json.dumps(self._press(rng)))))
        now = int(time.time())
        right = {name.lower().encode(): value.encode() for name, value in slack_people.signed(body).items()}
        time_name, name = b"x-slack-request-timestamp", b"x-slack-signature"
        stamp, signature = right[time_name], right[name]
        proofs: tuple[tuple[Header, ...], ...] = (
            (),
            ((time_name, stamp),),
            ((name, signature),),
            ((time_name, stamp), (name, signature[:-1])),
            ((time_name, stamp), (name, b"v1" + signature[2:])),
            ((time_name, stamp), (name, rng.randbytes(67).replace(b"\n", b"x").replace(b"\r", b"x"))),
            ((time_name, stamp), (name, "v0=ü💥".encode())),
            ((time_name, stamp), (name, b"wrong"), (name, signature)),
            ((time_name, str(now + 7).encode()), (name, signature)),
            *(
                ((time_name, strange), (name, signature))
                for strange in (b"abc", b"", b"-1", b"9" * 400, "１２".encode(), b"1e9", b"nan", stamp + b" 0")
            ),
            _lowered(slack_people.signed(body, at=now - 301 - rng.randrange(10**6))),
            _lowered(slack_people.signed(body, at=now + 400 + rng.randrange(10**6))),
            _lowered(slack_people.signed(body + b" ")),
            _lowered(slack_people.signed(body, secret="another")),
        )
        proof = rng.choice(proofs)
        path = f"/webhooks/slack/{rng.choice(self._PATHS)}"
        asked = Asked(path=path, body=body, headers=proof, query=rng.choice((b"", b"a=%ff&a", b"x" * 3_000)))
        return Case(channel=self.channel, kind="not signed", asked=asked, verdict="refused")

    def _case(self, rng: random.Random, kind: str, body: bytes, verdict: Verdict, starts: bytes = b"") -> Case:
        if starts and not body.lstrip().startswith(starts):
            verdict = "no_message"  # a form may be one of Slack's own checks
        headers = _signed(body)
        path = f"/webhooks/slack/{rng.choice(self._PATHS)}"
        return Case(
            channel=self.channel, kind=kind, asked=Asked(path=path, body=body, headers=headers), verdict=verdict
        )

    def _event(self, rng: random.Random) -> dict[str, Any]:
        make = rng.choice((slack_people.direct, slack_people.mention))
        return slack_people.event(make(QUESTION, _user(rng)), event_id=f"Ev{rng.getrandbits(60)}")

    def _press(self, rng: random.Random) -> dict[str, Any]:
        said = Said(channel="D" + _user(rng)[1:], ts=f"17{rng.getrandbits(26):08d}.000100", text="?")
        return slack_people.press(said, {"type": "button", "action_id": "kefu:0", "value": QUESTION})

    def _broken_event(self, rng: random.Random) -> bytes:
        event = self._event(rng)
        path = rng.choice(("type", "event", "event.type", "event.user", "event.channel", "event.ts", "team_id"))
        if rng.random() < 0.3:
            return m.dumped(m.without(event, path))
        if path in ("type", "event.type"):
            event["event"].pop("files", None)
        return m.dumped(m.replaced(event, path, m.not_text(rng) if path != "event" else rng.choice((None, 1, "x", []))))

    def _broken_press(self, rng: random.Random) -> bytes:
        press = self._press(rng)
        path = rng.choice(("type", "user", "user.id", "actions"))
        wrong = m.not_text(rng) if path in ("type", "user.id") else rng.choice((None, 1, "x", 1.5, True))
        return self._form(payload=m.dumped(m.replaced(press, path, wrong)).decode())

    def _broken_command(self, rng: random.Random) -> bytes:
        fields = slack_people.command("human")
        fields[rng.choice(("team_id", "user_id", "trigger_id"))] = rng.choice((*m.HOSTILE_TEXTS[:5], "a b", "ü"))
        return self._form(**{name: value.encode(errors="replace").decode() + "!" for name, value in fields.items()})

    def _form(self, **fields: str) -> bytes:
        return urlencode(fields, errors="replace").encode()


class SlackInstallSurface:
    """The OAuth callback: nobody who did not begin an installation may end one."""

    channel = "slack oauth"

    def strict(self, rng: random.Random) -> Case:
        state = rng.choice(("", "x" * 43, "é" * 43, "x" * 9_000, "\x00", "../" * 9))
        code = rng.choice(("", "abc", "é", "x" * 900))
        query = urlencode({rng.choice(("state", "error")): state, "code": code}).encode() + rng.choice(
            (b"", b"&state=%ff")
        )
        cookie = b"kefu_slack_install=" + rng.choice((state.encode(), b"x" * 43, b'"\xff', b"%00"))
        asked = Asked(path="/webhooks/slack/oauth/callback", method="GET", query=query, headers=((b"cookie", cookie),))
        return Case(channel=self.channel, kind="a state that nobody was given", asked=asked, verdict="refused")

    loose = strict


def _user(rng: random.Random) -> str:
    return f"U9{rng.randrange(10_000)}" if rng.random() < 0.95 else ANNA


def _signed(body: bytes) -> tuple[Header, ...]:
    """As slack_sdk's signer, which takes no bytes that are not UTF-8."""
    stamp = str(int(time.time())).encode()
    digest = hmac.new(SECRET.encode(), b"v0:" + stamp + b":" + body, hashlib.sha256).hexdigest()
    return ((b"x-slack-request-timestamp", stamp), (b"x-slack-signature", f"v0={digest}".encode()))


def _lowered(headers: dict[str, str]) -> tuple[Header, ...]:
    return tuple((name.lower().encode(), value.encode()) for name, value in headers.items())


# ---- WeChat ----


def _encoded(query: dict[str, str]) -> bytes:
    return urlencode(query).encode()


def _signed_query(nonce: str, at: int | None = None, token: str = WECHAT_TOKEN) -> dict[str, str]:
    timestamp, signer = str(int(time.time()) if at is None else at), WeChatSigner()
    signer.add_data(token, timestamp, nonce)
    return {"signature": signer.signature, "timestamp": timestamp, "nonce": nonce}


def _seal(plain: bytes) -> str:
    """AES as WeChat's, over exactly these bytes (a multiple of 32)."""
    key = base64.b64decode(AES_KEY + "=")
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain) + encryptor.finalize()).decode()


def _envelope(rng: random.Random, inner: bytes, owner: str) -> str:
    """An envelope that only the key's holder can make, with something wrong inside or out."""
    good = rng.randbytes(16) + len(inner).to_bytes(4, "big") + inner + owner.encode()
    pad = 32 - len(good) % 32
    padded = good + bytes([pad]) * pad
    return rng.choice(
        (
            lambda: _seal(padded[:-1] + bytes([rng.choice((0, 33, 255))])),
            lambda: _seal(padded[:16] + b"\xff\xff\xff\xff" + padded[20:]),
            lambda: _seal(padded[:16] + b"\x00\x00\x00\x01" + padded[20:]),
            lambda: _seal(b"\x01" * 32),
            lambda: _seal(bytes([32]) * 32),
            lambda: base64.b64encode(rng.randbytes(32 * rng.randrange(1, 5))).decode(),
            lambda: base64.b64encode(rng.randbytes(31)).decode(),
            lambda: rng.choice(("", "A", "=" * 9, "é", "AAAA\n=", "x" * 5_000)),
            lambda: str(
                PrpCrypto(WeChatCrypto(WECHAT_TOKEN, AES_KEY, "wx").key).encrypt(inner.decode(), "wx-else").decode()
            ),
        )
    )()


class WeChatSurface:
    channel = "wechat"

    def strict(self, rng: random.Random) -> Case:
        good = message_xml(QUESTION, rng.getrandbits(50), FromUserName=f"o{rng.randrange(10**6)}")
        nonce = f"{rng.getrandbits(40)}"
        match rng.randrange(7):
            case 0 | 1:
                return self._case("not signed", self._wrong_query(rng, nonce), good.encode(), "refused")
            case 2:
                return self._case("signed, no XML", _encoded(_signed_query(nonce)), m.not_xml(rng, good), "refused")
            case 3:
                nameless = self._nameless(rng).encode(errors="replace")
                return self._case("signed, nobody's", _encoded(_signed_query(nonce)), nameless, "refused")
            case 4:
                encrypted = _envelope(rng, good.encode(), APP_ID)
                return self._sealed_case(rng, "sealed, broken inside", encrypted, nonce)
            case 5:
                inner = m.not_xml(rng, good, is_sealed=True)
                encrypted = _seal_whole(rng, inner, APP_ID)
                return self._sealed_case(rng, "sealed, no XML inside", encrypted, nonce)
            case _:
                kind = rng.choice(("view", "nothing_known", "unsubscribe", "x" * 900, "", "kf_create_session"))
                body = event_xml(kind, rng.choice(m.HOSTILE_TEXTS[5:9]), FromUserName=f"o{rng.randrange(99)}")
                query = _encoded(_signed_query(nonce))
                return self._case("signed, an event without a message", query, body.encode(), "no_message")

    def loose(self, rng: random.Random) -> Case:
        names = (
            "Content",
            "MsgId",
            "MsgType",
            "CreateTime",
            "FromUserName",
            "ToUserName",
            "PicUrl",
            "MediaId",
            "Event",
        )
        fields = {name: _xml_text(rng) for name in rng.sample(names, rng.choice((1, 1, 2)))}
        customer = {"FromUserName": f"o{rng.randrange(10_000)}"}
        body = message_xml(QUESTION, rng.getrandbits(60), **(customer | fields)).encode()
        if rng.random() < 0.4:
            body = m.blind_bytes(rng, body)
        query = _encoded(_signed_query(str(rng.getrandbits(40))))
        return self._case("signed, changed by chance", query, body, "at_most_one")

    def _wrong_query(self, rng: random.Random, nonce: str) -> bytes:
        right, now = _signed_query(nonce), int(time.time())
        changes: Sequence[dict[str, str]] = (
            {},
            {"signature": right["signature"]},
            right | {"signature": right["signature"][:-1]},
            right | {"signature": "é" * 40},
            right | {"signature": ""},
            right | {"nonce": nonce + "1"},
            right | {"timestamp": rng.choice(("", "abc", "1e9", "²", "9" * 500, "-1", "１２３"))},
            right | {"encrypt_type": rng.choice(("aes", "AES", "x"))},
            {**right, "encrypt_type": "aes", "msg_signature": right["signature"]},
            _signed_query(nonce, at=now - 901 - rng.randrange(10**6)),
            _signed_query(nonce, at=now + 1_000 + rng.randrange(10**6)),
            _signed_query(nonce, token="another"),
        )
        chosen = _encoded(rng.choice(changes))
        return chosen if rng.random() < 0.8 else b"signature=wrong&" + chosen.replace(b"signature", b"signature%00")

    def _nameless(self, rng: random.Random) -> str:
        wrong = rng.choice(("", " ", "x" * 300, "\ud800\x01".encode(errors="replace").decode() * 200))
        return message_xml(QUESTION, rng.getrandbits(50), **{rng.choice(("FromUserName", "ToUserName")): wrong})

    def _sealed_case(self, rng: random.Random, kind: str, encrypted: str, nonce: str) -> Case:
        query = _signed_query(nonce)
        query |= {"encrypt_type": "aes"}
        query["msg_signature"] = _get_signature(WECHAT_TOKEN, query["timestamp"], nonce, encrypted)
        outer = f"<xml><ToUserName>{ACCOUNT}</ToUserName><Encrypt>{encrypted}</Encrypt></xml>"
        return self._case(kind, _encoded(query), outer.encode(), "refused")

    def _case(self, kind: str, query: bytes, body: bytes, verdict: Verdict) -> Case:
        asked = Asked(path="/webhooks/wechat", query=query, body=body)
        return Case(channel=self.channel, kind=kind, asked=asked, verdict=verdict)


def _xml_text(rng: random.Random) -> str:
    text = rng.choice(m.HOSTILE_TEXTS).encode(errors="replace").decode()
    return "".join(char for char in text if char >= " " or char in "\t\n")


def _seal_whole(rng: random.Random, inner: bytes, owner: str) -> str:
    good = rng.randbytes(16) + len(inner).to_bytes(4, "big") + inner + owner.encode()
    pad = 32 - len(good) % 32
    return _seal(good + bytes([pad]) * pad)


class WeChatKfSurface:
    """微信客服: calls back with an envelope; it stores what account has news, never a message."""

    channel = "wechat_kf"

    def strict(self, rng: random.Random) -> Case:
        event = rng.choice(("other", "", "x" * 9_000, "KF_MSG_OR_EVENT"))
        account = rng.choice(("", "x" * 101, KF_ACCOUNT))
        inner = f"<xml><Event>{event}</Event><Token>t</Token><OpenKfId>{account}</OpenKfId></xml>".encode()
        match rng.randrange(5):
            case 0:
                return self._case(rng, "sealed, another event", _seal_whole(rng, inner, CORP_ID), "no_message")
            case 1:
                return self._case(rng, "sealed, broken inside", _envelope(rng, inner, CORP_ID), "refused")
            case 2:
                sealed = _seal_whole(rng, m.not_xml(rng, inner.decode(), is_sealed=True), CORP_ID)
                return self._case(rng, "sealed, no XML inside", sealed, "refused")
            case 3:
                case = self._case(rng, "not signed", _seal_whole(rng, inner, CORP_ID), "refused")
                query = case.asked.query.replace(
                    b"msg_signature=", rng.choice((b"msg_signature=0", b"x=", b"signature="))
                )
                return replace(case, asked=replace(case.asked, query=query))
            case _:
                case = self._case(
                    rng, "an address check that is not WeCom's", _envelope(rng, inner, CORP_ID), "refused"
                )
                echo = quote(rng.choice(("", "é", "x" * 700, _seal(b"\x01" * 32)))).encode()
                return replace(
                    case,
                    asked=replace(case.asked, method="GET", body=b"", query=case.asked.query + b"&echostr=" + echo),
                )

    loose = strict

    def _case(self, rng: random.Random, kind: str, encrypted: str, verdict: Verdict) -> Case:
        timestamp, nonce = str(int(time.time())), str(rng.getrandbits(40))
        signed = _get_signature(WECHAT_TOKEN, timestamp, nonce, encrypted)
        query = _encoded({"msg_signature": signed, "timestamp": timestamp, "nonce": nonce})
        outer = f"<xml><ToUserName>{CORP_ID}</ToUserName><Encrypt>{encrypted}</Encrypt></xml>".encode()
        asked = Asked(path="/webhooks/wechat/kf", query=query, body=outer)
        return Case(channel=self.channel, kind=kind, asked=asked, verdict=verdict)


# ---- Telegram ----


class TelegramSurface:
    channel = "telegram"
    _NAME = SECRET_HEADER.lower().encode()

    def strict(self, rng: random.Random) -> Case:
        update = self._update(rng)
        match rng.randrange(4):
            case 0:
                secrets = (b"", b"guessed", TELEGRAM_SECRET.encode()[:-1], "é".encode(), b"\xff" * 9, b"x" * 9_000)
                return self._case("a wrong secret", m.dumped(update), "refused", rng.choice(secrets))
            case 1:
                return self._case("no JSON", m.not_json(rng, update), "refused")
            case 2:
                return self._case("a field of another kind", self._broken(rng, update), "no_message")
            case _:
                pressed = {"update_id": 1, "callback_query": {"id": m.hostile(rng), "data": m.hostile(rng)}}
                return self._case("a press without a message", m.dumped(pressed), "no_message")

    def loose(self, rng: random.Random) -> Case:
        update = self._update(rng)
        extra = {"location": {"latitude": m.hostile(rng), "longitude": m.hostile(rng)}}
        document = {"document": {"file_id": m.hostile(rng), "file_name": m.hostile(rng), "file_size": m.hostile(rng)}}
        update["message"] |= rng.choice(({}, extra, document))
        if rng.random() < 0.3:
            return self._case("changed by chance", m.blind_bytes(rng, m.dumped(update)), "at_most_one")
        return self._case("changed by chance", m.dumped(m.blind_json(rng, update)), "at_most_one")

    def _update(self, rng: random.Random) -> dict[str, Any]:
        return telegram_update(rng.getrandbits(50), rng.randrange(10_000))

    def _broken(self, rng: random.Random, update: dict[str, Any]) -> bytes:
        path = rng.choice(
            ("update_id", "message", "message.message_id", "message.chat", "message.chat.id", "message.from",
             "message.from.is_bot", "message.text")
        )  # fmt: skip
        if rng.random() < 0.3:
            return m.dumped(m.without(update, path))
        wrong: Any = rng.choice((None, "x", [], {}, 1.5, m.nested(30), "\ud800"))
        return m.dumped(m.replaced(update, path, [wrong] if path == "message.text" else wrong))

    def _case(self, kind: str, body: bytes, verdict: Verdict, secret: bytes = TELEGRAM_SECRET.encode()) -> Case:
        asked = Asked(path="/webhooks/telegram/webhook", body=body, headers=((self._NAME, secret),))
        return Case(channel=self.channel, kind=kind, asked=asked, verdict=verdict)


SIGNED: tuple[Surface, ...] = (
    SlackSurface(), SlackInstallSurface(), WeChatSurface(), WeChatKfSurface(), TelegramSurface()
)  # fmt: skip
