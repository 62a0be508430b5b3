"""WeChat's signatures and its AES envelope, as the Official Account, WeCom and KF callbacks share them.

Invariant: whatever is wrong with a request, the one error is `Rejected`; nobody learns which check failed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from connectors.base import Unauthorized

# PKCS7 to 32 bytes, not to AES's 16: the last block may be padding only.
_PAD_TO = 32
_RANDOM_BYTES = 16
_LENGTH_BYTES = 4


class Rejected(Unauthorized):
    """The request is not WeChat's, or not in a form that WeChat sends."""

    http_status = 403


def signature(*parts: str) -> str:
    """SHA-1 of the parts, sorted and joined: `signature` over (token, timestamp, nonce), `msg_signature` over those and
    the ciphertext."""
    return hashlib.sha1("".join(sorted(parts)).encode(errors="replace")).hexdigest()


def is_signed(given: str, *parts: str) -> bool:
    """Whether `given` is the signature of the parts, compared in constant time."""
    return hmac.compare_digest(signature(*parts).encode(), given.encode(errors="replace"))


class MessageCipher:
    """AES-256-CBC over 16 random bytes, a length, the message and its owner.

    Args:
        aes_key: the EncodingAESKey of the account's settings, 43 characters.
        owner: the app id (Official Account) or corp id (KF) that closes each message.

    Raises ValueError for a key of another form.
    """

    def __init__(self, aes_key: str, owner: str) -> None:
        try:
            self._key = base64.b64decode(aes_key + "=", validate=True)
        except (binascii.Error, ValueError):
            self._key = b""
        if len(self._key) != 32:
            raise ValueError(f"the EncodingAESKey has 43 letters and digits; this one has {len(aes_key)} characters")
        self._owner = owner.encode()

    def encrypt(self, text: str) -> str:
        body = text.encode()
        length = len(body).to_bytes(_LENGTH_BYTES, "big")
        plain = secrets.token_bytes(_RANDOM_BYTES) + length + body + self._owner
        pad = _PAD_TO - len(plain) % _PAD_TO
        encryptor = self._aes().encryptor()
        return base64.b64encode(encryptor.update(plain + bytes([pad]) * pad) + encryptor.finalize()).decode()

    def decrypt(self, encrypted: str) -> str:
        """The message. Raises Rejected unless padding, length and owner are as they must be."""
        try:
            raw = base64.b64decode(encrypted.strip(), validate=True)
        except (binascii.Error, ValueError) as error:
            raise Rejected("not authentic") from error
        if not raw or len(raw) % _PAD_TO:
            raise Rejected("not authentic")
        decryptor = self._aes().decryptor()
        return self._unpack(decryptor.update(raw) + decryptor.finalize())

    def _unpack(self, plain: bytes) -> str:
        pad = plain[-1]
        if not 1 <= pad <= _PAD_TO or plain[-pad:] != bytes([pad]) * pad:
            raise Rejected("not authentic")
        content = plain[_RANDOM_BYTES:-pad]
        length = int.from_bytes(content[:_LENGTH_BYTES], "big")
        body, owner = content[_LENGTH_BYTES : _LENGTH_BYTES + length], content[_LENGTH_BYTES + length :]
        if len(content) < _LENGTH_BYTES or len(body) != length or not hmac.compare_digest(owner, self._owner):
            raise Rejected("not authentic")
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise Rejected("not authentic") from error

    def _aes(self) -> Cipher[modes.CBC]:
        return Cipher(algorithms.AES(self._key), modes.CBC(self._key[:16]))
