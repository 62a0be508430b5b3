"""A pretrained base → the encoder files that serve: ONNX int8, the embedding table beside it, the tokenizer. PyTorch
lives here.

Exports depend on the base alone and are kept, so that the next training takes seconds and needs no PyTorch.
Invariant: a folder under `exports` is complete or absent.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.base import BaseModelNotFound
from models.e5_file import read_e5_file
from models.encoder import (
    EMBEDDING,
    EMBEDDINGS,
    ENCODER_ONNX,
    HIDDEN,
    SCALES,
    EncoderSpec,
    session_options,
    write_spec,
)
from models.pretrained import E5_FILE, TOKENIZER, BaseModel, load_torch_model, pooling
from models.tokens import load_tokens, save_tokens

# Part of the export's name: raise it when the exporter changes what it writes.
FORMAT = "3"
# A product stays in float32 where its input, on the sample, has a value so many times its root mean square: int8 has
# one scale for all of it, and next to nothing is left for the rest. Three of the 72 in multilingual-e5-small, none in
# MiniLM; vectors' noise, as a share of their spread over the starter's training texts: 0.180 before, 0.116 after, for
# an eighth more of the time.
OUTLIER = 80.0
SAMPLE = ("Where is my order?", "你好，我的快递到哪了", "I want to return the lamp, it is broken.", "多少钱")
# Chat messages are short; 128 tokens hold about 90 English words or 180 Chinese characters.
MAX_TOKENS = 128
# A tuned encoder's weights in its version folder, word embeddings left out.
TUNED_WEIGHTS = "encoder.safetensors"


def exported_encoder(base: BaseModel, progress: Callable[[str, int, int], None]) -> Path:
    """The folder with the base's encoder files, made the first time (about half a minute).

    Raises:
        BaseModelNotFound: the base's files do not make an encoder, or PyTorch, needed the first time, is not installed.
    """
    if base.folder is None or base.exports is None:
        raise BaseModelNotFound(f"{base.name!r} has no encoder to export")
    key = hashlib.sha256(f"{FORMAT}/{base.sha256}/{base.prefix}/{pooling(base)}".encode()).hexdigest()[:16]
    folder = base.exports / key
    if folder.is_dir():
        return folder
    base.exports.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base.exports, prefix=".export-") as work:
        made = Path(work) / "made"
        made.mkdir()
        try:
            _export(base, made, Path(work), progress)
        except ImportError as error:
            raise BaseModelNotFound(
                f"{base.name} is not yet exported and PyTorch is missing ({error}): pip install 'kefu[train]'"
            ) from error
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():  # another training was faster otherwise
                raise
    return folder


def _export(base: BaseModel, made: Path, work: Path, progress: Callable[[str, int, int], None]) -> None:
    progress("encoder", 0, 3)
    model = load_torch_model(base)
    tokenizer = _tokenizer(base, work)
    save_tokens(tokenizer, made)
    table = model.get_input_embeddings().weight.detach().numpy()
    _save_table(table, made)
    progress("encoder", 1, 3)
    _to_onnx(model, pooling(base), table.shape[1], work / "float.onnx")
    progress("encoder", 2, 3)
    _quantise(work / "float.onnx", made / ENCODER_ONNX, _sample(made, base.prefix, table))
    pad = getattr(model.config, "pad_token_id", None) or 0
    spec = EncoderSpec(prefix=base.prefix, max_tokens=MAX_TOKENS, pad_id=pad, dimensions=int(model.config.hidden_size))
    write_spec(made, spec)
    progress("encoder", 3, 3)


def export_tuned(model: Any, base: BaseModel, out: Path) -> None:
    """Put a tuned model's graph in the place of the base's in the encoder folder `out`; table and tokenizer stay."""
    table = model.get_input_embeddings().weight.detach().float().numpy()
    with tempfile.TemporaryDirectory(dir=out, prefix=".export-") as work:
        _to_onnx(model, pooling(base), table.shape[1], Path(work) / "float.onnx")
        _quantise(Path(work) / "float.onnx", Path(work) / ENCODER_ONNX, _sample(out, base.prefix, table))
        # Replaced, never written into: the file that lies there is a link to the base's export.
        (Path(work) / ENCODER_ONNX).replace(out / ENCODER_ONNX)


def base_tokenizer(base: BaseModel, work: Path) -> Any:
    """The base's tokenizer as transformers wants it; `work` is a folder to write in."""
    from transformers import PreTrainedTokenizerFast

    config = Path(base.folder or "") / "tokenizer_config.json"
    if base.folder is not None and config.is_file():
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(base.folder)
    tokenizer = _tokenizer(base, work)
    marks = {"pad_token": ("<pad>", "[PAD]"), "unk_token": ("<unk>", "[UNK]"), "mask_token": ("<mask>", "[MASK]")}
    known = {name: mark for name, pair in marks.items() for mark in pair if tokenizer.token_to_id(mark) is not None}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **known)  # type: ignore[no-untyped-call]


def _tokenizer(base: BaseModel, work: Path) -> Tokenizer:
    assert base.folder is not None  # `exported_encoder` has checked
    if (base.folder / E5_FILE).is_file():
        return read_e5_file(base.folder / E5_FILE).tokenizer()
    if not (base.folder / TOKENIZER).is_file():
        # Older hub models ship a vocabulary only; transformers knows how to make the file of it.
        from transformers import AutoTokenizer

        AutoTokenizer.from_pretrained(base.folder).save_pretrained(work / "tokenizer")
        return Tokenizer.from_file(str(work / "tokenizer" / TOKENIZER))
    return Tokenizer.from_file(str(base.folder / TOKENIZER))


def _save_table(table: NDArray[np.float32], made: Path) -> None:
    """Word embeddings as int8 with one scale a row: a quarter of the size, read from disk only where a word occurs."""
    scales = np.maximum(np.abs(table).max(axis=1), 1e-9) / 127  # (V,)
    np.save(made / EMBEDDINGS, np.round(table / scales[:, None]).astype(np.int8))
    np.save(made / SCALES, scales.astype(np.float32))


def _to_onnx(model: Any, pool: str, width: int, path: Path) -> None:
    import torch

    from training.tuning import pooled

    class Sentence(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, inputs_embeds: Any, attention_mask: Any) -> Any:
            hidden = self.model(inputs_embeds=inputs_embeds, attention_mask=attention_mask).last_hidden_state
            return pooled(hidden, attention_mask, pool), hidden  # (B, D), (B, T, D)

    sample = (torch.randn(2, 9, width), torch.ones(2, 9, dtype=torch.int64))
    names = ["inputs_embeds", "attention_mask"]
    axes = {name: {0: "batch", 1: "tokens"} for name in (*names, HIDDEN)} | {EMBEDDING: {0: "batch"}}
    with warnings.catch_warnings(), torch.no_grad():
        # The tracing exporter: the newer one needs two more packages and, measured on these models, gains nothing.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Sentence().eval(),
            sample,
            str(path),
            input_names=names,
            output_names=[EMBEDDING, HIDDEN],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )


def _sample(folder: Path, prefix: str, table: NDArray[np.float32]) -> list[dict[str, NDArray[Any]]]:
    """The sample sentences as inputs of the graph; `folder` holds the tokenizer."""
    tokens = load_tokens(folder, MAX_TOKENS).encode([prefix + text for text in SAMPLE], with_spans=False)
    return [
        {"inputs_embeds": table[np.array([one.ids])], "attention_mask": np.ones((1, len(one.ids)), dtype=np.int64)}
        for one in tokens
    ]


def _outlying(source: Path, sample: Sequence[Mapping[str, NDArray[Any]]]) -> list[str]:
    """Products with weights whose input has outliers, by the names of their nodes."""
    import onnx
    from onnxruntime import InferenceSession  # type: ignore[import-untyped]

    model = onnx.load(source)
    weights = {one.name for one in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    fed = {one.name for one in model.graph.input}
    inputs = list(dict.fromkeys(node.input[0] for node in products if node.input[0] not in fed))
    if not inputs:  # asked for no output, a session gives all
        return []
    known = {one.name for one in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in inputs if name not in known
    )
    session = InferenceSession(model.SerializeToString(), session_options(1), providers=["CPUExecutionProvider"])
    runs = [session.run(inputs, dict(feed)) for feed in sample]
    outliers = set()
    for name, *seen in zip(inputs, *runs, strict=True):
        values = np.concatenate([one.ravel() for one in seen])
        if np.abs(values).max() > OUTLIER * np.sqrt((values**2).mean()):
            outliers.add(name)
    return [node.name for node in products if node.input[0] in outliers]


def _quantise(source: Path, target: Path, sample: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    """Dynamic int8, one scale a channel, on the plain graph; products of outliers stay as they are.

    Measured with MiniLM on one core, 1 / 8 / 32 messages: 3.7 / 21 / 115 ms of CPU, cosine to float32 0.994; on the
    fused graph
    3.3 / 24 / 128 ms, 0.994; fused with one scale a tensor 3.1 / 23 / 132 ms, 0.968; float32 7.3 / 39 / 215 ms.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]

    previous = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it recommends a pre-processing that changes nothing here
    try:
        quantize_dynamic(
            source,
            target,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=_outlying(source, sample),
        )
    finally:
        logging.root.setLevel(previous)
    shutil.copymode(source, target)
