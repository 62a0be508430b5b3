"""The index of a company's documents: what is found, what is embedded anew, what is believed, what is said of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from bot.answers.compose import Answer, excerpt
from bot.answers.documents import of_response
from bot.answers.exchange import Exchange
from bot.answers.finder import Finder
from bot.answers.gate import earlier_of, fit_gates, judge, judge_after, measure, read_asked
from bot.answers.index_files import current, load_index, sync
from bot.answers.knowledge import Asked, Gate, KnowledgeIndex
from bot.answers.service import Knowledge
from bot.answers.words import terms
from bot.assistant.brand import DEFAULT_BRAND, Brand
from models.base import ArtifactInvalid
from models.languages import is_asking
from tests.bag_of_words import BagOfWords

DAY = date(2026, 11, 30)
ALWAYS = Gate(weights=(0.0,) * 14, bias=9.0, threshold=0.5)
NEVER = Gate(weights=(0.0,) * 14, bias=-9.0, threshold=0.5)
DOCUMENTS = {
    "en/returns.md": "# Returns\n\n## How long\nYou can send a lamp back within 30 days.\n\n"
    "## Postage\nThe label is free in Germany.",
    "en/winter.md": "---\nvalid_until: 2026-12-24\n---\n# Christmas parcels\n\n"
    "Order by 18 December so that it arrives by Christmas.",
    "zh/fapiao.md": "# 发票\n\n## 电子发票\n签收后在订单页点申请发票，两天之内发到邮箱。",
}  # fmt: skip


def write(folder: Path, documents: dict[str, str]) -> Path:
    for name, text in documents.items():
        path = folder / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "docs"


def synced(
    folder: Path, embedder: BagOfWords, documents: dict[str, str] = DOCUMENTS, gate: Gate | None = ALWAYS, **more: Any
) -> KnowledgeIndex:
    sync(
        write(folder, documents),
        folder / "store",
        embedder,
        lambda index: {"han": gate, "other": gate} if gate else {},
        lessons=str(gate),
        **more,
    )
    index = load_index(folder / "store")
    assert index is not None
    return index


def search(index: KnowledgeIndex, question: str, **more: Any) -> list[str]:
    vector = BagOfWords().questions([question])[0]
    hits = index.search(question, vector, **{"day": DAY, **more}).hits
    return [f"{hit.passage.source}#{hit.passage.anchor}" for hit in hits]


def test_the_passage_that_answers_is_found_in_either_language(tmp_path: Path) -> None:
    index = synced(tmp_path, BagOfWords())
    assert search(index, "how long can I send a lamp back?")[0] == "en/returns.md#how-long"
    assert search(index, "怎么申请发票")[0] == "zh/fapiao.md#电子发票"
    assert len(search(index, "lamp", limit=2)) == 2
    assert "en/returns.md#how-long" not in search(index, "send a lamp back", without="en/returns.md")


def test_a_known_question_finds_a_passage_in_another_language(tmp_path: Path) -> None:
    asked = [
        Asked(question="how do I get a receipt?", sources=("zh/fapiao.md#电子发票",), language="en"),
        Asked(question="is there time to send a lamp back?", sources=("en/returns.md#how-long",), language="en"),
    ]
    wanted, customer = "zh/fapiao.md#电子发票", "how could I get a receipt please?"
    assert search(synced(tmp_path / "known", BagOfWords(), asked=asked), customer, language="en")[0] == wanted
    assert search(synced(tmp_path / "new", BagOfWords()), customer, language="en")[0] != wanted


def test_of_two_pages_that_say_the_same_the_one_in_the_customer_s_language_comes_first(tmp_path: Path) -> None:
    text = "# Wool\n\nWash wool blankets by hand."
    index = synced(tmp_path, BagOfWords(), {"en/wool.md": text, "zh/wool.md": text})
    for language in ("en", "zh"):
        assert search(index, "wash wool by hand?", language=language)[0].startswith(f"{language}/"), language


def test_how_much_a_known_question_counts_is_judged_by_its_script(tmp_path: Path) -> None:
    """Chinese ones are near to each other here, English ones are not: what is less near than that tells nothing."""
    documents = {
        "zh/a.md": "# 甲\n\n毯子手洗。", "zh/b.md": "# 乙\n\n丝绸枕套机洗可以。", "zh/e.md": "# 戊\n\n窗帘干洗。",
        "en/c.md": "# Lamps\n\nLamps glow.", "en/d.md": "# Rugs\n\nRugs lie.",
    }  # fmt: skip
    asked = [
        Asked(question="请教一下店家这个东西洗涤方法羊毛", sources=("zh/a.md",), language="zh"),
        Asked(question="请教一下店家这个东西洗涤方法亚麻", sources=("zh/e.md",), language="zh"),
        Asked(question="do lamps glow?", sources=("en/c.md",), language="en"),
        Asked(question="where do rugs lie?", sources=("en/d.md",), language="en"),
    ]
    index = synced(tmp_path, BagOfWords(), documents, asked=asked)
    assert search(index, "请教一下店家这个枕套机洗")[0].startswith("zh/b.md")


def test_a_page_that_nobody_has_asked_about_is_judged_by_a_gate_of_its_own(tmp_path: Path) -> None:
    asked = [Asked(question="how long can I send a lamp back?", sources=("en/returns.md#how-long",), language="en")]
    before = synced(tmp_path, BagOfWords(), asked=asked)
    gates = {"other": NEVER, "other/new": ALWAYS}
    index = KnowledgeIndex(before.passages, before.vectors, before.embedder, gates, before.known)
    finder = Finder(index=index, embedder=BagOfWords())
    for question, gate in (("how long until I send a lamp back", NEVER), ("is the label free in Germany", ALWAYS)):
        assert judge(finder, finder.find(question, day=DAY))[1] is gate, question


def test_the_questions_that_the_index_knows_are_not_read_again(tmp_path: Path) -> None:
    class Counting(BagOfWords):
        read: list[str] = []  # noqa: RUF012

        def questions(self, texts: Sequence[str]) -> Any:
            self.read += texts
            return super().questions(texts)

    asked = [Asked(question="how long can I send a lamp back?", sources=("en/returns.md#how-long",), language="en")]
    index = synced(tmp_path, BagOfWords(), asked=asked)
    embedder = Counting()
    new = Asked(question="is the label free?", sources=("en/returns.md#postage",), language="en")
    scores = measure(Finder(index=index, embedder=embedder), [*asked, new], DAY)
    assert (scores.n, scores.recall_at_1) == (2, 1.0)
    assert embedder.read == [new.question]


def test_what_is_no_longer_valid_is_not_found(tmp_path: Path) -> None:
    index = synced(tmp_path, BagOfWords())
    question = "order by when so that it arrives by Christmas?"
    assert search(index, question, day=date(2026, 12, 24))[0].startswith("en/winter.md")
    assert not any(place.startswith("en/winter.md") for place in search(index, question, day=date(2026, 12, 25)))


def test_only_what_changed_is_embedded_anew(tmp_path: Path) -> None:
    embedder = BagOfWords()
    before = synced(tmp_path, embedder)
    embedder.embedded.clear()
    changed = DOCUMENTS | {"en/returns.md": DOCUMENTS["en/returns.md"].replace("30 days", "60 days")}
    docs = write(tmp_path, changed)
    (docs / "zh" / "fapiao.md").unlink()
    report = sync(docs, tmp_path / "store", embedder, lambda index: {"han": ALWAYS, "other": ALWAYS})
    assert len(embedder.embedded) == 1
    assert "60 days" in embedder.embedded[0]
    assert (report.documents, report.passages, report.embedded, report.removed) == (2, 3, 1, 2)
    after = load_index(tmp_path / "store")
    assert after is not None
    kept = {passage.id: tuple(vector) for passage, vector in zip(after.passages, after.vectors, strict=True)}
    for passage, vector in zip(before.passages, before.vectors, strict=True):
        assert passage.id not in kept or kept[passage.id] == tuple(vector)
    other = BagOfWords("another model")
    assert sync(docs, tmp_path / "store", other, lambda index: {"han": ALWAYS, "other": ALWAYS}).embedded == 3


def test_a_damaged_index_says_what_to_do_and_is_made_anew(tmp_path: Path) -> None:
    synced(tmp_path, BagOfWords())
    store = tmp_path / "store"
    name = current(store)
    assert name is not None
    (store / name / "vectors.npy").write_bytes(b"no array")
    with pytest.raises(ArtifactInvalid, match="kefu knowledge sync"):
        load_index(store)
    changed = DOCUMENTS | {"en/new.md": "# New\n\nWe now sell candles too."}
    assert search(synced(tmp_path, BagOfWords(), changed), "candles?")[0].startswith("en/new.md")


def test_old_indexes_go_and_what_a_server_may_still_read_stays(tmp_path: Path) -> None:
    for number in range(6):
        synced(tmp_path, BagOfWords(), {"en/a.md": f"# A\n\nVersion {number} of this text."})
    folders = [path for path in (tmp_path / "store").iterdir() if path.is_dir()]
    assert len(folders) == 3


def test_the_assistant_s_own_response_keeps_its_questions(tmp_path: Path) -> None:
    response = of_response("shipping", "Delivery costs €4.90 in Germany.", "en")
    synced(tmp_path, BagOfWords(), responses=[response])
    knowledge = Knowledge(tmp_path / "store", DEFAULT_BRAND, embedder=BagOfWords(), today=lambda: DAY)
    assert knowledge.answer("what does delivery cost in Germany?", "shipping") is None
    answer = knowledge.answer("what does delivery cost in Germany?", "another")
    assert answer is not None
    assert answer.passage.response is None
    assert knowledge.answer("how long can I send a lamp back?", "shipping") is not None


def framed_by(frames: Mapping[str, str]) -> Brand:
    words = {
        language: replace(default, frames=(frames.get(language, "{answer}"),))
        for language, default in DEFAULT_BRAND.answers.items()
    }
    return replace(DEFAULT_BRAND, answers=words)


async def test_an_answer_quotes_and_says_where_from_in_the_brand_s_frame(tmp_path: Path) -> None:
    synced(tmp_path, BagOfWords())
    brand = framed_by({"en": "We say: {answer}", "zh": "您看：{answer}"})
    knowledge = Knowledge(tmp_path / "store", brand, embedder=BagOfWords(), today=lambda: DAY)
    found = await knowledge.look_up("how long can I send a lamp back?")
    assert found is not None
    assert found["text"] == ("We say: You can send a lamp back within 30 days.\n(From our help page “Returns”)")
    assert found["sources"] == [{"title": "Returns", "heading": "How long", "source": "en/returns.md#how-long"}]
    assert found["kind"] == "extracted"
    chinese = await knowledge.look_up("怎么申请发票？")
    assert chinese is not None
    assert chinese["text"].startswith("您看：签收后在订单页点申请发票")
    brand = framed_by({"en": "Yo! {answer}"})
    other = Knowledge(tmp_path / "store", brand, embedder=BagOfWords(), today=lambda: DAY)
    assert (await other.look_up("how long can I send a lamp back?") or {})["text"].startswith("Yo! You can send")


async def test_a_running_server_follows_the_next_sync(tmp_path: Path) -> None:
    knowledge = Knowledge(tmp_path / "store", DEFAULT_BRAND, embedder=BagOfWords(), today=lambda: DAY)
    assert await knowledge.look_up("do you sell candles?") is None
    synced(tmp_path, BagOfWords(), {"en/a.md": "# Candles\n\nWe sell candles in three sizes."})
    found = await asyncio.gather(*(knowledge.look_up("do you sell candles?") for _ in range(8)))
    assert {each["sources"][0]["source"] for each in found if each} == {"en/a.md#"}
    assert None not in found
    synced(tmp_path, BagOfWords(), {"en/a.md": "# Candles\n\nWe sell candles in three sizes."}, NEVER)
    assert await knowledge.look_up("do you sell candles?") is None


def test_the_gate_learns_when_to_be_silent(tmp_path: Path) -> None:
    subjects = [
        *("lamp", "blanket", "curtain", "carpet", "cushion", "napkin", "lantern", "candle", "mirror", "basket", "vase"),
        *("kettle", "teapot", "bottle", "pillow", "ladder", "hammer", "bucket", "whistle", "trumpet", "violin", "drum"),
        *("ribbon", "marble", "puzzle", "kite", "globe", "compass", "lens", "easel", "brush", "crayon", "stapler"),
        *("wagon", "bicycle", "scooter", "helmet", "jacket", "mitten", "scarf", "bonnet", "sandal", "slipper"),
    ]
    known, unknown = subjects[:-6], subjects[-6:]
    documents = {
        f"en/{name}.md": f"# The {name}\n\nOur {name} costs {len(name)} euros and is washed cold." for name in known
    }
    embedder = BagOfWords()
    index = synced(tmp_path, embedder, documents, None)
    asked = [
        *(Asked(question=f"what does the {name} cost?", sources=(f"en/{name}.md",), language="en") for name in known),
        *(Asked(question=f"what does the {name} weigh when packed for Iceland?", language="en") for name in unknown),
    ]
    finder, told = Finder(index=index, embedder=embedder), ["thank you", "hello there", "I am angry", "never mind"] * 5
    gates = fit_gates(finder, asked, told, DAY)
    fitted = KnowledgeIndex(index.passages, index.vectors, index.embedder, gates)
    again = [
        *(
            Asked(question=f"so what would your {name} cost us?", sources=(f"en/{name}.md",), language="en")
            for name in known
        ),
        *(Asked(question=f"is the {name} painted in Chile?", language="en") for name in unknown),
    ]
    scores = measure(Finder(index=fitted, embedder=embedder), again, DAY)
    assert (scores.n, scores.n_none) == (len(known), len(unknown))
    assert scores.recall_at_1 == 1
    assert scores.answered > 0.9
    assert scores.answered_anyway < 0.2
    assert fit_gates(finder, asked[:5], [], DAY) == {}, "too few to learn from"


def test_the_gate_of_follow_ups_learns_from_them_with_what_was_said_before(tmp_path: Path) -> None:
    subjects = [f"{first}{last}" for first in ("lamp", "rug", "vase", "bowl", "quilt", "stool") for last in "abcdefg"]
    documents = {f"en/{name}.md": f"# The {name}\n\nA {name} is sent by courier in May." for name in subjects}
    embedder = BagOfWords()
    index = synced(tmp_path, embedder, documents, None)

    def follow_up(question: str, name: str, *sources: str) -> Asked:
        earlier = {"customer": f"what does the {name} cost?", "bot": "Five euros."}
        return Asked(question=question, sources=sources, language="en", more={"earlier": earlier})

    finder, told = Finder(index=index, embedder=embedder), ["thank you", "hello there", "I am angry", "never mind"] * 20
    follow_ups = [follow_up("and how is it sent?", name, f"en/{name}.md") for name in subjects]
    plain = fit_gates(finder, [], told, DAY)
    assert plain == {}
    gates = fit_gates(finder, [], told, DAY, follow_ups)
    assert gates.keys() == {"other/after"}
    knowing = replace(finder, index=KnowledgeIndex(index.passages, index.vectors, index.embedder, gates))

    def believed(finder: Finder, question: str, earlier: str) -> bool | None:
        both, vector = finder.together(question, earlier)
        judged = judge_after(finder, finder.find(both, day=DAY, vector=vector), question)
        return None if judged is None else judged[0] >= judged[1].threshold

    assert believed(knowing, "is it sent by courier?", "tell me about the rugd")
    assert not believed(knowing, "well, thanks", "tell me about the rugd")
    assert not believed(knowing, "is it blue?", "tell me about a piano")
    assert believed(finder, "is it sent by courier?", "tell me about the rugd") is None


def test_what_was_said_before_is_two_texts() -> None:
    said = {"customer": " hello ", "bot": "Hi!"}
    assert earlier_of(Asked(question="x", more={"earlier": said})) == Exchange(customer="hello", bot="Hi!")
    for wrong in (
        None,
        "hello",
        {},
        {"customer": "hello"},
        {"customer": "hello", "bot": " "},
        {"customer": 1, "bot": "x"},
    ):
        assert earlier_of(Asked(question="x", more={"earlier": wrong})) is None


def test_questions_of_a_file_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_text(
        '{"question": "How long?", "passages": ["en/a.md"]}\n\n{"question": "几点？"}\n{"passages": []}\n{\n'
        '{"question": "x", "passages": "en/a.md"}\n',
        encoding="utf-8",
    )
    asked, problems = read_asked(path)
    assert [(each.question, each.sources, each.language) for each in asked] == [
        ("How long?", ("en/a.md",), "en"), ("几点？", (), "zh"),
    ]  # fmt: skip
    assert [str(problem).rpartition("line ")[2][:1] for problem in problems] == ["4", "5", "6"]


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("how long do I have to send it back", True),
        ("And is the postage free", True),
        ("运费多少", True),
        ("能不能换个颜色", True),
        ("还没拆封可以退不", True),
        ("运费谁出", True),
        ("羊毛毯扎不扎人", True),
        ("it was a gift from my aunt, can I return it without the bill", True),
        ("the lamp is broken", False),
        ("太大了，不想要了", False),
        ("快递还没", False),
        ("I want to cancel my order. Was too expensive", False),
        ("Cancel my order please, have changed my mind", False),
        ("I moved. Must change the delivery address", False),
        ("ok, have a nice day", False),
        ("不不不，取消订单", False),
        ("取消订单吧，谁下的都不知道", False),
        ("把订单取消了吧，没啥用", False),
        ("一点也不", False),
        ("my aunt can return it", False),
        ("thank you so much", False),
    ],
)
def test_a_question_is_known_by_its_form(text: str, asks: bool) -> None:
    assert is_asking(text) is asks


def test_words_are_counted_without_their_endings() -> None:
    assert terms("Washing washed WASHES the curtains?") == ["wash", "wash", "wash", "curtain"]
    assert terms("怎么洗羊毛毯") == ["么洗", "洗羊", "羊毛", "毛毯"]


def test_of_a_long_passage_the_part_that_answers_is_quoted_whole(tmp_path: Path) -> None:
    embedder = BagOfWords()
    before = " ".join(f"Sentence {number} speaks of other things entirely." for number in range(9))
    text = f"{before}\n\nRefunds take:\n• cards three days\n• vouchers one day\n\n{before}"
    quoted = excerpt(text, embedder.questions(["how long do vouchers take"])[0], embedder, 120)
    assert "Refunds take:\n• cards three days\n• vouchers one day" in quoted
    assert len(quoted) <= 120
    assert excerpt("A short one.", embedder.questions(["x"])[0], embedder, 120) == "A short one."


def test_what_did_not_change_is_not_judged_anew(tmp_path: Path) -> None:
    docs, embedder = write(tmp_path, DOCUMENTS), BagOfWords()
    fitted: list[str] = []

    def sync_with(lessons: str) -> None:
        def fit(index: KnowledgeIndex) -> dict[str, Gate]:
            fitted.append(lessons)
            return {"other": ALWAYS}

        sync(docs, tmp_path / "store", embedder, fit, lessons=lessons)

    for lessons in ("first", "first", "second", "first"):
        sync_with(lessons)
    assert fitted == ["first", "second"]
    name = current(tmp_path / "store")
    assert name is not None
    (tmp_path / "store" / name / "vectors.npy").write_bytes(b"damaged")
    sync_with("first")
    assert fitted == ["first", "second", "first"]
    assert load_index(tmp_path / "store") is not None


def test_a_document_s_own_line_ends_break_no_line_of_the_index(tmp_path: Path) -> None:
    strange = {
        "en/a.txt": "Parcels take three days\u2028and cost nothing\x85at all.",
        "en/b.md": "# B\n\nOther words here.",
    }
    index = synced(tmp_path, BagOfWords(), strange)
    assert sorted(passage.source for passage in index.passages) == ["en/a.txt", "en/b.md"]


def test_an_index_that_cannot_be_read_leaves_the_one_before_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.answers.service.AGAIN_AFTER_S", 0.0)
    synced(tmp_path, BagOfWords())
    knowledge = Knowledge(tmp_path / "store", DEFAULT_BRAND, embedder=BagOfWords(), today=lambda: DAY)
    question = "how long can I send a lamp back?"
    assert knowledge.answer(question) is not None
    synced(tmp_path, BagOfWords(), DOCUMENTS | {"en/new.md": "# New\n\nWe now sell candles too."})
    vectors = tmp_path / "store" / str(current(tmp_path / "store")) / "vectors.npy"
    whole = vectors.read_bytes()
    vectors.write_bytes(b"")
    assert knowledge.answer(question) is not None
    old = knowledge.answer("do you sell candles?")
    assert isinstance(old, Answer)
    assert old.passage.source != "en/new.md"
    vectors.write_bytes(whole)
    found = knowledge.answer("do you sell candles?")
    assert isinstance(found, Answer)
    assert found.passage.source == "en/new.md"


def test_a_word_that_is_of_no_language_is_answered_without_remarks(tmp_path: Path) -> None:
    synced(tmp_path, BagOfWords(), {"en/a.md": "# Packstation\n\nWe deliver to a Packstation."})
    knowledge = Knowledge(tmp_path / "store", DEFAULT_BRAND, embedder=BagOfWords(), today=lambda: DAY)
    found = knowledge.answer("Packstation?")
    assert isinstance(found, Answer)
    assert found.text.startswith("We deliver to a Packstation.")


def test_the_evidence_is_the_same_however_many_passages_were_asked_for(tmp_path: Path) -> None:
    embedder = BagOfWords()
    index = synced(tmp_path, embedder, {f"en/{n}.md": f"# Lamp {n}\n\nThis lamp is number {n}." for n in range(12)})
    finder = Finder(index=index, embedder=embedder)
    found = [finder.find("which lamp is number 3?", day=DAY, limit=n) for n in (1, 5, 10)]
    assert [len(each.hits) for each in found] == [1, 5, 10]
    assert found[0].evidence == found[1].evidence == found[2].evidence
    alone = Finder(
        index=synced(tmp_path / "alone", embedder, {"en/a.md": "# Lamp\n\nThis lamp is blue."}), embedder=embedder
    )
    assert max(alone.find("which lamp is blue?", day=DAY).evidence[3:5]) == 0, "one alone leads nobody"


def test_the_probability_of_whatever_evidence_is_a_number() -> None:
    gate = Gate(weights=(1e6,) * 14, bias=-1e6, threshold=0.5)
    assert gate.probability([-1e6] * 14) < 1e-9
    assert gate.probability([1e6] * 14) > 1 - 1e-9
