"""Text → token ids, as the base model was trained to read them.

Two ways to the same ids: `tokenizers` itself, and for SentencePiece unigram vocabularies a search of our own, because
the library
holds 250,000 pieces in 300 MB and a dictionary does it in 40. Invariant: both give the same ids for the same text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

TOKENIZER_JSON = "tokenizer.json"
PIECES = "pieces.npz"

# What `tokenizers` takes off the worst score for a character no piece covers.
_UNKNOWN_PENALTY = 10.0
# Words come back, in languages that part them; a few thousand are most of what is written.
_RECENT_WORDS = 8192
_SHORT_WORD = 16
# From so many texts on, several threads tokenise them faster than one.
_MANY = 128
# What SentencePiece puts where a word begins.
_WORD_MARK = "▁"


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """One text's token ids, the base's begin and end marks included, and where in the text each stands.

    Attributes:
        spans: (start, end) in code points, end exclusive; (0, 0) for a mark. Blanks before a word are not its own.
            Empty where they were not asked for.
    """

    ids: list[int]
    spans: list[tuple[int, int]]


class TextTokens(Protocol):
    def encode(self, texts: Sequence[str], *, with_spans: bool = True) -> list[Tokens]:
        """B texts → B token lists; any number of threads may call at once."""
        ...


def load_tokens(folder: Path, max_tokens: int) -> TextTokens:
    """The tokenizer of an encoder folder; what goes past `max_tokens` is dropped from the end."""
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_JSON))
    if (folder / PIECES).is_file():
        return UnigramTokens(tokenizer, folder / PIECES, max_tokens)
    return LibraryTokens(tokenizer, max_tokens)


def save_tokens(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the tokenizer; a unigram vocabulary goes into `pieces.npz`, so that the library never loads it."""
    described = json.loads(tokenizer.to_str())
    model = described["model"]
    if _is_plain_unigram(described):
        blob = np.frombuffer("\n".join(piece for piece, _ in model["vocab"]).encode(), dtype=np.uint8)
        scores = np.array([score for _, score in model["vocab"]], dtype=np.float64)
        begin, end = _marks(tokenizer)
        np.savez(folder / PIECES, pieces=blob, scores=scores, begin=begin, end=end, unknown=model["unk_id"])
        described["model"] = {**model, "unk_id": 0, "vocab": [["<unk>", 0.0]]}
        # Marks and special names refer to ids that the emptied vocabulary lacks; begin and end are kept beside the
        # pieces.
        described |= {"added_tokens": [], "post_processor": None, "padding": None, "truncation": None}
    (folder / TOKENIZER_JSON).write_text(json.dumps(described, ensure_ascii=False), encoding="utf-8")


class LibraryTokens:
    """Everything done by `tokenizers`."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        # Set once: while another thread encodes, the library refuses to be changed.
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens)
        self._tokenizer = tokenizer

    def encode(self, texts: Sequence[str], *, with_spans: bool = True) -> list[Tokens]:
        # A batch goes through the library's own threads, which costs more than a few messages take.
        if len(texts) < _MANY:
            found = [self._tokenizer.encode(text) for text in texts]
        else:
            found = self._tokenizer.encode_batch(list(texts))
        return [
            Tokens(ids=one.ids, spans=_without_blanks(text, one.offsets) if with_spans else [])
            for text, one in zip(texts, found, strict=True)
        ]


class UnigramTokens:
    """Normalising and splitting by `tokenizers`, the best path through the pieces by Viterbi search here."""

    def __init__(self, tokenizer: Tokenizer, pieces: Path, max_tokens: int) -> None:
        self._normalizer, self._splitter = tokenizer.normalizer, tokenizer.pre_tokenizer
        with np.load(pieces, allow_pickle=False) as stored:
            blob: NDArray[Any] = stored["pieces"]
            names = blob.tobytes().decode().split("\n")
            self._scores: list[float] = stored["scores"].tolist()
            self._begin: list[int] = stored["begin"].tolist()
            self._end: list[int] = stored["end"].tolist()
            self._unknown = int(stored["unknown"])
        self._room = max_tokens - len(self._begin) - len(self._end)
        self._ids = dict(zip(names, range(len(names)), strict=True))
        # A customer who types "</s>" means four characters.
        for index in {*self._begin, *self._end, self._unknown}:
            self._ids.pop(names[index], None)
        self._longest = max(map(len, names))
        self._recent: dict[str, list[tuple[int, int]]] = {}
        self._unknown_score = min(self._scores) - _UNKNOWN_PENALTY

    def encode(self, texts: Sequence[str], *, with_spans: bool = True) -> list[Tokens]:
        return [self._text(text, with_spans) for text in texts]

    def _text(self, text: str, with_spans: bool) -> Tokens:
        plain = text if self._normalizer is None else self._normalizer.normalize_str(text)
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        place = 0  # in `plain`, of the next character that is no mark of a word's beginning
        for word, _ in self._splitter.pre_tokenize_str(plain):
            for piece, length in self._word(word):
                ids.append(piece)
                start = place
                place += length
                spans.append((start, place))
        room = slice(0, self._room)
        kept = [*self._begin, *ids[room], *self._end]
        if not with_spans:
            return Tokens(ids=kept, spans=[])
        inner = _spans_of(text, _origins(text, plain, self._normalizer), spans[room])
        marks = [(0, 0)]
        return Tokens(ids=kept, spans=[*marks * len(self._begin), *inner, *marks * len(self._end)])

    def _word(self, word: str) -> list[tuple[int, int]]:
        """A word's pieces, each with how many characters of the text it takes, blanks not counted."""
        if (path := self._recent.get(word)) is None:
            path = self._search(word)
            if len(word) <= _SHORT_WORD:
                if len(self._recent) >= _RECENT_WORDS:
                    self._recent.clear()
                self._recent[word] = path
        return path

    def _search(self, word: str) -> list[tuple[int, int]]:
        size = len(word)
        best = [-1e18] * (size + 1)
        best[0] = 0.0
        via = [(0, -1)] * (size + 1)
        ids, scores = self._ids, self._scores
        for start in range(size):
            so_far = best[start]
            single = False
            for end in range(start + 1, min(size, start + self._longest) + 1):
                piece = ids.get(word[start:end])
                if piece is None:
                    continue
                single |= end == start + 1
                score = so_far + scores[piece]
                if score > best[end]:
                    best[end], via[end] = score, (start, piece)
            if not single and so_far + self._unknown_score > best[start + 1]:
                best[start + 1], via[start + 1] = so_far + self._unknown_score, (start, self._unknown)
        return self._trace(via, word)

    def _trace(self, via: list[tuple[int, int]], word: str) -> list[tuple[int, int]]:
        path: list[tuple[int, int]] = []
        end = len(word)
        while end > 0:
            start, piece = via[end]
            length = end - start - word.count(_WORD_MARK, start, end)
            # Neighbouring unknown characters count as one.
            if piece == self._unknown and path and path[-1][0] == self._unknown:
                path[-1] = (piece, path[-1][1] + length)
            else:
                path.append((piece, length))
            end = start
        return path[::-1]


def _origins(text: str, plain: str, normalizer: Any) -> list[int] | None:
    """For each character of `plain` that is no blank, which character of `text` it comes from; None where that cannot
    be told (characters that melt into one)."""
    if plain == text:
        return [at for at, char in enumerate(text) if not char.isspace()]
    at: list[int] = []
    out: list[str] = []
    for place, char in enumerate(text):
        became = char if char.isascii() else normalizer.normalize_str(char)
        kept = [one for one in became if not one.isspace()]
        at += [place] * len(kept)
        out += kept
    return at if "".join(out) == "".join(plain.split()) else None


def _spans_of(text: str, at: list[int] | None, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans over characters that are no blanks → spans over the text; all empty where these cannot be told."""
    if at is None or (spans and spans[-1][1] > len(at)):
        return [(0, 0)] * len(spans)
    return [(at[start], at[end - 1] + 1) if start < end else (0, 0) for start, end in spans]


def _without_blanks(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    out = []
    for start, end in spans:
        while start < end and text[start].isspace():
            start += 1
        out.append((start, end) if start < end else (0, 0))
    return out


def _is_plain_unigram(described: dict[str, Any]) -> bool:
    model = described["model"]
    plain = model["type"] == "Unigram" and not model.get("byte_fallback") and model.get("unk_id") is not None
    return bool(plain and described["pre_tokenizer"]) and all("\n" not in piece for piece, _ in model["vocab"])


def _marks(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    empty = tokenizer.encode("").ids
    half = len(empty) // 2
    return empty[:half], empty[half:]
