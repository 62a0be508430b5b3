"""Chat messages → what a generator reads of them. Training and serving share it: no PyTorch, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

LINES = "{% for message in messages %}{{ message.content }}{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}"
"""`prompt_ids` of a model without a chat template, as a template: for a server that wants one."""


def prompt_ids(tokenizer: Any, messages: Sequence[Mapping[str, str]], *, is_seq2seq: bool) -> list[int]:
    """Token ids: as the model's own chat template writes it; without one paragraph after paragraph, with the marks that
    its tokenizer sets around a text (T5's end, Gemma's beginning)."""
    if tokenizer.chat_template:
        said = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return list(tokenizer(said, add_special_tokens=False)["input_ids"])
    ids = list(tokenizer("\n\n".join(message["content"] for message in messages))["input_ids"])
    # A text that is to be continued has not ended.
    return ids[:-1] if not is_seq2seq and ids and ids[-1] == tokenizer.eos_token_id else ids
