"""A cross-encoder tuned on a tiny random base, served without PyTorch; the judge and the guard of a tiny shop."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from bot.answers.index_files import GUARD, JUDGE, load_index
from bot.answers.service import loaded
from bot.answers.writers import guard_of, named
from bot.errors import AssistantError
from bot.knowing import sync_knowledge
from bot.settings import STARTER, load_settings
from bot.tuning import Claim, claims_of, read_claims, split_claims, tune_judge
from models.base import ArtifactInvalid
from models.cross_encoder import HEADS, CrossEncoder
from models.languages import identify_language
from models.pretrained import BaseModel, resolve_base
from tests.integration.test_retrieval_tuning import PLACES, THINGS, write_shop
from tests.tiny_encoders import make_encoder
from training.finetune_cross_encoder import Judged, tune_cross_encoder
from training.recipes import Recipe

RECIPE = Recipe(name="tiny", epochs=150, most_read=1_000_000, learning_rate=1e-3, head_rate=1e-2, batch_size=16)


@pytest.fixture
def base(tmp_path: Path) -> BaseModel:
    return resolve_base(str(make_encoder("bert", tmp_path / "tiny")), tmp_path / "cache")


def pairs(shift: int) -> list[Judged]:
    """Each of four things with each of four places; it holds for one of them."""
    return [
        Judged(text=f"where is my {thing}", source=f"the {thing} is {place}", holds=(row + shift) % 4 == column)
        for row, thing in enumerate(THINGS[:4])
        for column, place in enumerate(PLACES[:4])
    ]


def test_each_task_learns_its_own_pairs_and_what_serves_is_what_was_tuned(base: BaseModel, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    lessons = {"answers": pairs(0), "supports": pairs(3)}
    tune_cross_encoder(base, lessons, tmp_path / "judge", lambda step, *at: steps.append(at), RECIPE)  # type: ignore[arg-type]
    judge = CrossEncoder(tmp_path / "judge", 1)
    for task, given in lessons.items():
        scores = judge.score(task, [(pair.text, pair.source) for pair in given]).reshape(4, 4)  # type: ignore[arg-type]
        holds = np.array([pair.holds for pair in given]).reshape(4, 4)
        assert (scores.argmax(axis=1) == holds.argmax(axis=1)).mean() >= 0.75, task
    assert judge.score("answers", []).shape == (0,)
    assert steps[-1][0] == steps[-1][1] > 0


def test_one_whose_heads_are_missing_says_what_to_do(base: BaseModel, tmp_path: Path) -> None:
    lessons = {"answers": pairs(0), "supports": pairs(0)}
    recipe = Recipe(name="tiny", epochs=1)
    tune_cross_encoder(base, lessons, tmp_path / "judge", lambda *step: None, recipe)  # type: ignore[arg-type]
    (tmp_path / "judge" / HEADS).write_bytes(b"no heads")
    with pytest.raises(ArtifactInvalid, match="tune again"):
        CrossEncoder(tmp_path / "judge", 1)


def test_the_judge_of_a_shop_serves_from_the_next_message_and_survives_a_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.finetune_cross_encoder.RECIPE", Recipe(name="tiny", epochs=1))
    assistant = write_shop(tmp_path / "shop", make_encoder("bert", tmp_path / "tiny"))
    claims = assistant.root / "answers" / "claims"
    claims.mkdir()
    lines = [{"source": f"the {thing} is red", "true": f"{thing} is red", "false": "no"} for thing in THINGS] * 16
    (claims / "en.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    settings = load_settings(home=tmp_path / "home")
    store = settings.knowledge_dir(assistant.assistant_id)
    outcome = tune_judge(settings, assistant, lambda *step: None, print)
    assert outcome.trained_on > 100
    assert outcome.before.n == outcome.after.n > 5
    before, after = outcome.before, outcome.after
    assert outcome.is_kept is (after.answered - after.wrong > before.answered - before.wrong)
    index = load_index(store)
    assert index is not None
    guard_name = named(store / GUARD)
    assert index.judge == (guard_name if outcome.is_kept else None)
    assert guard_of(store, 1).objection("It costs 12 euros.", "the lamp is red", "how much?", "en") is not None
    (store / JUDGE).write_text(f"{guard_name}\n", encoding="utf-8")
    sync_knowledge(settings, assistant, lambda *step: None, print)
    finder = loaded(store, 1)
    assert finder is not None
    assert finder.judge is not None
    found = finder.find("order parcel", day=date(2026, 11, 30))
    assert len(found.evidence) == 17, "what the cross-encoder says is evidence"
    (store / JUDGE).write_text("", encoding="utf-8")
    sync_knowledge(settings, assistant, lambda *step: None, print)
    without = loaded(store, 1)
    assert without is not None
    assert without.judge is None
    assert guard_of(store, 1), "the guard's files stay"


def test_a_project_without_claims_has_the_starters(tmp_path: Path) -> None:
    assistant = write_shop(tmp_path / "shop", make_encoder("bert", tmp_path / "tiny"))
    assert claims_of(assistant) == read_claims(STARTER)
    own = assistant.root / "answers" / "claims" / "en.jsonl"
    own.parent.mkdir()
    own.write_text('{"source": "a", "true": "b", "false": "c"}\n', encoding="utf-8")
    assert [claim.true for claim in claims_of(assistant)] == ["b"]


def claim(source: str, n: int) -> Claim:
    return Claim(source=source, true=f"{source} {n}", false="no")


def test_what_is_learned_quotes_nothing_of_what_is_held_out() -> None:
    """Also where two sources have only a third in common, which stands last; together they are too many to hold out."""
    first = [claim(source, 0) for source in ("It opens at nine.", "It closes at six.", *map(str, range(10, 29)))]
    both = [claim("It opens at nine. It closes at six.", 1), claim("It opens at nine.", 2)]
    learned, held_out = split_claims([*first, *both])
    assert sorted(each.true for each in [*learned, *held_out]) == sorted(each.true for each in [*first, *both])
    assert len(held_out) == 3
    for each in held_out:
        assert not [other for other in learned if other.source in each.source or each.source in other.source]


def test_of_starter_claims_about_a_sixth_is_held_out_in_each_language() -> None:
    learned, held_out = split_claims(read_claims(STARTER))
    assert 0.15 < len(held_out) / (len(learned) + len(held_out)) <= 1 / 6
    is_chinese = [identify_language(each.true) == "zh" for each in held_out]
    assert 0.3 < sum(is_chinese) / len(is_chinese) < 0.7
    about = {each.source for each in learned}
    assert not [each for each in held_out if each.source in about]


def test_claims_about_one_source_are_all_learned() -> None:
    learned, held_out = split_claims([claim("It opens at nine.", n) for n in range(12)])
    assert (len(learned), held_out) == (12, [])


def test_claims_that_cannot_be_read_are_named_with_their_line(tmp_path: Path) -> None:
    assistant = write_shop(tmp_path / "shop", make_encoder("bert", tmp_path / "tiny"))
    claims = assistant.root / "answers" / "claims"
    claims.mkdir()
    for line in ('{"source": "a", "true": "b"}', '{"source": "a", "true": "b", "false": 5}', "[]", "{"):
        (claims / "en.jsonl").write_text(f"\n{line}\n", encoding="utf-8")
        with pytest.raises(AssistantError, match=r"en\.jsonl:2"):
            read_claims(assistant.root)
