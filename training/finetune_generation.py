"""Fine-tunes a generator with LoRA on (instructions, passages and question → reply). PyTorch lives here.

Causal (GPT-like) and seq2seq (T5-like) bases alike; only the reply counts in the loss. A GGUF base is served by
llama.cpp, what was learned merged into it; others are served by transformers, the adapter beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.pretrained import BaseModel, load_torch_generator
from models.prompting import prompt_ids
from training.gguf_model import write_model

Progress = Callable[[str, int, int], None]
ADAPTER, MODEL_GGUF = "adapter", "merged.gguf"
NO_LABEL = -100
AT_A_TIME = 2
"""A batch is read in so many parts: whole, long prompts took 17 GB in float32."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What is said to the model, as chat messages without the reply, and the reply it is to give."""

    messages: Sequence[Mapping[str, str]]
    reply: str


@dataclass(frozen=True, kw_only=True)
class GenerationRecipe:
    """How a generator is tuned. One epoch of a thousand lessons takes about ten minutes on two cores."""

    epochs: float = 1.0
    batch_size: int = 8
    learning_rate: float = 1e-3
    warm_up: float = 0.1
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    max_tokens: int = 512
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class GenerationOutcome:
    """Mean loss a reply token on lessons that were not learned from, before and after; `trained_tokens` were read.

    `has_template`: the base has a chat template, in which the lessons were written.
    """

    loss_before: float
    loss_after: float
    trained_tokens: int
    has_template: bool


def finetune_generator(
    base: BaseModel, lessons: Sequence[Lesson], held_out: Sequence[Lesson], out: Path,
    recipe: GenerationRecipe, progress: Progress,
) -> GenerationOutcome:  # fmt: skip
    """Write the adapter to `out`: `adapter/` as peft saves it, and `merged.gguf` where llama.cpp serves the base.

    Uses a GPU where there is one. The same lessons, recipe and machine give the same adapter.

    Raises:
        BaseModelNotFound: the base is no generator.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
    from transformers.utils import logging

    from training.tuning import computes_bf16

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    set_seed(recipe.seed)
    has_gpu = torch.accelerator.is_available()
    has_bf16 = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else not has_gpu and computes_bf16()
    model, tokenizer = load_torch_generator(base)
    is_seq2seq = bool(model.config.is_encoder_decoder)
    task = "SEQ_2_SEQ_LM" if is_seq2seq else "CAUSAL_LM"
    adapters = LoraConfig(
        task_type=task,
        target_modules="all-linear",
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
    )
    model = get_peft_model(model, adapters)
    rows = [_row(tokenizer, lesson, is_seq2seq, recipe.max_tokens) for lesson in lessons]
    others = [_row(tokenizer, lesson, is_seq2seq, recipe.max_tokens) for lesson in held_out]

    class Tick(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            progress("generator", state.global_step, state.max_steps)

    arguments = TrainingArguments(
        output_dir=str(out / "runs"),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=math.ceil(recipe.batch_size / AT_A_TIME),
        gradient_accumulation_steps=AT_A_TIME,
        per_device_eval_batch_size=math.ceil(recipe.batch_size / AT_A_TIME),
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warm_up,
        lr_scheduler_type="cosine",
        train_sampling_strategy="group_by_length",
        length_column_name="length",
        bf16=has_bf16,
        use_cpu=not has_gpu,
        seed=recipe.seed,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        prediction_loss_only=True,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=others,
        data_collator=lambda part: _padded(part, tokenizer.pad_token_id or 0, is_seq2seq),
        # A seq2seq model wants its labels itself: the decoder's input is made of them.
        compute_loss_func=None if is_seq2seq else _loss,
        callbacks=[Tick()],
    )
    before = trainer.evaluate()["eval_loss"] if others else float("nan")
    trainer.train()
    after = trainer.evaluate()["eval_loss"] if others else float("nan")
    model.save_pretrained(str(out / ADAPTER))
    if base.gguf:
        write_model(base.gguf, out / ADAPTER, out / MODEL_GGUF)
    tokens = int(sum(row["length"] for row in rows) * recipe.epochs)
    return GenerationOutcome(
        loss_before=before, loss_after=after, trained_tokens=tokens, has_template=bool(tokenizer.chat_template)
    )


def _row(tokenizer: Any, lesson: Lesson, is_seq2seq: bool, most: int) -> dict[str, Any]:
    """Token ids; what is not to be learned is `NO_LABEL`. Of what is too long the beginning is dropped."""
    reply = tokenizer(lesson.reply, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    prompt = prompt_ids(tokenizer, lesson.messages, is_seq2seq=is_seq2seq)
    prompt = prompt[-max(1, most - len(reply)) :]
    if is_seq2seq:
        return {"input_ids": prompt, "labels": reply, "length": len(prompt) + len(reply)}
    ids = [*prompt, *reply]
    return {"input_ids": ids, "labels": [NO_LABEL] * len(prompt) + reply, "length": len(ids)}


def _padded(rows: Sequence[Mapping[str, Any]], pad: int, is_seq2seq: bool) -> dict[str, Any]:
    """A batch. Causal rows are padded before them, so that all replies end together: only there logits are needed."""
    import torch

    def stack(name: str, value: int) -> Any:
        longest = max(len(row[name]) for row in rows)
        fill = [[value] * (longest - len(row[name])) for row in rows]
        parts = zip(fill, (row[name] for row in rows), strict=True)
        return torch.tensor([[*row, *more] if is_seq2seq else [*more, *row] for more, row in parts])

    longest_ids = max(len(row["input_ids"]) for row in rows)
    gaps = [longest_ids - len(row["input_ids"]) for row in rows]
    ones = [[1] * (longest_ids - gap) for gap in gaps]
    mask = [[*one, *[0] * gap] if is_seq2seq else [*[0] * gap, *one] for one, gap in zip(ones, gaps, strict=True)]
    batch = {"input_ids": stack("input_ids", pad), "attention_mask": torch.tensor(mask)}
    if is_seq2seq:
        return {**batch, "labels": stack("labels", NO_LABEL)}
    reply = max(sum(label != NO_LABEL for label in row["labels"]) for row in rows)
    # The logits of the token before a reply are those of its first; the last token's tell nothing that is learned.
    return {**batch, "labels": stack("labels", NO_LABEL)[:, -reply:], "logits_to_keep": reply + 1}


def _loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    """Cross-entropy a reply token, of a causal model: each logit predicts the next."""
    from torch.nn import functional

    logits = outputs.logits[:, :-1]
    kind = "mean" if num_items_in_batch is None else "sum"
    loss = functional.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=NO_LABEL, reduction=kind
    )
    return loss if num_items_in_batch is None else loss / num_items_in_batch
