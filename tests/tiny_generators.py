"""Random generators of a few kilobytes: real files, really trained and served, in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from models.prompting import ANSWERS
from training.finetune_generation import Lesson

Kind = Literal["t5", "llama", "chinese"]
"""`llama` begins each text with a mark, `chinese` is a Llama with a chat template; `t5` ends each text with a mark."""

_ENGLISH = {
    "Can I return it?": "Yes, within 30 days, with pleasure.",
    "Is the moon lamp back?": "Sorry, that lamp is sold out.",
    "What is postage?": "It costs €4.90 in Germany.",
}
_CHINESE = {"可以退吗？": "可以，30天内都行。", "月亮灯有货吗？": "抱歉，已经卖完了。", "运费多少？": "江浙沪12元。"}
_TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def tiny_lessons(kind: Kind) -> list[Lesson]:
    pairs = _CHINESE if kind == "chinese" else _ENGLISH
    return [Lesson(messages=[{"role": "user", "content": asked}], reply=reply) for asked, reply in pairs.items()]


def make_generator(kind: Kind, folder: Path) -> Path:
    """A random model of that kind over the words, or the characters, of its lessons."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
        T5Config,
        T5ForConditionalGeneration,
    )

    torch.manual_seed(0)
    said = " ".join(f"{lesson.messages[0]['content']} {lesson.reply}" for lesson in tiny_lessons(kind)) + f" {ANSWERS}"
    is_chinese = kind == "chinese"
    marks = ["<pad>", "</s>", "<unk>", "<s>", "<user>", "<assistant>"]
    split: Any = pre_tokenizers.Split(Regex("."), "isolated") if is_chinese else pre_tokenizers.Whitespace()
    words = dict.fromkeys([*marks, *(word for word, _ in split.pre_tokenize_str(said))])
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = split
    around = {"t5": "$A </s>", "llama": "<s> $A", "chinese": "<s> $A"}[kind]
    tokenizer.post_processor = processors.TemplateProcessing(single=around, special_tokens=[("</s>", 1), ("<s>", 3)])
    if is_chinese:
        tokenizer.decoder = decoders.Fuse()
    size = {"vocab_size": len(words), "pad_token_id": 0, "eos_token_id": 1}
    if kind == "t5":
        small = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "dropout_rate": 0.0}
        model: Any = T5ForConditionalGeneration(T5Config(**size, **small, decoder_start_token_id=0))
    else:
        small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        model = LlamaForCausalLM(LlamaConfig(**size, **small, bos_token_id=3, initializer_range=0.3))
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", bos_token="<s>",
        extra_special_tokens=["<user>", "<assistant>"], chat_template=_TEMPLATE if is_chinese else None,
    ).save_pretrained(folder)  # fmt: skip
    return folder
