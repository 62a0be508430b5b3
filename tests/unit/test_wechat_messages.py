"""Every kind of delivery as one neutral message, and our replies as wechatpy reads them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import xmltodict  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from wechatpy import parse_message  # type: ignore[import-untyped]
from wechatpy.replies import ArticlesReply, deserialize_reply  # type: ignore[import-untyped]

from connectors.wechat_crypto import Rejected
from connectors.wechat_messages import Arrival, is_known, read_arrival, tapped_wait, typed_number
from connectors.wechat_xml import Article, Envelope, article_reply, parse_fields, text_reply, transfer_reply
from tests.wechat_side import ACCOUNT, APP_ID, CUSTOMER, NOW, event_xml, message_xml

TO = Envelope(customer=CUSTOMER, account=ACCOUNT, at=NOW)


def read(xml: str, texts: dict[str, str] | None = None) -> Arrival:
    return read_arrival(parse_fields(xml), account=APP_ID, texts=texts or {}, language="zh", now=datetime.now(UTC))


def said(xml: str, texts: dict[str, str] | None = None) -> str | None:
    message = read(xml, texts).message
    return None if message is None else message.text


PLACE = {"Location_X": "23.13", "Location_Y": "113.35", "Scale": "20", "Label": "广州市海珠区"}
LINK = {"Title": "公众平台", "Description": "官网", "Url": "https://shop.example/a?b=1&c=2"}


@pytest.mark.parametrize(
    ("fields", "text", "attachment"),
    [
        ({"Content": " 你好 <b>&amp; "}, "你好 <b>&amp;", None),
        (
            {"MsgType": "image", "PicUrl": "http://p.example/1", "MediaId": "m1"},
            "[图片]",
            {"type": "image", "url": "http://p.example/1", "media_id": "m1"},
        ),
        (
            {"MsgType": "voice", "MediaId": "m2", "Format": "amr", "Recognition": "查订单"},
            "查订单",
            {"type": "voice", "media_id": "m2", "format": "amr"},
        ),
        (
            {"MsgType": "voice", "MediaId": "m2", "Format": "amr"},
            "[语音]",
            {"type": "voice", "media_id": "m2", "format": "amr"},
        ),
        (
            {"MsgType": "video", "MediaId": "m3", "ThumbMediaId": "t3"},
            "[视频]",
            {"type": "video", "media_id": "m3", "thumbnail_id": "t3"},
        ),
        (
            {"MsgType": "shortvideo", "MediaId": "m4", "ThumbMediaId": "t4"},
            "[视频]",
            {"type": "shortvideo", "media_id": "m4", "thumbnail_id": "t4"},
        ),
        (
            {"MsgType": "location", **PLACE},
            "[位置] 广州市海珠区 (23.13,113.35)",
            {"type": "location", "latitude": "23.13", "longitude": "113.35", "scale": "20", "label": "广州市海珠区"},
        ),
        (
            {"MsgType": "link", **LINK},
            "公众平台 https://shop.example/a?b=1&c=2",
            {"type": "link", "url": LINK["Url"], "title": "公众平台", "description": "官网"},
        ),
    ],
)
def test_a_message_of_each_kind(fields: dict[str, str], text: str, attachment: dict[str, str] | None) -> None:
    xml = message_xml("", 7, **fields)
    arrival = read(xml)
    assert arrival.allowance == "message"
    assert is_known(arrival.kind)
    message = arrival.message
    assert message is not None
    assert (message.text, message.external_id, message.sender_id) == (text, "msg:7", f"wechat:{CUSTOMER}")
    assert (message.channel, message.account, message.customer) == ("wechat", APP_ID, CUSTOMER)
    assert message.metadata.get("attachments") == ([attachment] if attachment else None)
    assert "Content" not in message.metadata["wechat"]
    # The peer understands the same delivery as the same kind.
    assert parse_message(xml).type == fields.get("MsgType", "text")


@pytest.mark.parametrize(
    ("event", "key", "text", "allowance"),
    [
        ("CLICK", "/greet", "/greet", "event"),
        ("CLICK", "今日歌曲", "今日歌曲", "event"),
        ("subscribe", "", None, "event"),
        ("subscribe", "qrscene_123", None, "event"),
        ("SCAN", "123", None, "event"),
        ("unsubscribe", "", None, None),
        ("LOCATION", "", None, None),
        ("VIEW", "https://shop.example", None, None),
        ("TEMPLATESENDJOBFINISH", "", None, None),
        ("kf_create_session", "", None, None),
        ("kf_switch_session", "", None, None),
    ],
)
def test_an_event_of_each_kind(event: str, key: str, text: str | None, allowance: str | None) -> None:
    arrival = read(event_xml(event, key))
    assert arrival.kind == f"event:{event.lower()}"
    assert is_known(arrival.kind)
    assert (said(event_xml(event, key)), arrival.allowance) == (text, allowance)


def test_an_event_the_assistant_wants_to_hear_of_is_a_message() -> None:
    texts = {"subscribe": "/greet", "image": "", "voice": "/sent_voice"}
    assert said(event_xml("subscribe", "qrscene_5"), texts) == "/greet"
    message = read(event_xml("subscribe", "qrscene_5"), texts).message
    assert message is not None
    assert message.metadata["wechat"]["EventKey"] == "qrscene_5"
    assert said(message_xml("", MsgType="image"), texts) is None
    assert said(message_xml("", MsgType="voice", Recognition="hello"), texts) == "/sent_voice"


def test_tries_of_one_event_have_one_key_and_other_events_have_others() -> None:
    def key(event: str, event_key: str = "a", **fields: str) -> str:
        message = read(event_xml(event, event_key, **fields), {"scan": "scanned"}).message
        assert message is not None
        return message.external_id

    first = key("CLICK")
    assert key("CLICK") == first
    others = [key("CLICK", "b"), key("CLICK", CreateTime="1"), key("SCAN"), key("CLICK", FromUserName="another")]
    assert len({first, *others}) == 5
    assert all(len(one) <= 255 for one in others)


def test_what_is_not_known_is_no_message() -> None:
    arrival = read(message_xml("", MsgType="hologram"))
    assert arrival.message is None
    assert not is_known(arrival.kind)
    assert not is_known(read(event_xml("new_thing")).kind)


def test_a_text_without_an_id_is_told_by_its_content() -> None:
    one, other = read(message_xml("a", MsgId="")).message, read(message_xml("b", MsgId="")).message
    assert one is not None
    assert other is not None
    assert one.external_id != other.external_id


@pytest.mark.parametrize("missing", ["FromUserName", "ToUserName"])
def test_a_delivery_from_nobody_is_refused(missing: str) -> None:
    with pytest.raises(Rejected):
        read(message_xml("hello", 1, **{missing: ""}))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", 2),
        (" ２． ", 2),
        ("(3)", 3),
        ("（3）", 3),
        ("②", 2),
        ("12", 12),
        ("2 boxes", None),
        ("", None),
        ("123", None),
    ],
)
def test_a_number_alone(text: str, number: int | None) -> None:
    assert typed_number(text) == number


def test_a_tap_on_a_waiting_answer_names_its_message() -> None:
    assert tapped_wait("kefu.answer.12") == tapped_wait("kefu.more.12") == 12
    assert tapped_wait("12.1") is None
    assert tapped_wait("kefu.answer." + "9" * 30) is None


# ---- hostile XML ----


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<xml>",
        b"<notxml/>",
        b"\xff\xfe\x00",
        b"<?xml version='1.0' encoding='no-such'?><xml/>",
        b"<?xml version='1.0' encoding='utf-7'?><xml/>",
        b'<!DOCTYPE xml [<!ENTITY a "b">]><xml><Content>&a;</Content></xml>',
        b'<!DOCTYPE xml SYSTEM "file:///etc/passwd"><xml/>',
        b"<xml>&undefined;</xml>",
        b"<xml><Content>\x00</Content></xml>",
    ],
)
def test_hostile_documents_are_refused(raw: bytes) -> None:
    with pytest.raises(Rejected):
        parse_fields(raw)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with suppress(Rejected):
        parse_fields(raw)


def test_depth_and_repetition_are_harmless() -> None:
    deep = parse_fields("<xml>" + "<a>" * 5_000 + "</a>" * 5_000 + "</xml>")
    assert list(deep) == ["a"]
    twice = parse_fields("<xml><a>1</a><a>2</a><a>3</a></xml>")
    assert twice == {"a": ["1", "2", "3"]}


# ---- replies, as the peer reads them ----


def reply_of(xml: str) -> Any:
    return deserialize_reply(xml)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_text_arrives_as_it_is(text: str) -> None:
    fields = xmltodict.parse(text_reply(TO, f"|{text}|"), strip_whitespace=False)["xml"]
    assert fields["Content"] == f"|{text.replace(chr(0xFFFE), '').replace(chr(0xFFFF), '')}|"
    assert set(fields) == {"ToUserName", "FromUserName", "CreateTime", "MsgType", "Content"}


def test_the_end_of_a_section_in_a_text_injects_nothing() -> None:
    hostile = "]]></Content><MsgType><![CDATA[image]]></MsgType><Content><![CDATA[]]]]>"
    reply = reply_of(text_reply(TO, hostile))
    assert (reply.type, reply.content, reply.source, reply.target) == ("text", hostile, ACCOUNT, CUSTOMER)


def test_an_article_and_a_transfer_are_what_the_peer_writes_and_reads() -> None:
    article = Article(title="灯", description="<亮>", picture="https://p.example/1.png", url="https://shop.example/1")
    # wechatpy reads no reply of one article, but it writes them.
    peers = ArticlesReply(source=ACCOUNT, target=CUSTOMER, time=NOW)
    peers.add_article({"title": "灯", "description": "<亮>", "image": article.picture, "url": article.url})
    assert xmltodict.parse(article_reply(TO, article)) == xmltodict.parse(peers.render())
    assert reply_of(transfer_reply(TO)).type == "transfer_customer_service"
