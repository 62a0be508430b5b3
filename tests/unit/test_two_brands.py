"""The same passages said by two brands: the facts are the document's, what stands around them is the brand's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bot.answers.compose import Answer, compose, quote, written_by
from bot.answers.documents import Passage
from bot.answers.knowledge import Hit
from bot.assistant.answer_words import AnswerWords
from bot.assistant.brand import Brand, read_brand
from bot.assistant.source import Problems, read_yaml
from bot.assistant.voice import check_text
from bot.settings import STARTER
from tests.bag_of_words import BagOfWords

FACTS: Mapping[str, str] = {
    "en": "Unused goods may come back within 30 days of delivery. The label is free.",
    "zh": "签收后 30 天内，未使用的商品可以退回，运费由商家承担。",
}
QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "en": ("How long can I send it back?", "Is the label free?", "Can it come back?", "Who pays?", "Until when?"),
    "zh": ("多久之内可以退？", "退货运费谁出？", "没用过能退吗？", "怎么退？", "能退吗？"),
}
"""As many as it takes to hear every frame."""
LANGUAGES = ("en", "zh")


def _brand(file: Path) -> Brand:
    problems = Problems()
    brand = read_brand(read_yaml(file, problems), problems)
    assert problems.found == []
    return brand


SHOP = _brand(STARTER / "brand.yml")
BANK = _brand(Path(__file__).parents[1] / "brands" / "harbour.yml")


def _passage(language: str) -> Passage:
    return Passage(
        id=f"{language}/returns",
        source=f"{language}/returns.md",
        title="Returns" if language == "en" else "退货",
        heading="",
        anchor="",
        text=FACTS[language],
        language=language,
    )


def _said(brand: Brand, question: str, language: str, passage: Passage | None = None) -> Answer:
    hits = [Hit(passage=passage or _passage(language), score=1.0, cosine=1.0, coverage=1.0, asked=0.0)]
    embedder = BagOfWords()
    vector = embedder.questions([question])[0]
    return compose(question, vector, hits, 0.9, embedder, language, brand)


def _around(answer: Answer) -> str:
    return answer.text.replace(answer.quoted, "{answer}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_both_brands_quote_the_same_facts_in_other_words(language: str) -> None:
    for question in QUESTIONS[language]:
        shop, bank = (_said(brand, question, language) for brand in (SHOP, BANK))
        assert shop.quoted == bank.quoted == FACTS[language]
        assert shop.quoted in shop.text
        assert bank.quoted in bank.text
        assert _around(shop) != _around(bank)


@pytest.mark.parametrize(
    ("language", "by_the_shop", "by_the_bank"),
    [("en", {"person"}, {"person", "formality"}), ("zh", {"formality", "person"}, {"formality", "emoji"})],
)
def test_each_brand_keeps_to_its_own_voice_and_breaks_the_other_s(
    language: str, by_the_shop: set[str], by_the_bank: set[str]
) -> None:
    broken: dict[str, set[str]] = {"shop": set(), "bank": set()}
    for question in QUESTIONS[language]:
        shop, bank = (_around(_said(brand, question, language)) for brand in (SHOP, BANK))
        assert check_text(shop, SHOP, language) == check_text(bank, BANK, language) == ()
        broken["shop"] |= {found.rule for found in check_text(shop, BANK, language)}
        broken["bank"] |= {found.rule for found in check_text(bank, SHOP, language)}
    assert broken == {"shop": by_the_shop, "bank": by_the_bank}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_sign_off_stands_below_where_the_brand_has_one(language: str) -> None:
    question = QUESTIONS[language][0]
    sign_off = BANK.sign_offs[language]
    assert _said(BANK, question, language).text.endswith(f"\n{sign_off}")
    assert quote(_passage(language), BANK).text.endswith(f"\n{sign_off}")
    assert sign_off not in _said(SHOP, question, language).text


OWN = AnswerWords(
    frames=("{answer}",),
    source="[{title}, 100% {}]",
    written="<{title}, by machine>",
    offer="Which of these?",
    other_language="Untranslated:",
)


def test_the_phrases_around_an_answer_are_the_brand_s() -> None:
    brand = replace(SHOP, answers={**SHOP.answers, "en": OWN})
    assert _said(brand, "how long?", "en").text == f"{FACTS['en']}\n[Returns, 100% {{}}]"
    assert _said(brand, "how long?", "en", _passage("zh")).text == f"Untranslated:\n{FACTS['zh']}\n[退货, 100% {{}}]"
    assert _said(brand, "怎么退？", "zh").text == _said(SHOP, "怎么退？", "zh").text
    answer = _said(brand, "how long?", "en")
    assert written_by(answer, "30 days.", "en", {}, brand).text == "30 days.\n<Returns, by machine>"


def test_a_document_s_own_braces_are_not_filled_in() -> None:
    brand = replace(SHOP, answers={**SHOP.answers, "en": replace(OWN, frames=("{title}: {answer}",))})
    passage = replace(_passage("en"), title="{answer}", text="Write {title} first.")
    assert _said(brand, "how?", "en", passage).text.startswith("{answer}: Write {title} first.")
