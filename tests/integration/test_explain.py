"""`kefu explain`: an n-gram version and a tiny BERT of random weights, trained here, explained in both ways."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from bot import learning
from bot.explaining import explain, explanation_view
from bot.settings import Settings
from models.base import KIND, ModelUnavailable
from models.heads import Features
from models.pretrained import resolve_base
from models.registry import Registry
from models.understanding import TrainedUnderstander, load_understander
from tests.learning import EXAMPLES, TESTED_SHOP, write_assistant
from tests.server import kefu
from training.attribution import TUNED_WEIGHTS, AttributionError, _folded, _from_grams, _places, attribute

TEXT = "hello, i want my money back please"


def tiny_bert(folder: Path) -> Path:
    """A BERT of two layers with random weights and the words of the small shop."""
    import torch
    from transformers import BertConfig, BertModel

    words = sorted({word for texts in EXAMPLES.values() for text in texts for word in text.split()})
    vocabulary = {word: at for at, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.4,
        pad_token_id=0,
    )
    folder.mkdir(parents=True)
    BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


class Shop:
    """A trained small shop; `base` is "ngram" or the folder of one."""

    def __init__(self, folder: Path, base: str) -> None:
        self.settings = Settings(home=folder / "home")
        self.base = base
        self.assistant = write_assistant(folder / "shop", TESTED_SHOP | {"kefu.yml": f"base: {base}\n"})
        self.folder = folder / "shop"
        learning.train(self.settings, self.assistant, console=Console(quiet=True))

    @property
    def version(self) -> Path:
        registry = Registry(self.settings.models_dir, self.assistant.assistant_id)
        current = registry.current(KIND)
        assert current is not None
        return registry.path(KIND, current)

    @cached_property
    def reader(self) -> TrainedUnderstander:
        return load_understander(self.version, 1)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("plain"), "ngram")


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("encoded")
    return Shop(folder, str(tiny_bert(folder / "bert")))


def test_the_words_of_the_intent_drive_it(plain: Shop) -> None:
    found = explain(plain.settings, plain.assistant, TEXT)
    (driven,) = found.driven
    assert driven.answer == "return_item"
    effects = {effect.part.text: effect.effect for effect in driven.effects}
    assert effects["money"] + effects["back"] > 0.5
    assert effects["money"] > effects["hello"]
    assert found.understanding.intent.name == "return_item"


def test_gradients_through_n_grams_alone_are_exact(plain: Shop) -> None:
    found = explain(plain.settings, plain.assistant, TEXT, method="gradients", sentiment=True)
    assert [one.task for one in found.driven] == ["intent", "sentiment"]
    head, reader = plain.reader.intent_head, plain.reader
    logit = head.logits(reader.features([TEXT]))[0, head.labels.index("return_item")]
    driven = found.driven[0]
    assert driven.difference == pytest.approx(float(logit - head.bias[head.labels.index("return_item")]), rel=1e-4)
    assert driven.rest is not None
    assert sum(effect.effect for effect in driven.effects) + driven.rest == pytest.approx(driven.difference, rel=1e-6)
    effects = {effect.part.text: effect.effect for effect in driven.effects}
    assert effects["money"] + effects["back"] > 0.5
    assert effects["hello"] < 0


def test_integrated_gradients_sum_to_the_logits_difference(encoded: Shop) -> None:
    reader = encoded.reader
    assert reader.encoder is not None
    base = resolve_base(encoded.base, encoded.settings.bases_dir)
    for text in (TEXT, "where is my parcel", "zap"):
        found = attribute(reader, encoded.version, base, text, "intent")
        total = sum(effect.effect for effect in found.effects) + found.rest
        assert found.gap <= 0.05
        assert total == pytest.approx(found.difference, rel=0.05)
    # int8 aside, the difference is the served logit's, as far as it hangs on words
    head = reader.intent_head
    served = head.logits(reader.features([TEXT]))[0]
    found = attribute(reader, encoded.version, base, TEXT, "intent")
    assert found.answer == head.labels[int(served.argmax())]
    assert found.steps >= 64


def test_other_weights_than_those_that_serve_are_refused(encoded: Shop, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    base = resolve_base(encoded.base, encoded.settings.bases_dir)
    weights = load_file(Path(encoded.base) / "model.safetensors")
    spoilt = {name: value.clone().normal_() for name, value in weights.items()}
    save_file(spoilt, tmp_path / TUNED_WEIGHTS)
    with pytest.raises(AttributionError, match="--method occlusion"):
        attribute(encoded.reader, tmp_path, base, TEXT, "intent")
    save_file(weights, tmp_path / TUNED_WEIGHTS)  # those of the folder take the base's place
    assert attribute(encoded.reader, tmp_path, base, TEXT, "intent").gap <= 0.05


def test_a_model_without_moods_says_so(plain: Shop, tmp_path: Path) -> None:
    reader = replace(plain.reader, sentiment_head=None)
    with pytest.raises(AttributionError, match="without sentiment"):
        attribute(reader, plain.version, resolve_base("ngram", tmp_path), TEXT, "sentiment")


@given(st.text(alphabet="want my Money 订单退货,.ßＡ１é  ", max_size=40))
def test_every_gram_finds_the_characters_it_is_made_of(plain: Shop, text: str) -> None:
    reader = plain.reader
    folded, origin = _folded(text)
    assert len(folded) == len(origin)
    spread = _from_grams(text, reader.vocabulary, reader.intent_head, 0)
    features = Features(dense=None, sparse=[reader.vocabulary.vector(text)])
    logit = reader.intent_head.logits(features)[0, 0] - reader.intent_head.bias[0]
    assert spread.sum() == pytest.approx(float(logit), abs=1e-4)
    assert abs(spread[-1]) < 1e-9  # no gram without a place
    assert np.isfinite(spread).all()


def test_a_gram_is_found_wherever_it_stands() -> None:
    assert list(_places("ana", "banana an")) == [(1, 4), (3, 6)]
    assert list(_places(" an", "banana an")) == [(7, 9)]
    assert list(_places("w:an", "an banana an")) == [(0, 2), (10, 12)]
    assert list(_places("w:my money", "my money, my money")) == [(0, 8), (10, 18)]
    assert list(_places("退货", "我要退货")) == [(2, 4)]


def test_the_view_tells_ranking_threshold_language_and_why_it_falls_back(plain: Shop) -> None:
    console = Console(width=100, record=True, quiet=False)
    console.print(explanation_view(explain(plain.settings, plain.assistant, "zap zorp quux", sentiment=True)))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 100
    for said in ("log-odds", "fallback", "threshold", "language", "sentiment: what drove", "out of scope"):
        assert said in text
    assert "the assistant acts on the intent" not in text
    console.print(explanation_view(explain(plain.settings, plain.assistant, TEXT)))
    assert "the assistant acts on the intent" in console.export_text()


def test_the_command_prints_json_and_writes_a_page(plain: Shop, tmp_path: Path) -> None:
    home, folder = plain.settings.home, str(plain.folder)
    page = tmp_path / "why.html"
    done = kefu(
        "explain", "我要 [退货]", "--assistant", folder, "--json", "--sentiment", "--html", str(page), home=home
    )
    found = json.loads(done.stdout)
    assert [part["part"]["text"] for part in found["driven"][0]["effects"]] == ["我", "要", "[", "退", "货", "]"]
    assert found["out_of_scope"]["threshold"] == pytest.approx(plain.reader.manifest.thresholds["out_of_scope"])
    assert found["model_version"] == plain.version.name
    assert "退" in page.read_text(encoding="utf-8")
    done = kefu("explain", TEXT, "--assistant", folder, home=home, COLUMNS="100")
    assert "what drove return_item" in done.stdout
    done = kefu("explain", TEXT, "--assistant", folder, "--method", "tea", home=home, check=False)
    assert (done.returncode, "occlusion or gradients" in done.stderr) == (1, True)


def test_without_a_version_it_says_what_to_run(plain: Shop, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="kefu train"):
        explain(Settings(home=tmp_path), plain.assistant, TEXT)
