"""WeChat's XML: what it sends as plain fields, and the replies it takes.

Invariant: what is read here came without a DTD, an entity or an external reference; what is written keeps its meaning
whatever the text holds, `]]>` included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]

from connectors.wechat_crypto import Rejected

Fields = Mapping[str, Any]
"""An element's children by name: text, or fields again (a list of them where a name comes more than once)."""

MAX_DEPTH = 4
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def parse_fields(raw: bytes | str) -> dict[str, Any]:
    """The fields of an `<xml>` document. Raises Rejected for anything else, however hostile."""
    try:
        root = fromstring(raw, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise Rejected("not authentic") from error
    if root.tag != "xml":
        raise Rejected("not authentic")
    return _fields(root, MAX_DEPTH)


def _fields(element: Element, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for child in element:
        value: Any = _fields(child, depth - 1) if len(child) and depth else child.text or ""
        earlier = found.get(child.tag)
        if earlier is None:
            found[child.tag] = value
        else:
            found[child.tag] = [*(earlier if isinstance(earlier, list) else [earlier]), value]
    return found


def field(fields: Fields, name: str) -> str:
    """A field's text; "" where there is none, or something other than text."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""


# ---- replies ----


@dataclass(frozen=True, kw_only=True)
class Article:
    """What WeChat calls news: a title, a line or two, a picture, and where a tap leads."""

    title: str
    description: str = ""
    picture: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """Who a reply goes to, from which account, and when."""

    customer: str
    account: str
    at: int


def text_reply(to: Envelope, text: str) -> str:
    return _reply(to, "text", f"<Content>{cdata(text)}</Content>")


def article_reply(to: Envelope, article: Article) -> str:
    item = (
        f"<Title>{cdata(article.title)}</Title><Description>{cdata(article.description)}</Description>"
        f"<PicUrl>{cdata(article.picture)}</PicUrl><Url>{cdata(article.url)}</Url>"
    )
    return _reply(to, "news", f"<ArticleCount>1</ArticleCount><Articles><item>{item}</item></Articles>")


def transfer_reply(to: Envelope) -> str:
    """Hands this message to WeChat's own customer-service desk."""
    return _reply(to, "transfer_customer_service", "")


def encrypted_reply(encrypted: str, msg_signature: str, timestamp: str, nonce: str) -> str:
    return (
        f"<xml><Encrypt>{cdata(encrypted)}</Encrypt><MsgSignature>{cdata(msg_signature)}</MsgSignature>"
        f"<TimeStamp>{timestamp}</TimeStamp><Nonce>{cdata(nonce)}</Nonce></xml>"
    )


def _reply(to: Envelope, kind: str, content: str) -> str:
    return (
        f"<xml><ToUserName>{cdata(to.customer)}</ToUserName><FromUserName>{cdata(to.account)}</FromUserName>"
        f"<CreateTime>{to.at}</CreateTime><MsgType>{cdata(kind)}</MsgType>{content}</xml>"
    )


def cdata(text: str) -> str:
    """The text as character data that ends where it should: a `]]>` in it is split over two sections."""
    return "<![CDATA[" + _NOT_XML.sub("", text).replace("]]>", "]]]]><![CDATA[>") + "]]>"
