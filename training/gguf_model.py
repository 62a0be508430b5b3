"""A base in GGUF and the LoRA adapter that was trained on it → one model for llama.cpp. No PyTorch.

The weights that were learned are added to those they were learned beside, and all are kept in 16 bits: with 4-bit ones
llama.cpp rounds what it multiplies them with too, and writes other words than the model that was trained.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_ROTATES_IN_PAIRS = {"llama": True, "gemma3": False}
"""By llama.cpp's name of the architecture: whether it keeps the halves of a head's queries and keys interleaved."""
_KEY = re.compile(r"layers\.(\d+)\.([a-z_]+\.[a-z_]+)\.lora_([AB])\.weight$")

Floats = NDArray[np.float32]


def write_model(base: Path, adapter: Path, target: Path) -> None:
    """Write the base with the adapter's weights merged in.

    Args:
        base: a Llama or Gemma 3 in GGUF.
        adapter: a folder with adapter_model.safetensors and adapter_config.json, as peft saves it.
    Raises:
        ValueError: the base is no such model, or the adapter was trained on another.
    """
    from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, Keys, LlamaFileType
    from gguf.quants import dequantize

    read = GGUFReader(base)

    def stated(key: str) -> object:
        return read.fields[key].contents()

    architecture = str(stated(Keys.General.ARCHITECTURE))
    if architecture not in _ROTATES_IN_PAIRS:
        raise ValueError(f"{base}: nothing is known of a {architecture} in GGUF")
    attention = {"attn_q": Keys.Attention.HEAD_COUNT, "attn_k": Keys.Attention.HEAD_COUNT_KV}
    heads = {name: int(str(stated(key.format(arch=architecture)))) for name, key in attention.items()}
    changes = _changes(adapter, heads if _ROTATES_IN_PAIRS[architecture] else {})
    if strange := sorted(changes.keys() - {tensor.name for tensor in read.tensors}):
        raise ValueError(f"{adapter}: {base.name} has no {strange[0]}")
    writer = GGUFWriter(target, architecture)
    for key, field in read.fields.items():
        if key.startswith("GGUF.") or key in (Keys.General.ARCHITECTURE, Keys.General.FILE_TYPE):
            continue  # the writer's own
        kind = field.types[0]
        writer.add_key_value(key, field.contents(), kind, field.types[-1] if kind is GGUFValueType.ARRAY else None)
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    for tensor in read.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        if tensor.name in changes:
            values = values + changes[tensor.name]
        is_matrix = values.ndim > 1
        writer.add_tensor(
            tensor.name,
            values.astype(np.float16 if is_matrix else np.float32),
            raw_dtype=GGMLQuantizationType.F16 if is_matrix else GGMLQuantizationType.F32,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _changes(adapter: Path, heads: Mapping[str, int]) -> dict[str, Floats]:
    """What the adapter adds to each tensor, by llama.cpp's name for it.

    Args:
        heads: of attention, for the tensors whose rows llama.cpp keeps in another order than transformers.
    """
    from safetensors.numpy import load_file

    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    scale = float(config["lora_alpha"]) / float(config["r"])
    halves: dict[str, dict[str, Floats]] = {}
    for key, tensor in load_file(adapter / "adapter_model.safetensors").items():
        found = _KEY.search(key)
        if found is None or found[2] not in _NAMES:
            raise ValueError(f"{adapter}: no place for {key} in a GGUF model")
        layer, place, half = found.groups()
        halves.setdefault(f"blk.{layer}.{_NAMES[place]}", {})[half] = tensor.astype(np.float32)
    changes = {}
    for name, half in halves.items():
        values = scale * (half["B"] @ half["A"])
        count = heads.get(name.rpartition(".")[2])
        changes[f"{name}.weight"] = _permuted(values, count) if count else values
    return changes


def _permuted(rows: Floats, heads: int) -> Floats:
    """(heads × D, R), in halves of a head for transformers → in pairs for llama.cpp."""
    size = rows.shape[0] // heads
    return rows.reshape(heads, 2, size // 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)
