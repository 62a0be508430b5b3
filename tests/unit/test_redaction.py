"""What may be learned from: no mail address, phone or card survives, in either language; order numbers do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.redaction import redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to anna.lee+shop@example.co.uk please", "write to [email] please"),
        ("我的邮箱是li.wei@example.com谢谢", "我的邮箱是[email]谢谢"),
        ("call me on +49 30 901820 tomorrow", "call me on [phone] tomorrow"),
        ("请打13812345678给我", "请打[phone]给我"),
        ("(030) 901-820-44", "[phone]"),
        ("card 4111 1111 1111 1111 was charged", "card [card] was charged"),
        ("IBAN DE89 3704 0044 0532 0130 00", "IBAN [iban]"),
        ("身份证11010519491231002X", "身份证[id]"),
        ("see https://example.com/a?b=c now", "see [url] now"),
    ],
)
def test_personal_data_is_replaced(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text", ["where is A-1042?", "I ordered 3 lamps for 129.90 EUR", "订单B77什么时候到", "since 2024", ""]
)
def test_what_names_nobody_stays(text: str) -> None:
    assert redact(text) == text


@given(st.text(max_size=200))
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@given(st.from_regex(r"[a-z]{1,8}@[a-z]{2,8}\.(com|de|cn)", fullmatch=True), st.text(alphabet="我的 ab,", max_size=10))
def test_no_mail_address_survives(address: str, around: str) -> None:
    assert address not in redact(f"{around} {address} {around}")
