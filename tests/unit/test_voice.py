"""Whether a text sounds like the brand: each rule in both languages, where it holds and where it must not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.assistant.brand import DEFAULT_BRAND, Brand
from bot.assistant.brand_voice import Voice
from bot.assistant.voice import RULES, WORD_RULES, check_text, readable, score


def brand(**said: Any) -> Brand:
    return replace(DEFAULT_BRAND, voices=dict.fromkeys(("en", "zh", "und"), Voice(**said)))


def found(text: str, language: str, **said: Any) -> list[tuple[str, str]]:
    return [(each.rule, each.words) for each in check_text(text, brand(**said), language)]


WORDS: dict[str, Any] = {
    "forbid": ("cheap", "便宜货"),
    "competitors": ("Lamps4U", "灯火家"),
    "claims_need_approval": ("clinically proven", "100% safe", "最低价"),
    "prefer": {"customer service": "our team", "team": "our team", "客服": "客服同事", "problem": "question"},
}


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("A CHEAP lamp.", "en", [("forbidden", "CHEAP")]),
        ("The cheap, cheap lamp.", "en", [("forbidden", "cheap")]),
        ("这是便宜货。", "zh", [("forbidden", "便宜货")]),
        ("As at lamps4u.", "en", [("competitor", "lamps4u")]),
        ("和Lamps4U一样。", "zh", [("competitor", "Lamps4U")]),
        ("灯火家也有。", "zh", [("competitor", "灯火家")]),
        ("It is clinically\n proven.", "en", [("claim", "clinically\n proven")]),
        ("This lamp is 100% safe.", "en", [("claim", "100% safe")]),
        ("This lamp is １００％ safe.", "en", [("claim", "100% safe")]),
        ("全网最低价，放心。", "zh", [("claim", "最低价")]),
        ("Ask customer service.", "en", [("preferred", "customer service")]),
        ("Ask the team.", "en", [("preferred", "team")]),
        ("请找客服。", "zh", [("preferred", "客服")]),
    ],
)
def test_words_that_the_brand_does_not_say(text: str, language: str, expected: list[tuple[str, str]]) -> None:
    assert found(text, language, **WORDS) == expected


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Cheaper and cheapest are other words.", "en"),
        ("The page https://shop.example/cheap?team=1 says it.", "en"),
        ("Write to cheap@lamps4u.example for that.", "en"),
        ("Your {cheap} lamp has arrived.", "en"),
        ("The command is `cheap team`, please.", "en"),
        ("Ask our team.", "en"),
        ("It is unsafe, or 1100% safer.", "en"),
        ("见 https://shop.example/便宜 的说明。", "zh"),
        ("请找客服同事。", "zh"),
    ],
)
def test_words_that_only_look_like_them(text: str, language: str) -> None:
    assert found(text, language, **WORDS) == []


def test_a_finding_says_what_to_do_and_how_bad_it_is() -> None:
    forbidden, preferred = check_text("Cheap: ask customer service.", brand(**WORDS), "en")
    assert (forbidden.severity, preferred.severity) == ("error", "warning")
    assert preferred.message == "Say “our team” instead of “customer service”."


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("one two three four", "en", [("length", "4 words")]),
        ("It's over-long {slot}, isn't it", "en", [("length", "4 words")]),
        ("one two three", "en", []),
        ("One two https://shop.example/a/b/c {slot}", "en", []),
        ("一二三", "zh", []),
        ("一二 三四", "zh", [("length", "4 characters")]),
    ],
)
def test_length_is_counted_in_words_or_characters(text: str, language: str, expected: list[tuple[str, str]]) -> None:
    assert found(text, language, length=3) == expected


@pytest.mark.parametrize(
    ("text", "emoji", "expected"),
    [
        ("Done 👍", "none", ["👍"]),
        ("Done 👍🏽❤️", "few", []),
        ("一家人 👨‍👩‍👧", "few", []),
        ("好的 🎉🎉🇩🇪", "few", ["🎉🎉🇩🇪"]),
        ("好的 🎉🎉🇩🇪", "many", []),
        ("• 1 lamp → #2 ©", "none", []),
    ],
)
def test_emoji_are_counted_as_they_are_seen(text: str, emoji: str, expected: list[str]) -> None:
    assert [words for rule, words in found(text, "und", emoji=emoji) if rule == "emoji"] == expected


@pytest.mark.parametrize(
    ("text", "warmth", "expected"),
    [
        ("Done!", "low", 1),
        ("Done!", "medium", 0),
        ("Done! Great!", "medium", 1),
        ("好的！办好了！", "high", 0),
        ("好的！！！", "high", 1),
        ("See https://shop.example/!a!b!c", "low", 0),
    ],
)
def test_exclamation_marks_are_as_many_as_the_warmth_allows(text: str, warmth: str, expected: int) -> None:
    assert [rule for rule, _ in found(text, "und", warmth=warmth)] == ["exclamation"] * expected


@pytest.mark.parametrize(
    ("text", "language", "formality", "expected"),
    [
        ("We don't know, it’s late; it's so.", "en", "formal", ["don't", "it's"]),
        ("We do not know the cat's name at 5 o'clock.", "en", "formal", []),
        ("The button “I don't know” is below.", "en", "formal", []),
        ("Hey, no worries.", "en", "neutral", ["Hey", "no worries"]),
        ("Hey, no worries.", "en", "casual", []),
        ("They're heyday guyots.", "en", "neutral", []),
        ("Please be advised: do not hesitate to write.", "en", "casual", ["Please be advised", "do not hesitate to"]),
        ("Please be advised: do not hesitate to write.", "en", "formal", []),
        ("你好，请把订单号发给我们。", "zh", "formal", ["你"]),
        ("您好，请把订单号发给我们。", "zh", "formal", []),
        ("迷你台灯是你我都喜欢的。", "zh", "formal", []),
        ("您好，你的订单到了。", "zh", "casual", []),
        ("您的订单到了。", "zh", "casual", ["您"]),
        ("您好些了吗？", "zh", "casual", ["您"]),
        ("您的订单到了，你查收一下。", "zh", "neutral", ["您"]),
        ("您好，你的订单到了。", "zh", "neutral", []),
        ("亲，搞定了。", "zh", "formal", ["亲", "搞定"]),
        ("父亲节快乐，母亲，探亲，亲手。", "zh", "formal", []),
        ("好的亲！", "zh", "neutral", ["亲"]),
        ("敬请谅解。", "zh", "casual", ["敬请"]),
    ],
)
def test_formality(text: str, language: str, formality: str, expected: list[str]) -> None:
    assert [words for rule, words in found(text, language, formality=formality) if rule == "formality"] == expected


@pytest.mark.parametrize(
    ("text", "language", "person", "expected"),
    [
        ("I've found it: give me a moment.", "en", "we", ["I", "me"]),
        ("We found it; press “My orders”.", "en", "we", []),
        ("我帮您查。", "zh", "we", ["我"]),
        ("我们帮您查，自我介绍不用，点“我的订单”。", "zh", "we", []),
        ("We're sorry, we'll check that.", "en", "i", ["We're sorry", "we'll check that"]),
        ("I'm sorry. We deliver to Germany, and we check each lamp.", "en", "i", []),
        ("我们很抱歉，我们帮您查。", "zh", "i", ["我们很抱歉", "我们帮您查"]),
        ("抱歉，我帮您查。我们从杭州发货。", "zh", "i", []),
        ("I and we, 我和我们", "en", None, []),
    ],
)
def test_person(text: str, language: str, person: str | None, expected: list[str]) -> None:
    assert [words for rule, words in found(text, language, person=person) if rule == "person"] == expected


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Where is your order?", "zh", ["error"]),
        ("您的订单在哪里？", "en", ["error"]),
        ("您的 Lantern & Loom 订单在哪里？", "zh", []),
        ("A-1001", "zh", []),
        ("Where is your order?", "en-GB", []),
    ],
)
def test_a_text_of_another_language_is_an_error(text: str, language: str, expected: list[str]) -> None:
    assert [each.severity for each in check_text(text, brand(), language) if each.rule == "language"] == expected


def test_what_is_only_quoted_is_held_to_words_alone() -> None:
    text = "Hey! I'm a cheap lamp!"
    strict = brand(forbid=("cheap",), warmth="low", formality="formal", person="we", length=1)
    assert [each.rule for each in check_text(text, strict, "en", rules=WORD_RULES)] == ["forbidden"]
    assert {each.rule for each in check_text(text, strict, "en")} == {
        "forbidden", "exclamation", "formality", "person", "length"
    }  # fmt: skip


def test_a_brand_without_a_voice_minds_little() -> None:
    assert check_text("Hello! How can I help you?", DEFAULT_BRAND, "en") == ()
    assert [each.rule for each in check_text("Hey!! 🎉🎉🎉", DEFAULT_BRAND, "en")] == [
        "emoji",
        "exclamation",
        "formality",
    ]


def test_the_score_counts_errors_more_than_warnings() -> None:
    texts = ("Ask our team.", "Ask customer service.", "A cheap lamp.", "A cheap lamp, clinically proven, at Lamps4U.")
    assert [score(check_text(text, brand(**WORDS), "en")) for text in texts] == [1.0, 0.9, 0.5, 0.0]


@given(st.text(max_size=80), st.sampled_from(["en", "zh", "de"]))
def test_any_text_gets_a_score_and_the_same_again(text: str, language: str) -> None:
    strict = brand(length=5, emoji="none", warmth="low", formality="formal", person="i", **WORDS)
    findings = check_text(text, strict, language)
    assert 0.0 <= score(findings) <= 1.0
    assert findings == check_text(text, strict, language)
    assert all(each.rule in RULES and each.message for each in findings)


@given(
    st.text(alphabet="abc 客服，", max_size=20),
    st.sampled_from(["{cheap}", "`cheap`", "https://a.example/cheap", "cheap@a.example", "```\ncheap\n```"]),
)
def test_what_nobody_reads_is_never_found(text: str, unread: str) -> None:
    assert len(readable(f"{text} {unread} {text}")) == len(f"{text} {unread} {text}")
    assert "forbidden" not in {rule for rule, _ in found(f"{text} {unread} {text}", "und", **WORDS)}


@given(st.sampled_from(["cheap", "customer service", "便宜货"]), st.sampled_from([str.upper, str.lower, str.title]))
def test_a_word_is_found_however_it_is_written(word: str, written: Any) -> None:
    assert len(found(f"— {written(word)}。", "und", **WORDS)) == 1
