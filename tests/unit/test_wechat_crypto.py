"""WeChat's signatures and envelope: published vectors, wechatpy as the peer, and everything that must be refused."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from wechatpy.crypto import PrpCrypto, WeChatCrypto  # type: ignore[import-untyped]

from connectors.wechat_crypto import MessageCipher, Rejected, is_signed, signature
from tests.wechat_side import AES_KEY, APP_ID

KEY = base64.b64decode(AES_KEY + "=")
OURS = MessageCipher(AES_KEY, APP_ID)
PEER = PrpCrypto(WeChatCrypto("token", AES_KEY, APP_ID).key)


@pytest.mark.parametrize(
    ("token", "timestamp", "nonce", "expected"),
    [
        ("AAAAA", "1714036504", "1514711492", "f464b24fc39322e44b38aa78f5edd27bd1441696"),
        ("AAAAA", "1714037059", "486452656", "899cf89e464efb63f54ddac96b0a0a235f53aa78"),
        ("test", "1410685589", "test", "f21891de399b4e33a1a93c9a7b8a8fffb5a443ff"),
    ],
)
def test_published_signatures(token: str, timestamp: str, nonce: str, expected: str) -> None:
    assert signature(token, timestamp, nonce) == expected
    assert is_signed(expected, token, timestamp, nonce)
    assert not is_signed(expected.upper(), token, timestamp, nonce)
    assert not is_signed(expected, token + "B", timestamp, nonce)


@given(given_signature=st.text(), parts=st.lists(st.text()))
def test_any_text_may_claim_to_be_a_signature(given_signature: str, parts: list[str]) -> None:
    expected = hashlib.sha1("".join(sorted(parts)).encode(errors="replace")).hexdigest()
    assert is_signed(given_signature, *parts) == (given_signature == expected)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_what_one_side_seals_the_other_opens(text: str) -> None:
    assert OURS.decrypt(PEER.encrypt(text, APP_ID).decode()) == text
    if text:  # wechatpy cannot read an empty message
        assert PEER.decrypt(OURS.encrypt(text), APP_ID) == text


def sealed(plain: bytes) -> str:
    encryptor = Cipher(algorithms.AES(KEY), modes.CBC(KEY[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain) + encryptor.finalize()).decode()


def packed(body: bytes, owner: str = APP_ID, length: int | None = None, pad: bytes | None = None) -> bytes:
    plain = b"r" * 16 + (len(body) if length is None else length).to_bytes(4, "big") + body + owner.encode()
    count = 32 - len(plain) % 32
    return plain + (bytes([count]) * count if pad is None else pad)


def test_a_sealed_message_as_these_tests_make_it_is_opened() -> None:
    assert OURS.decrypt(sealed(packed(b"<xml/>"))) == "<xml/>"


def padded(count: int, fill: bytes) -> bytes:
    """A message whose last `count` bytes are `fill`; 32 where it is full."""
    body = b"x" * (32 * 4 - 16 - 4 - len(APP_ID) - count)
    return packed(body, pad=fill)


@pytest.mark.parametrize(
    "plain",
    [
        padded(16, b"\0" * 16),  # pad 0
        padded(16, b"\x21" * 16),  # pad 33
        padded(16, b"\xff" * 16),
        padded(16, b"\x01" * 15 + b"\x10"),  # the last byte fits, the others do not
        packed(b"<xml/>", owner="wxanother"),
        packed(b"<xml/>", owner=""),
        packed(b"<xml/>", length=2**32 - 1),
        packed(b"<xml/>", length=5),  # the owner begins too early
        packed(b"<xml/>", length=7),
        packed("灯".encode("gbk")),
        b"\x20" * 32,  # nothing but padding
        b"r" * 14 + b"\x12" * 18,  # padding that eats the length
    ],
)
def test_an_envelope_that_is_not_as_it_must_be_is_refused(plain: bytes) -> None:
    with pytest.raises(Rejected):
        OURS.decrypt(sealed(plain))


@pytest.mark.parametrize("plain", [packed(b"<xml/>", owner="", length=7), b"r" * 14 + b"\x12" * 18])
def test_a_length_beyond_the_message_is_refused_even_where_nobody_owns_it(plain: bytes) -> None:
    with pytest.raises(Rejected):
        MessageCipher(AES_KEY, "").decrypt(sealed(plain))


@pytest.mark.parametrize("encrypted", ["", "=", "####", "灯", "QUJD", base64.b64encode(b"x" * 16).decode(), "A" * 44])
def test_what_is_no_envelope_is_refused(encrypted: str) -> None:
    with pytest.raises(Rejected):
        OURS.decrypt(encrypted)


@given(raw=st.binary(max_size=200))
def test_random_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(Rejected):
        OURS.decrypt(base64.b64encode(raw).decode())


@pytest.mark.parametrize("aes_key", ["", "short", AES_KEY + "A", AES_KEY[:-1] + "#", "灯" * 43])
def test_a_key_that_cannot_be_one_is_said_at_once(aes_key: str) -> None:
    with pytest.raises(ValueError, match="43 letters and digits"):
        MessageCipher(aes_key, APP_ID)
