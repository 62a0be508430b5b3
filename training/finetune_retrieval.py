"""Fine-tunes the encoder that finds passages, on questions and the passages that answer them. PyTorch lives here.

A question is to be nearer to its passage than to those of the other questions in the batch (sentence-transformers,
`MultipleNegativesRankingLoss`). Word embeddings stay as they are: a table of a quarter of a million words learns
nothing from some hundred questions.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.embeddings import PASSAGE_PREFIX
from models.pretrained import BaseModel, load_torch_model, pooling
from training.export import base_tokenizer, export_tuned, exported_encoder

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A question, and the passage that answers it as it is indexed."""

    question: str
    passage: str


@dataclass(frozen=True, kw_only=True)
class RetrievalRecipe:
    """How the retriever is tuned."""

    epochs: int = 2
    batch_size: int = 32
    learning_rate: float = 5e-5
    warm_up: float = 0.1
    scale: float = 20.0  # of cosines before the softmax
    max_tokens: int = 160
    seed: int = 0


def tune_retriever(
    base: BaseModel, pairs: Sequence[Pair], out: Path, recipe: RetrievalRecipe, progress: Progress
) -> None:
    """Write the tuned encoder's files to `out`, which must not exist; they load as `models.embeddings` loads the base.

    Raises:
        ImportError: sentence-transformers or its trainer's packages are missing.
    """
    from datasets import Dataset  # type: ignore[import-untyped]
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import TrainerCallback
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # of a pooler that is not used, and of tokens' names

    exported = exported_encoder(base, progress)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "base"
        model = load_torch_model(base)
        model.save_pretrained(folder)
        base_tokenizer(base, Path(work)).save_pretrained(folder)
        transformer = Transformer(str(folder), max_seq_length=recipe.max_tokens)
        encoder = transformer.auto_model
        for parameter in encoder.get_input_embeddings().parameters():
            parameter.requires_grad = False
        pool = Pooling(int(encoder.config.hidden_size), pooling_mode=pooling(base))
        sentences = SentenceTransformer(modules=[transformer, pool, Normalize()])
        columns = {"anchor": [pair.question for pair in pairs], "positive": [pair.passage for pair in pairs]}
        prompts = {"anchor": base.prefix, "positive": PASSAGE_PREFIX.get(base.prefix, base.prefix)}

        class Tick(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
                progress("retriever", state.global_step, state.max_steps)

        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(Path(work) / "runs"),
            num_train_epochs=recipe.epochs,
            per_device_train_batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            warmup_steps=recipe.warm_up,
            batch_sampler="no_duplicates",
            prompts=prompts if base.prefix else None,
            seed=recipe.seed,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        trainer = SentenceTransformerTrainer(
            model=sentences,
            args=arguments,
            train_dataset=Dataset.from_dict(columns),
            loss=MultipleNegativesRankingLoss(sentences, scale=recipe.scale),
            callbacks=[Tick()],
        )
        trainer.train()
        made = Path(work) / "made"
        shutil.copytree(exported, made)
        export_tuned(encoder.cpu().eval(), base, made)
        shutil.move(made, out)
