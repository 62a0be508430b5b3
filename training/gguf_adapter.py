"""A LoRA adapter as peft saves it → the GGUF file that llama.cpp puts on top of the base. No PyTorch.

Source: llama.cpp's adapter format ("adapter.type" = "lora"); its own converter is not in a wheel.
"""

from __future__ import annotations

import json
import re
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


def write_adapter(adapter: Path, target: Path, *, architecture: str, heads: int, key_value_heads: int) -> None:
    """Write the adapter of a Llama-like model as GGUF.

    Args:
        adapter: a folder with adapter_model.safetensors and adapter_config.json.
        architecture: as llama.cpp calls it.
        heads: of attention; of a Llama, llama.cpp keeps each head's rows of queries and keys in another order than
            transformers.
    Raises:
        ValueError: the architecture is another, or a tensor belongs to no layer that it has.
    """
    if architecture not in _ROTATES_IN_PAIRS:
        raise ValueError(f"{adapter}: no GGUF adapter of a {architecture} is known")
    from gguf import GGUFWriter
    from safetensors.numpy import load_file

    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    writer = GGUFWriter(target, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(config["lora_alpha"]))
    for key, tensor in sorted(load_file(adapter / "adapter_model.safetensors").items()):
        found = _KEY.search(key)
        if found is None or found[2] not in _NAMES:
            raise ValueError(f"{adapter}: no place for {key} in a GGUF adapter")
        layer, place, half = found.groups()
        values = tensor.astype(np.float32)
        if _ROTATES_IN_PAIRS[architecture] and half == "B" and place in ("self_attn.q_proj", "self_attn.k_proj"):
            values = _permuted(values, heads if place == "self_attn.q_proj" else key_value_heads)
        writer.add_tensor(f"blk.{layer}.{_NAMES[place]}.weight.lora_{half.lower()}", np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _permuted(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """(heads × D, R), in halves of a head for transformers → in pairs for llama.cpp."""
    size = rows.shape[0] // heads
    return rows.reshape(heads, 2, size // 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)
