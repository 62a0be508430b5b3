"""Repetition in labelled texts is found, with its place, exactly and fast."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.assistant import quality
from bot.assistant.loader import check_assistant, find_repetition, load_assistant, load_tests
from bot.assistant.quality import (
    MOST_FINDINGS,
    Sample,
    are_alike,
    distinct,
    find_alike,
    find_all,
    find_leaks,
    find_openings,
    find_two_labels,
    grams,
    letters,
    pairs_between,
    pairs_within,
)
from bot.errors import Where
from tests.data_quality import complaints, figures


def sample(text: str, label: str = "order", language: str | None = "en", line: int = 1) -> Sample:
    return Sample(text=text, label=label, language=language, where=Where(file=Path("nlu.yml"), line=line))


def samples(texts: Iterable[str], label: str = "order", language: str | None = "en") -> list[Sample]:
    return [sample(text, label, language, line) for line, text in enumerate(texts, 1)]


def test_letters_leave_case_width_spaces_and_punctuation_aside() -> None:
    assert letters(" Where’s  MY ＯＲＤＥＲ?!") == "wheresmyorder"
    assert letters("灯，到了吗？") == "灯到了吗"
    assert letters("??") == "??"


def test_a_text_shorter_than_a_gram_is_one_gram() -> None:
    assert grams("ok!") == {"ok"}
    assert grams("灯坏了吗") == {"灯坏了", "坏了吗"}


def test_exactly_six_tenths_is_not_more() -> None:
    assert not are_alike(frozenset("abcd"), frozenset("abcefgh"[:4]))  # 3 of 5
    assert are_alike(frozenset("abcde"), frozenset("abcdf")) is (4 / 6 > 0.6)


_sets = st.lists(st.frozensets(st.sampled_from("abcdefgh"), min_size=1, max_size=8), max_size=14)


@given(_sets)
@example([frozenset("abc"), frozenset("abc"), frozenset("abcd")])
def test_the_index_finds_within_a_list_what_comparing_all_finds(sets: list[frozenset[str]]) -> None:
    brute = {(i, j) for i, j in combinations(range(len(sets)), 2) if are_alike(sets[i], sets[j])}
    found = list(pairs_within(sets))
    assert set(found) == brute
    assert len(found) == len(brute)


@given(_sets, _sets)
def test_the_index_finds_between_two_lists_what_comparing_all_finds(
    ones: list[frozenset[str]], others: list[frozenset[str]]
) -> None:
    brute = [(i, j) for i in range(len(ones)) for j in range(len(others)) if are_alike(ones[i], others[j])]
    assert list(pairs_between(ones, others)) == brute


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_texts_can_be_compared_and_a_text_is_like_itself(one: str, other: str) -> None:
    assert are_alike(grams(one), grams(one))
    assert are_alike(grams(one), grams(other)) == are_alike(grams(other), grams(one))


def test_alike_examples_are_found_within_a_label_and_a_language_only() -> None:
    twice = samples(["where is my parcel", "where is my parcel now", "本店几点开门", "请问本店几点开门"])
    assert [f.samples for f in find_alike(twice)] == [(twice[0], twice[1]), (twice[2], twice[3])]
    assert not list(find_alike([sample("where is my parcel", "a"), sample("where is my parcel!", "b")]))
    assert not list(find_alike([sample("where is my parcel"), sample("where is my parcel!", language=None)]))


def test_the_message_names_both_texts_the_share_and_the_other_place() -> None:
    (found,) = find_alike(samples(["abcdefg", "abcdefgh"]))
    assert str(found) == "'abcdefg' shares 0.83 with 'abcdefgh' at nlu.yml:2, both 'order'"


def test_three_examples_may_begin_alike_and_four_not() -> None:
    starts = ["Where is the lamp", "where  IS my rug", "where is it", "where, is anything"]
    assert not list(find_openings(samples(starts[:3])))
    (found,) = find_openings(samples(starts))
    assert [s.where.line for s in found.samples] == [1, 2, 3, 4]
    assert "begin with 'where is' (also nlu.yml:2, nlu.yml:3, nlu.yml:4)" in str(found)


def test_a_beginning_is_four_characters_in_chinese_and_needs_them_all() -> None:
    (found,) = find_openings(samples(["我的快递呢", "我的，快递！", "我的快 递丢了", "我的快递到哪"], language="zh"))
    assert len(found.samples) == 4
    assert not list(find_openings(samples(["好的呀"] * 5, language="zh")))
    assert not list(find_openings(samples(["hello"] * 5)))


def test_one_text_under_two_labels_is_found_across_languages() -> None:
    texts = [sample("OK!", "affirm"), sample("ok", "affirm"), sample("o.k.", "thank", language=None, line=9)]
    (found,) = find_two_labels(texts)
    assert str(found) == "'OK!' is 'affirm' here and 'thank' at nlu.yml:9"


def test_leaks_are_found_whatever_the_labels() -> None:
    tests = samples(["can you cancel my order A-1", "nothing like it"], label="cancel")
    (found,) = find_leaks(samples(["tell me a joke", "can you cancel my order A-2", "你好"]), tests)
    assert (found.samples[0].where.line, found.samples[1].where.line) == (2, 1)


def test_distinct_counts_words_and_chinese_characters() -> None:
    assert distinct(samples(["a b a", "A c"]), 1) == pytest.approx(3 / 5)
    assert distinct(samples(["a b a", "A b"]), 2) == pytest.approx(2 / 3)
    assert distinct(samples(["灯灯亮"], language="zh"), 1) == pytest.approx(2 / 3)
    assert distinct([], 3) == 0


def _sentences(count: int, rng: random.Random) -> list[str]:
    words = ["".join(rng.choices("abcdefghijklmnopqrst", k=rng.randint(2, 8))) for _ in range(900)]
    return [" ".join(rng.choices(words, k=rng.randint(3, 12))) for _ in range(count)]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often two texts were compared, as the only item: what the search costs, on however slow a machine."""
    count = [0]
    are_alike = quality.are_alike

    def counted(one: frozenset[str], other: frozenset[str]) -> bool:
        count[0] += 1
        return are_alike(one, other)

    monkeypatch.setattr(quality, "are_alike", counted)
    return count


def test_the_size_of_the_starter_compares_few_of_all_pairs(compared: list[int]) -> None:
    rng = random.Random(0)
    intents = [sample(text, f"intent{n % 30}", ("en", "zh")[n % 2]) for n, text in enumerate(_sentences(2000, rng))]
    moods = [sample(text, ("negative", "positive")[n % 2]) for n, text in enumerate(_sentences(2400, rng))]
    tests = samples(_sentences(1200, rng))
    find_all(intents, moods, tests)
    pairs = (len(intents) + len(moods)) * len(tests) + 2 * (1200 * 1199 // 2) + 30 * (67 * 66 // 2)
    assert 0 < compared[0] < pairs / 20


def test_a_file_made_from_a_template_ends_early(compared: list[int]) -> None:
    made = samples(f"where is my parcel with the number {n}" for n in range(5000))
    assert len(find_all(made, [], made)["alike"]) == MOST_FINDINGS
    assert compared[0] < 3 * MOST_FINDINGS


NLU = """
nlu:
- intent: order
  examples: |
    - where is my big parcel
    - where is my big parcel?
{more}
- intent: greet
  examples: |
    - hello there friend
"""
DOMAIN = "intents: [order, greet]\nresponses:\n  utter_default:\n  - text: Sorry\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "domain.yml").write_text(DOMAIN, encoding="utf-8")
    (tmp_path / "config.yml").write_text("language: en\n", encoding="utf-8")
    (tmp_path / "data" / "nlu.yml").write_text(NLU.format(more=""), encoding="utf-8")
    return tmp_path


def test_validating_warns_with_file_and_line_and_does_not_fail(folder: Path) -> None:
    test = "nlu:\n- intent: greet\n  examples: |\n    - hello there friends\n"
    (folder / "tests" / "nlu_en.yml").write_text(test, encoding="utf-8")
    problems = check_assistant(folder, {})
    assert {problem.level for problem in problems} == {"warning"}
    places = [(p.where.file.name, p.where.line) for p in problems if p.where]
    assert places == [("nlu.yml", 5), ("nlu.yml", 10)]
    assert load_assistant(folder, {}).warnings == ()  # serving does not look


SEEN = "my old kettle has stopped boiling water"


@pytest.mark.parametrize("trained", ["data/seen.yml", "sentiment/en.csv"])
@pytest.mark.parametrize("tested", ["tests/nlu_en.yml", "tests/several_en.yml", "tests/sentiment_en.csv"])
def test_what_one_task_learns_is_no_test_of_another(folder: Path, trained: str, tested: str) -> None:
    for name in (trained, tested):
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        intent = "greet+order" if "several" in name else "greet"
        of_intent = f"nlu:\n- intent: {intent}\n  examples: |\n    - {SEEN}\n"
        file.write_text(f"text,label\n{SEEN},negative\n" if name.endswith("csv") else of_intent, encoding="utf-8")
    (leak,) = find_repetition(load_assistant(folder, {}), load_tests(folder))["leak"]
    assert [s.where.file for s in leak.samples] == [folder / trained, folder / tested]


def test_validating_lists_ten_of_a_kind_and_counts_the_rest(folder: Path) -> None:
    more = "\n".join(f"    - where is my big parcel {n}" for n in range(8))
    (folder / "data" / "nlu.yml").write_text(NLU.format(more=more), encoding="utf-8")
    messages = [problem.message for problem in check_assistant(folder, {})]
    assert len([m for m in messages if " shares " in m]) == 10
    assert "45 pairs of one intent or mood are nearly the same; the first 10 are listed" in messages


def test_validating_reports_a_broken_test_file_as_an_error(folder: Path) -> None:
    (folder / "tests" / "sentiment_en.csv").write_text("text,label\nnice,lovely\n", encoding="utf-8")
    (problem, *_) = check_assistant(folder, {})
    assert (problem.level, "unknown label 'lovely'" in problem.message) == ("error", True)


def test_the_check_names_the_place_and_writes_the_same_figures_again(folder: Path) -> None:
    assistant, tests = load_assistant(folder, {}), load_tests(folder)
    (line,) = complaints(assistant, tests)
    assert line.startswith(f"{folder / 'data' / 'nlu.yml'}:5: alike: ")
    made = figures(assistant, tests)
    assert made["intents"]["en"]["by_label"] == {"greet": 1, "order": 2}
    assert sorted(made["random_messages"])[0] == "greet: hello there friend"
    assert json.dumps(made) == json.dumps(figures(assistant, tests))
