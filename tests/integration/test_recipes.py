"""Every recipe trains, exports and serves, on every family of encoder that a hub id may name; weights are random."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from models.artifact import read_manifest, sha256_file, write_manifest
from models.base import ArtifactInvalid, BaseModelNotFound, Manifest
from models.encoder import ENCODER_ONNX, Encoder, session_options
from models.heads import load_arrays
from models.pretrained import load_torch_model, resolve_base
from models.understanding import load_understander
from tests.tiny_encoders import KINDS, make_encoder
from tests.tiny_models import ASSISTANT, tiny_data
from training.attribution import tuned_weights
from training.dataset import EntityValue, UnderstandingData, Utterance
from training.export import _outlying, exported_encoder
from training.finetune_understanding import train_understanding
from training.recipes import RECIPES, Recipe
from training.tuning import encoder_layers, keep_lowest

SHORT = {"epochs": 1, "threads": 1, "enough_held_out": 5}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders")
    for kind in KINDS:
        make_encoder(kind, folder / kind)
    return folder


def train(folders: Path, kind: str, recipe: Recipe, out: Path, data: UnderstandingData | None = None) -> Manifest:
    base = resolve_base(str(folders / kind), folders / "cache")
    return train_understanding(data or tiny_data(), recipe, base, out, ASSISTANT)


@pytest.mark.parametrize("kind", KINDS)
def test_any_family_of_encoder_is_tuned_and_served(folders: Path, kind: str, tmp_path: Path) -> None:
    manifest = train(folders, kind, replace(RECIPES["full"], **SHORT), tmp_path / "v")
    reader = load_understander(tmp_path / "v", 1)
    assert reader.replay_probes() == []
    texts = ["where is my order", "我的订单到哪了"]
    alone, together = reader.encoder.embed(texts[:1]), reader.encoder.embed(texts)  # type: ignore[union-attr]
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-3)
    assert float(alone[0] @ together[0]) > 0.98  # padding to a longer neighbour changes nothing but int8 rounding
    assert manifest.recipe == "full"
    base = exported_encoder(resolve_base(str(folders / kind), folders / "cache"), lambda *step: None)
    assert Encoder(base, 1).spec == reader.encoder.spec  # type: ignore[union-attr]
    assert (base / ENCODER_ONNX).read_bytes() != (tmp_path / "v" / ENCODER_ONNX).read_bytes()


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_named_recipe_trains_and_serves(folders: Path, name: str, tmp_path: Path) -> None:
    recipe = replace(RECIPES[name], threads=1, enough_held_out=5, epochs=min(3, RECIPES[name].epochs))
    manifest = train(folders, "xlm-r", recipe, tmp_path / "v")
    assert manifest.recipe == name
    assert load_understander(tmp_path / "v", 1).replay_probes() == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="full"),
        pytest.param({"freeze": 0.0}, id="all layers"),
        pytest.param({"fgm": 0.5}, id="fgm"),
        pytest.param({"rdrop": 1.0}, id="rdrop"),
        pytest.param({"contrastive": 1.0, "freeze": 0.0}, id="contrastive"),
        pytest.param({"lora_rank": 4}, id="lora"),
        pytest.param({"optimizer": "adafactor", "schedule": "cosine"}, id="adafactor"),
        pytest.param({"schedule": "constant", "label_smoothing": 0.1}, id="constant"),
        pytest.param({"kept": 0.5, "freeze": 0.0}, id="half of the layers"),
    ],
)
def test_every_setting_changes_what_is_learned(folders: Path, changes: dict[str, object], tmp_path: Path) -> None:
    """Each setting alone makes another encoder than the recipe without it does, and one that serves."""
    plain = replace(RECIPES["full"], **SHORT)
    recipe = replace(plain, **changes)  # type: ignore[arg-type]
    made = vectors(folders, recipe, tmp_path / "changed")
    assert np.isfinite(made).all()
    if changes:
        assert not np.allclose(made, vectors(folders, plain, tmp_path / "plain"), atol=1e-4)
    else:
        again = vectors(folders, recipe, tmp_path / "again")
        np.testing.assert_allclose(made, again, atol=1e-6)  # the same seed makes the same model


def vectors(folders: Path, recipe: Recipe, out: Path) -> np.ndarray:
    train(folders, "bert", recipe, out)
    return Encoder(out, 1).embed(["where is my order", "return the lamp please", "我要退货"])


@pytest.mark.parametrize(("field", "value"), [("optimizer", "sgdd"), ("schedule", "stairs"), ("precision", "float8")])
def test_a_setting_that_is_no_choice_is_named(folders: Path, field: str, value: str, tmp_path: Path) -> None:
    recipe = replace(RECIPES["full"], **{**SHORT, field: value})
    with pytest.raises(ValueError, match=f"{field} '{value}'; use"):
        train(folders, "bert", recipe, tmp_path / "v")


def test_a_cut_encoder_is_explained_by_the_layers_that_serve(folders: Path, tmp_path: Path) -> None:
    manifest = train(folders, "bert", replace(RECIPES["small"], **SHORT), tmp_path / "v")
    base = resolve_base(str(folders / "bert"), folders / "cache")
    model, encoder = load_torch_model(base), Encoder(tmp_path / "v", 1)
    tuned_weights(model, tmp_path / "v", manifest)
    assert len(encoder_layers(model)) == 1
    (tokens,) = encoder.tokens(["where is my order"])
    with torch.inference_mode():
        words = torch.from_numpy(encoder.words(np.array([tokens.ids])))
        hidden = model(inputs_embeds=words, attention_mask=torch.ones(1, len(tokens.ids))).last_hidden_state[0]
    served = encoder.run([tokens], with_hidden=True).hidden
    assert served is not None
    np.testing.assert_allclose(hidden.numpy(), served[0], atol=0.15)  # int8 beside float


def test_what_has_no_layers_to_cut_is_refused_in_words() -> None:
    with pytest.raises(BaseModelNotFound, match="no stack of layers"):
        keep_lowest(torch.nn.Linear(2, 2), 0.5)


def test_tuning_learns_what_a_frozen_encoder_cannot(folders: Path, tmp_path: Path) -> None:
    """Random weights tell little apart; tuned on the training texts they part the intents."""
    recipe = replace(RECIPES["full"], threads=1, enough_held_out=5, epochs=60, freeze=0.0, learning_rate=2e-3)
    train(folders, "bert", recipe, tmp_path / "tuned")
    train(folders, "bert", replace(RECIPES["quick"], threads=1), tmp_path / "frozen")
    data = tiny_data().intents
    assert spread(tmp_path / "tuned", data) > spread(tmp_path / "frozen", data) + 0.05


@pytest.mark.parametrize("name", ["quick", "full"])
def test_an_intent_of_a_single_example_is_learned_and_found(folders: Path, name: str, tmp_path: Path) -> None:
    lonely = Utterance(text="sing me a lullaby tonight", label="sing", language="en")
    recipe = replace(RECIPES[name], threads=1, enough_held_out=5, epochs=min(3, RECIPES[name].epochs))
    train(folders, "bert", recipe, tmp_path / "v", tiny_data((lonely,)))
    reader = load_understander(tmp_path / "v", 1)
    assert "sing" in reader.manifest.intents
    assert reader.read([lonely.text])[0].intent.name == "sing"


def spread(folder: Path, rows: tuple[Utterance, ...]) -> float:
    """Mean cosine within intents minus between them."""
    found = Encoder(folder, 1).embed([u.text for u in rows])
    found = found - found.mean(axis=0)
    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    same = np.array([[a.label == b.label for b in rows] for a in rows])
    cosines = found @ found.T
    return float(cosines[same].mean() - cosines[~same].mean())


def test_entities_are_learned_from_annotations_and_found_in_other_sentences(folders: Path, tmp_path: Path) -> None:
    colours = ["red", "blue", "green", "brass", "oak", "linen", "grey", "white", "black", "pink"]
    rows = tuple(
        Utterance(
            text=f"I want the {colour} lamp {tail}",
            label="want",
            language="en",
            entities=(EntityValue(entity="product", text=f"{colour} lamp", start=11, end=16 + len(colour)),),
        )
        for colour in colours
        for tail in ("today", "please")
    )
    plain = tuple(Utterance(text=f"hello {word}", label="greet", language="en") for word in colours)
    data = UnderstandingData(intents=(*rows, *plain))
    recipe = replace(RECIPES["full"], threads=1, enough_held_out=5, epochs=20, freeze=0.0, learning_rate=2e-3)
    train(folders, "bert", recipe, tmp_path / "v", data)
    reader = load_understander(tmp_path / "v", 1)
    assert reader.tagger is not None
    (found,) = reader.read(["I want the white lamp now"])
    assert [(e.entity, e.value) for e in found.entities] == [("product", "white lamp")]
    assert reader.read(["hello white"])[0].entities == ()

    # A tagger of an earlier release read a token without its neighbours: refused in words, not at the first message.
    folder = tmp_path / "v"
    arrays = load_arrays(folder / "heads.npz")
    np.savez(folder / "heads.npz", **{**arrays, "entity.weights": arrays["entity.weights"][:32]})
    manifest = read_manifest(folder)
    files = manifest.files | {"heads.npz": sha256_file(folder / "heads.npz")}
    write_manifest(folder, replace(manifest, files=files))
    with pytest.raises(ArtifactInvalid, match="earlier release"):
        load_understander(folder, 1)


def test_frozen_versions_share_the_bases_files_and_tuned_ones_only_the_words(folders: Path, tmp_path: Path) -> None:
    train(folders, "bert", replace(RECIPES["quick"], threads=1), tmp_path / "quick")
    train(folders, "bert", replace(RECIPES["full"], **SHORT), tmp_path / "full")
    same = (tmp_path / "quick" / "embeddings.npy").samefile(tmp_path / "full" / "embeddings.npy")
    other = (tmp_path / "quick" / ENCODER_ONNX).read_bytes() != (tmp_path / "full" / ENCODER_ONNX).read_bytes()
    assert same
    assert other
    assert load_torch_model(resolve_base(str(folders / "bert"), folders / "cache")).config.num_hidden_layers == 2


def test_the_slow_fusion_is_not_in_the_graph_that_serves(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime writes the graph it runs where the options ask for it."""
    train(folders, "bert", replace(RECIPES["quick"], threads=1), tmp_path / "v")

    def options_that_tell(threads: int) -> onnxruntime.SessionOptions:
        options = session_options(threads)
        options.optimized_model_filepath = str(tmp_path / "run.onnx")
        return options

    monkeypatch.setattr("models.encoder.session_options", options_that_tell)
    Encoder(tmp_path / "v", 1)
    kinds = {node.op_type for node in onnx.load(tmp_path / "run.onnx").graph.node}
    assert "SkipLayerNormalization" not in kinds
    assert "LayerNormalization" in kinds


def test_a_product_of_outliers_stays_in_float(tmp_path: Path) -> None:
    """One channel of the second product's input is a thousand times the others: int8 would leave them nothing."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(8, 16384)).astype(np.float32), rng.normal(size=(16384, 4)).astype(np.float32)
    nodes = []
    for name, boost in (("plain", 1.0), ("loud", 1000.0)):
        loud = first.copy()
        loud[:, 0] *= boost
        weights = [onnx.numpy_helper.from_array(w, f"{name}_{k}") for k, w in enumerate((loud, second))]
        graph = onnx.helper.make_graph(
            [
                onnx.helper.make_node("MatMul", ["x", f"{name}_0"], ["between"], name="up"),
                onnx.helper.make_node("MatMul", ["between", f"{name}_1"], ["y"], name="down"),
            ],
            name,
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 8])],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4])],
            weights,
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.save(model, tmp_path / "model.onnx")
        nodes.append(_outlying(tmp_path / "model.onnx", [{"x": np.ones((1, 8), dtype=np.float32)}]))
    assert nodes == [[], ["down"]]
    del model.graph.node[1]
    model.graph.node[0].output[0] = "y"
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 16384
    onnx.save(model, tmp_path / "fed.onnx")
    assert _outlying(tmp_path / "fed.onnx", [{"x": np.ones((1, 8), dtype=np.float32)}]) == []
