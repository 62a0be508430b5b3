"""`kefu evaluate`: what serves on the assistant's own tests, a recipe on any files, errors that say what to give."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from bot import learning
from bot.errors import ConfigurationError
from bot.evaluation import evaluate_assistant, evaluate_files
from bot.settings import Settings
from models.base import ModelUnavailable
from tests.learning import EXAMPLES, HELD_OUT, TESTED_SHOP, nlu, write_assistant
from tests.server import kefu
from training.experiment import Plan

CONVERSATIONS = "conversations:\n- name: nonsense\n  steps:\n  - user: zap zap zap\n    actions: [utter_order]\n"
OUT_OF_SCOPE = {"out_of_scope": ("who won the game", "capital of peru", "solve for x", "write a poem", "is it raining")}


def test_what_serves_is_measured_on_every_kind_of_test(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    printed = io.StringIO()
    console = Console(file=printed, width=100)
    annotated = {"greet": HELD_OUT["greet"], "return_item": ("send the [lamp](product) back", "the [rug](product) too")}
    files = TESTED_SHOP | {
        "domain.yml": TESTED_SHOP["domain.yml"].replace("return_item]", "return_item, out_of_scope]")
        + "  utter_no: [{text: No.}]\nentities: [product]\n",
        "data/nlu.yml": nlu({**EXAMPLES, **OUT_OF_SCOPE}) + "- lookup: product\n  examples: |\n    - lamp\n    - rug\n",
        "data/rules.yml": TESTED_SHOP["data/rules.yml"]
        + "- rule: no\n  steps: [{intent: out_of_scope}, {action: utter_no}]\n",
        "tests/nlu_en.yml": nlu({**annotated, "out_of_scope": ("who won the football game", "a poem please")}),
        "tests/several_en.yml": nlu({"greet+return_item": ("hello, i want a refund",)}),
        "tests/conversations.yml": CONVERSATIONS,
    }
    assistant = write_assistant(tmp_path / "shop", files)
    with pytest.raises(ModelUnavailable, match="kefu train"):
        evaluate_assistant(settings, assistant, console=console)
    version = learning.train(settings, assistant, console=console).version
    report = evaluate_assistant(settings, assistant, console=console)
    figures = report.figures()
    assert figures["version"] == version
    assert figures["intent_n"] == 9
    assert report.tasks["intent"].accuracy == figures["intent_accuracy"]
    assert report.entities is not None
    assert (report.entities.all.n, report.entities.all.f1) == (2, 1.0)
    assert report.several is not None
    assert (report.several.n, report.several.n_single) == (1, 9)
    assert report.oos_n == 2
    assert report.oos_auroc is not None
    assert report.oos_auroc > 0.5
    assert figures["oos_auroc_en"] == report.oos_auroc  # every test message is English
    assert figures["intent_macro_f1_en"] == report.tasks["intent"].macro_f1
    assert (figures["conversations"], figures["conversations_passed"]) == (1, 0)
    assert "zap zap zap" in printed.getvalue()

    done = kefu("evaluate", str(tmp_path / "shop"), "--json", str(tmp_path / "out.json"), home=settings.home)
    assert "entities (exact ends and type)" in done.stdout
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert {name: written[name] for name in figures} == figures
    assert written["details"]["tasks"]["intent"]["n"] == 9


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    for name, examples in {"train": EXAMPLES, "test": HELD_OUT}.items():
        rows = (f"{text},{intent}\n" for intent, texts in examples.items() for text in texts)
        (tmp_path / f"{name}.csv").write_text("text,intent\n" + "".join(rows))
    (tmp_path / "oos.csv").write_text("text,intent\nwhat is the capital of peru,oos\nsolve for x,oos\n")
    return tmp_path / "train.csv", tmp_path / "test.csv", tmp_path / "oos.csv"


def test_a_recipe_is_measured_on_any_files(tmp_path: Path, files: tuple[Path, Path, Path]) -> None:
    settings = Settings(home=tmp_path / "home")
    train, test, oos = files
    found = evaluate_files(settings, train, test, oos=oos, base="ngram", plan=Plan(seeds=(3,)))
    flat = found.as_json()
    wanted = {"accuracy", "macro_f1", "ece", "oos_auroc", "n_train", "n_test", "train_s", "predict_s"}
    assert wanted <= set(flat)
    assert (flat["n_train"], flat["n_test"], found.runs[0].seed) == (40, 20, 3)
    with pytest.raises(ConfigurationError, match="--recipe slow: unknown"):
        evaluate_files(settings, train, test, base="ngram", recipe="slow")
    with pytest.raises(ConfigurationError, match=r"nowhere\.csv"):
        evaluate_files(settings, tmp_path / "nowhere.csv", test, base="ngram")


def test_clincs_file_alone_brings_its_test_and_its_out_of_scope_rows(tmp_path: Path) -> None:
    def pairs(examples: dict[str, tuple[str, ...]]) -> list[list[str]]:
        return [[text, label] for label, texts in examples.items() for text in texts]

    path = tmp_path / "data_full.json"
    strange = [["capital of peru", "oos"], ["solve for x", "oos"]]
    path.write_text(json.dumps({"train": pairs(EXAMPLES), "test": pairs(HELD_OUT), "oos_test": strange}))
    done = kefu(
        *(
            "evaluate",
            "--train",
            str(path),
            "--base",
            "ngram",
            "--baseline",
            "tfidf",
            "--json",
            str(tmp_path / "out.json"),
        ),
        home=tmp_path / "home",
        COLUMNS="100",
    )
    written = json.loads((tmp_path / "out.json").read_text())
    assert (written["n_train"], written["n_test"]) == (40, 20)
    assert written["oos_auroc"] is not None
    assert written["floor"]["accuracy"] == written["accuracy"]
    assert "n-grams alone" in done.stdout
    folded = evaluate_files(Settings(home=tmp_path / "home"), path, base="ngram", plan=Plan(folds=2))
    assert folded.report.n == 40  # its own test rows stay unread


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--test", "x.csv"), "--train FILE"),
        (("--train", "x.csv", "--task", "entities"), "intent or sentiment"),
        (("--train", "x.csv", "--seeds", "one"), "--seeds one"),
        (("--train", "x.csv", "--baseline", "bert"), "only tfidf"),
        (("--train", "x.csv", "--base", "ngram"), "x.csv: No such file"),
    ],
)
def test_what_is_asked_wrongly_is_answered_with_what_to_give(
    tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    done = kefu("evaluate", *options, home=tmp_path / "home", check=False, COLUMNS="200")
    assert done.returncode == 1
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
