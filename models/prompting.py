"""Chat messages → what a generator reads of them. Training and serving share it: no PyTorch, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ANSWERS = "A:"
"""Begins the last paragraph, the reply, of a causal model without a chat template; else it would go on with the
customer's sentence. No blank ends it: llama.cpp would drop that."""
LINES = f"{{% for message in messages %}}{{{{ message.content + '\\n\\n' }}}}{{% endfor %}}{{{{ '{ANSWERS}' }}}}"
"""`prompt_ids` of such a model as a template: for a server that wants one."""


def prompt_ids(tokenizer: Any, messages: Sequence[Mapping[str, str]], *, is_seq2seq: bool) -> list[int]:
    """Token ids: as the model's own chat template writes it; without one paragraph after paragraph, with the marks that
    its tokenizer sets around a text (T5's end, Gemma's beginning)."""
    if tokenizer.chat_template:
        said = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return list(tokenizer(said, add_special_tokens=False)["input_ids"])
    text = "\n\n".join(message["content"] for message in messages)
    ids = list(tokenizer(text if is_seq2seq else f"{text}\n\n{ANSWERS}")["input_ids"])
    # A text that is to be continued has not ended.
    return ids[:-1] if not is_seq2seq and ids and ids[-1] == tokenizer.eos_token_id else ids
