"""A frozen sentence encoder as served: word table, ONNX Runtime session, tokenizer, and how the base wants to be fed.

Exporting one is `training/export.py`'s. Invariant: a text's embedding has length 1 and, but for int8 rounding, does
not depend on its batch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray

from models.base import ArtifactInvalid
from models.tokens import Tokens, load_tokens

ENCODER_ONNX = "encoder.onnx"
ENCODER_JSON = "encoder.json"
EMBEDDINGS = "embeddings.npy"
SCALES = "embedding_scales.npy"
# What the graph gives: one vector a text, and one a token.
EMBEDDING = "embedding"
HIDDEN = "hidden"

# One forward pass reads at most this many tokens, padding included: more does not run faster on a CPU, it only takes
# memory.
TOKEN_BUDGET = 1024
# ONNX Runtime's fused skip-and-normalise takes five times as long on a CPU as the addition and the normalisation apart:
# MiniLM, 32 messages of 15 tokens, one thread, 1.09 ms a message with it and 0.87 ms without.
SLOW_FUSIONS = ["SkipLayerNormFusion"]
# From so many tokens on a pass costs by the token; below, another pass costs more than padding.
WORTH_A_PASS = 96
MOST_PADDING = 1.5


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """How texts become tokens: `prefix` is put before each (e5: "query: "), tokens past `max_tokens` are dropped."""

    prefix: str
    max_tokens: int
    pad_id: int
    dimensions: int


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """B texts' vectors (B, D), length 1 each, and their tokens' (T, D) where asked for."""

    vectors: NDArray[np.float32]
    hidden: list[NDArray[np.float32]] | None


class Encoder:
    """Loads the encoder files of a folder. Thread-safe; raises ArtifactInvalid where they do not load.

    Args:
        max_tokens: another length than the messages' that the files name, for longer texts.
    """

    def __init__(self, folder: Path, threads: int, max_tokens: int | None = None) -> None:
        try:
            self.spec = EncoderSpec(**json.loads((folder / ENCODER_JSON).read_text(encoding="utf-8")))
            if max_tokens is not None:
                self.spec = replace(self.spec, max_tokens=max_tokens)
            self._tokens = load_tokens(folder, self.spec.max_tokens)
            # Mapped, not read: of 250,000 words a shop's customers use a few thousand, and only those become memory.
            self._table: NDArray[np.int8] = np.load(folder / EMBEDDINGS, mmap_mode="r", allow_pickle=False)  # (V, D)
            self._scales: NDArray[np.float32] = np.load(folder / SCALES, allow_pickle=False)  # (V,)
            self._session = onnxruntime.InferenceSession(
                str(folder / ENCODER_ONNX),
                session_options(threads),
                providers=["CPUExecutionProvider"],
                disabled_optimizers=SLOW_FUSIONS,
            )
        except Exception as error:  # onnxruntime and tokenizers raise bare Exception for a bad file
            raise ArtifactInvalid(f"{folder}: the encoder does not load ({error}); train again") from error

    def embed(self, texts: Sequence[str], prefix: str | None = None) -> NDArray[np.float32]:
        """B texts → (B, D), in input order; similar lengths share a pass, so that little is spent on padding.

        `prefix` takes the place of the base's own.
        """
        return self.run(self.tokens(texts, with_spans=False, prefix=prefix)).vectors

    def tokens(self, texts: Sequence[str], *, with_spans: bool = True, prefix: str | None = None) -> list[Tokens]:
        """B texts as the encoder reads them; spans are in code points of the text without the prefix."""
        prefix = self.spec.prefix if prefix is None else prefix
        found = self._tokens.encode([prefix + text for text in texts], with_spans=with_spans)
        if not prefix or not with_spans:
            return found
        return [Tokens(ids=one.ids, spans=[_moved(span, len(prefix)) for span in one.spans]) for one in found]

    def words(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Token ids of any shape → their word embeddings, (…, D)."""
        out: NDArray[np.float32] = self._table[ids] * self._scales[ids][..., None]
        return out

    def run(self, tokens: Sequence[Tokens], *, with_hidden: bool = False) -> Encoded:
        """One vector a text; with `with_hidden` one a token too."""
        vectors = np.zeros((len(tokens), self.spec.dimensions), dtype=np.float32)
        hidden: list[NDArray[np.float32]] = [vectors[:0]] * len(tokens)
        for rows in length_buckets([len(one.ids) for one in tokens], TOKEN_BUDGET):
            longest = max(len(tokens[row].ids) for row in rows)
            ids = np.full((len(rows), longest), self.spec.pad_id, dtype=np.int64)  # (b, t)
            mask = np.zeros_like(ids)
            for line, row in enumerate(rows):
                ids[line, : len(tokens[row].ids)] = tokens[row].ids
                mask[line, : len(tokens[row].ids)] = 1
            wanted = [EMBEDDING, HIDDEN] if with_hidden else [EMBEDDING]
            found = self._session.run(wanted, {"inputs_embeds": self.words(ids), "attention_mask": mask})
            vectors[rows] = found[0]
            if with_hidden:
                for line, row in enumerate(rows):
                    hidden[row] = found[1][line, : len(tokens[row].ids)]
        return Encoded(vectors=vectors, hidden=hidden if with_hidden else None)


def _moved(span: tuple[int, int], by: int) -> tuple[int, int]:
    """A span over prefix and text → over the text; (0, 0) for what lies in the prefix."""
    return (max(0, span[0] - by), span[1] - by) if span[1] > by else (0, 0)


def write_spec(folder: Path, spec: EncoderSpec) -> None:
    (folder / ENCODER_JSON).write_text(json.dumps(asdict(spec), indent=2) + "\n", encoding="utf-8")


def length_buckets(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group rows of similar length so that rows × longest stays within `budget` (one row may exceed it alone).

    Where a bucket is large enough to be worth a pass, rows much longer than its shortest begin the next one.
    """
    buckets: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        # Rows come shortest first, so the newest is its bucket's longest.
        if buckets and _fits(buckets[-1], row, lengths, budget):
            buckets[-1].append(row)
        else:
            buckets.append([row])
    return buckets


def _fits(bucket: Sequence[int], row: int, lengths: Sequence[int], budget: int) -> bool:
    if (len(bucket) + 1) * lengths[row] > budget:
        return False
    is_worth_a_pass = len(bucket) * lengths[bucket[-1]] >= WORTH_A_PASS
    return not is_worth_a_pass or lengths[row] <= MOST_PADDING * lengths[bucket[0]]


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Options for serving beside a web server on few cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads win microseconds for us and take the core from the event loop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Message lengths vary: patterns would be planned, and memory kept, for every shape ever seen.
    options.enable_mem_pattern = False
    # A processor without VNNI adds products of int8 in 16 bits, where they overflow; this keeps such weights as uint8.
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.log_severity_level = 3
    return options
