"""Readers: every kind of file gives the same utterances, and says where it cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.dataset import DataError, EntityValue, Utterance, deduplicate
from training.readers import as_moods, read_corpus, read_utterances


def test_csv_and_jsonl_of_the_public_sets_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,category\n"Hello, you",greet\n再见,bye\n', encoding="utf-8-sig")
    (tmp_path / "b.jsonl").write_text(
        '{"text": "hi", "intent": "greet", "language": "en"}\n\n{"text": "x", "intent": "y"}'
    )
    table, lines = read_utterances(tmp_path / "a.csv"), read_utterances(tmp_path / "b.jsonl")
    assert [(u.text, u.label, u.source) for u in table] == [
        ("Hello, you", "greet", "a.csv:2"),
        ("再见", "bye", "a.csv:3"),
    ]
    assert [(u.text, u.language, u.source) for u in lines] == [("hi", "en", "b.jsonl:1"), ("x", None, "b.jsonl:3")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,other\nhello,1\n", r"a\.csv:2: no label; name the column intent or label or category"),
        ("a.csv", "words,intent\nhello,greet\n", r"a\.csv:2: no text"),
        ("a.csv", "text,intent\n", "no examples"),
        ("a.jsonl", '{"text": "hi", "intent": "x"}\n{"text"\n', r"a\.jsonl:2: not JSON"),
        ("a.jsonl", "[1]\n", r"a\.jsonl:1: an object"),
        ("a.xml", "<x/>", r"cannot read \.xml"),
        ("a.yml", "nlu: [", r"a\.yml: not YAML"),
        ("a.yml", "rules: []", r"a\.yml: no list `nlu:`"),
        ("a.yml", "nlu:\n- intent: x\n", r"a\.yml:2: the intent 'x' has no examples"),
        ("a.yml", "nlu:\n- intent: x\n  examples: |\n    - a\n    b\n", r"a\.yml:5: an example must start"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_what(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_utterances(tmp_path / name)


def test_an_empty_text_is_read_and_dropped_from_training(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "", "intent": "x"}\n{"text": "hi", "intent": "y"}\n')
    rows = read_utterances(tmp_path / "a.jsonl")
    assert [u.text for u in rows] == ["", "hi"]
    assert [u.text for u in deduplicate(rows)] == ["hi"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv: No such file"):
        read_utterances(tmp_path / "gone.csv")


RASA = """version: "3.1"
nlu:
- synonym: lamp
  examples: |
    - light
- intent: buy
  examples: |
    # a comment
    - a [blue lamp](product) please

    - [two]{"entity": "number", "value": "2", "role": "count"} 盏[台灯](product)
- intent: faq/opening
  examples:
  - text: |
      when do you open
  - are you open
"""


def test_rasas_examples_lose_their_annotations_and_keep_the_spans(tmp_path: Path) -> None:
    (tmp_path / "nlu_en.yml").write_text(RASA, encoding="utf-8")
    rows = read_utterances(tmp_path / "nlu_en.yml")
    assert [(u.text, u.label, u.language, u.source) for u in rows] == [
        ("a blue lamp please", "buy", "en", "nlu_en.yml:9"),
        ("two 盏台灯", "buy", "en", "nlu_en.yml:11"),
        ("when do you open", "faq/opening", "en", "nlu_en.yml:12"),
        ("are you open", "faq/opening", "en", "nlu_en.yml:12"),
    ]
    assert rows[0].entities == (EntityValue(entity="product", text="blue lamp", start=2, end=11),)
    assert rows[1].entities[0] == EntityValue(entity="number", text="two", value="2", role="count", start=0, end=3)
    for row in rows:
        assert all(row.text[value.start : value.end] == value.text for value in row.entities)


def test_clincs_json_brings_its_own_splits(tmp_path: Path) -> None:
    splits = {"train": [["hi", "greet"], ["bye", "leave"]], "val": [["yo", "greet"]], "test": [["hey", "greet"]]}
    splits |= {"oos_train": [["q", "oos"]], "oos_val": [["r", "oos"]], "oos_test": [["s", "oos"], ["t", "oos"]]}
    path = tmp_path / "data_full.json"
    path.write_text(json.dumps(splits, indent=1))
    corpus = read_corpus(path)
    assert [(u.text, u.label) for u in corpus.train] == [("hi", "greet"), ("bye", "leave")]
    assert [u.text for u in corpus.test] == ["hey"]
    assert [u.text for u in corpus.out_of_scope] == ["s", "t"]
    assert corpus.test[0].source == "data_full.json:test[0]"
    assert read_utterances(path) == corpus.train
    path.write_text(json.dumps({**splits, "test": [["hey"]]}))
    with pytest.raises(DataError, match=r"entry 0 of 'test' is not \[text, label\]"):
        read_corpus(path)


def test_a_file_without_splits_is_training_rows_alone(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\tintent\nhello, you\tgreet\n")
    corpus = read_corpus(tmp_path / "a.tsv")
    assert [(u.text, u.label) for u in corpus.train] == [("hello, you", "greet")]
    assert (corpus.test, corpus.out_of_scope) == ((), ())


@pytest.mark.parametrize(
    ("labels", "moods"),
    [
        ("01", ("negative", "positive")),
        (("-1", "0", "1"), ("negative", "neutral", "positive")),
        ("012", ("negative", "neutral", "positive")),
        (("neg", "POS", "neutral"), ("negative", "positive", "neutral")),
    ],
)
def test_the_moods_of_public_sets_get_their_names(labels: tuple[str, ...], moods: tuple[str, ...]) -> None:
    rows = [Utterance(text=label, label=label) for label in labels]
    assert tuple(u.label for u in as_moods(rows)) == moods


def test_a_test_without_a_negative_row_keeps_the_scheme_of_its_training_rows() -> None:
    learned = [Utterance(text=label, label=label) for label in ("-1", "0", "1")]
    held = [Utterance(text=label, label=label) for label in ("0", "1")]
    assert [u.label for u in as_moods(held, learned)] == ["neutral", "positive"]


def test_numbers_are_labels_too(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "鸡蛋太少", "label": 0}\n')
    assert read_utterances(tmp_path / "a.jsonl")[0].label == "0"
