"""Slack's markup: what people wrote as they saw it, and nothing the bot says that mentions or links by accident."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.slack_text import escape, escaped_pieces, link, plain_text, shortened, unescape

BOT = frozenset({"U0BOT"})


@pytest.mark.parametrize(
    ("markup", "seen"),
    [
        ("<@U0BOT> where is my parcel?", "where is my parcel?"),
        ("<@U0BOT|kefu>  hello", "hello"),
        ("thanks <@U0BERT>", "thanks @U0BERT"),
        ("thanks <@U0BERT|bert>", "thanks @bert"),
        ("see <#C0HELP|help> or <#C0X>", "see #help or #C0X"),
        ("<!here> and <!subteam^S1|@sales>", "@here and @sales"),
        ("<https://shop.example/a?b=1&amp;c=2>", "https://shop.example/a?b=1&c=2"),
        ("<https://shop.example|shop.example>", "https://shop.example"),
        ("<https://shop.example|our shop>", "our shop (https://shop.example)"),
        ("<mailto:anna@a.example|anna@a.example>", "anna@a.example"),
        ("<tel:+4930123|030 123>", "030 123 (+4930123)"),
        ("2 &lt; 3 &amp;&amp; 4 &gt; 3", "2 < 3 && 4 > 3"),
        ("&amp;lt;", "&lt;"),
        ("a < b > c", "a < b > c"),
        ("你好 😀", "你好 😀"),
    ],
)
def test_what_a_person_wrote_is_read_as_they_saw_it(markup: str, seen: str) -> None:
    assert plain_text(markup, BOT) == seen


@given(st.text())
def test_what_is_escaped_mentions_nobody_and_comes_back_whole(text: str) -> None:
    escaped = escape(text)
    assert "<" not in escaped
    assert unescape(escaped) == text


@given(st.text(alphabet="<&> a\n。灯", min_size=1, max_size=400), st.integers(20, 60))
def test_pieces_fit_after_escaping_and_lose_nothing_but_space(text: str, size: int) -> None:
    pieces = escaped_pieces(text, size)
    assert all(len(piece) <= size for piece in pieces)
    assert "".join("".join(map(unescape, pieces)).split()) == "".join(text.split())


def test_a_link_shows_its_label_and_opens_its_address() -> None:
    assert (
        link("https://a.example/?x=1&y=a|b", "A & <B>\n|") == "<https://a.example/?x=1&amp;y=a%7Cb|A &amp; &lt;B&gt; |>"
    )


@given(st.text(max_size=100), st.integers(2, 40))
def test_a_label_is_never_longer_than_it_may_be(text: str, size: int) -> None:
    short = shortened(text, size)
    assert short == text if len(text) <= size else len(short) <= size and short.endswith("…")
