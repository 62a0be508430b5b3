"""Tiny encoders with random weights, in folders laid out as a hub's: BERT, RoBERTa, XLM-R, Chinese BERT, T5."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5EncoderModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from tests.tiny_models import tiny_data

WIDTH, HEADS, INNER, LAYERS = 32, 2, 48, 2
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MARKS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def _texts() -> Iterable[str]:
    data = tiny_data()
    return [u.text for u in (*data.intents, *data.sentiment)] * 3


def _word_piece(chinese: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, handle_chinese_chars=chinese)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(_texts(), trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _byte_pairs() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=MARKS, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(_texts(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def _unigram(begins: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=MARKS, unk_token="<unk>")
    tokenizer.train_from_iterator(_texts(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if begins else "$A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def _bert(size: int) -> Any:
    return BertModel(_sized(BertConfig, size, pad_token_id=0), add_pooling_layer=False)


def _sized(kind: Callable[..., Any], size: int, **more: Any) -> Any:
    return kind(
        vocab_size=size,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        max_position_embeddings=140,
        **more,
    )


def _t5(size: int) -> Any:
    return T5EncoderModel(
        T5Config(
            vocab_size=size, d_model=WIDTH, d_kv=16, d_ff=INNER, num_layers=LAYERS, num_heads=HEADS, pad_token_id=1
        )
    )


KINDS: dict[str, tuple[Callable[[], Tokenizer], Callable[[int], Any]]] = {
    "bert": (lambda: _word_piece(False), _bert),
    "bert-chinese": (lambda: _word_piece(True), _bert),
    "roberta": (
        _byte_pairs,
        lambda size: RobertaModel(_sized(RobertaConfig, size, pad_token_id=1), add_pooling_layer=False),
    ),
    "xlm-r": (
        lambda: _unigram(True),
        lambda size: XLMRobertaModel(_sized(XLMRobertaConfig, size, pad_token_id=1), add_pooling_layer=False),
    ),
    "distilbert": (
        lambda: _word_piece(False),
        lambda size: DistilBertModel(
            DistilBertConfig(
                vocab_size=size,
                dim=WIDTH,
                hidden_dim=INNER,
                n_layers=LAYERS,
                n_heads=HEADS,
                max_position_embeddings=140,
            )
        ),
    ),
    "electra": (
        lambda: _word_piece(False),
        lambda size: ElectraModel(_sized(ElectraConfig, size, embedding_size=16, pad_token_id=0)),
    ),
    "t5": (lambda: _unigram(False), _t5),
}


def make_encoder(kind: str, folder: Path) -> Path:
    """Write config.json, model.safetensors and tokenizer.json of a random `kind` into `folder`."""
    torch.manual_seed(0)
    tokenizer, model = KINDS[kind]
    made = tokenizer()
    folder.mkdir(parents=True)
    model(made.get_vocab_size()).save_pretrained(folder)
    made.save(str(folder / "tokenizer.json"))
    return folder
