"""Fine-tune an encoder on several labelled sets at once, in PyTorch; every task has its own head.

Texts and targets in, a tuned transformers model out; what serves is exported by `export.py` and read by the heads of
`fit.py`.
Invariant: word embeddings stay as they came, and tokens are those that serving will read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models.base import BaseModelNotFound
from training.recipes import Recipe

# What cross-entropy skips: tokens that stand for no text.
NO_TAG = -100
# Three instead of one found more by itself and no more beside patterns and lookups, on held-out training messages.
TAG_WEIGHT = 1.0
# Tokens of a message that are read.
LONGEST = 96
# Messages that the frozen layers read at once.
BELOW_BATCH = 64

Tick = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One task's rows.

    Attributes:
        tokens: N lists of token ids.
        targets: (N,), class of each row.
        classes: how many.
        start: weights (D, K) and bias (K,) on pooled vectors to begin from: the probe's solution.
        tags: N arrays (T,) of a tag a token, below 0 where it does not count; None for a task without them.
        tag_classes: how many tags.
    """

    tokens: Sequence[Sequence[int]]
    targets: NDArray[np.int64]
    classes: int
    start: tuple[NDArray[np.float32], NDArray[np.float32]]
    tags: Sequence[NDArray[np.int64]] | None = None
    tag_classes: int = 0


@dataclass(frozen=True, kw_only=True)
class Feed:
    """How the base is fed.

    Attributes:
        words: token ids of any shape → their word embeddings as served, (…, D).
        pad_id: the id that fills short rows.
        pool: how token vectors become one.
        longest: tokens of a text that are read.
        spread: what sentence vectors, of length 1, are multiplied by before their head. A head that does not begin from
            a probe's solution learns next to nothing otherwise, nor does the encoder through it.
    """

    words: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    pad_id: int
    pool: Literal["mean", "cls"]
    longest: int = LONGEST
    spread: float = 1.0


Head = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Weights (D, K) and bias (K,) on a sentence vector."""


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A model in evaluation mode, on the CPU, adapters merged; and a head for each lesson, as it was trained."""

    model: Any
    heads: Sequence[Head]


def tune(model: Any, feed: Feed, lessons: Sequence[Lesson], recipe: Recipe, tick: Tick) -> Tuned:
    """Tune `model` in place.

    Deterministic for a seed on one machine and thread count. `tick` is called with (steps done, steps in all).
    """
    torch.manual_seed(recipe.seed)
    device = _device(recipe)
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, recipe.threads))
    try:
        return _Tuning(model, feed, lessons, recipe, device).run(tick)
    finally:
        torch.set_num_threads(threads)


def pooled(hidden: Any, mask: Any, pool: str) -> Any:
    """Token vectors (B, T, D) and mask (B, T) → sentence vectors (B, D) of length 1."""
    if pool == "cls":
        vector = hidden[:, 0]
    else:
        weights = mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
        vector = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
    return functional.normalize(vector, dim=-1)


class _Tuning:
    """One run: model, heads, optimiser. Lives as long as `tune` does."""

    def __init__(self, model: Any, feed: Feed, lessons: Sequence[Lesson], recipe: Recipe, device: str) -> None:
        self._feed, self._lessons, self._recipe, self._device = feed, lessons, recipe, device
        self._model = _prepared(model, recipe).to(device)
        self._autocast = _autocast(recipe, device)
        self._frozen = _Frozen.below(self._model, recipe)
        # What the frozen layers make of every message, computed once: no dropout there, so it never changes.
        self._bottoms = [self._frozen and self._below(lesson) for lesson in lessons]
        self._heads = torch.nn.ModuleList([_head(lesson) for lesson in lessons]).to(device)
        width = lessons[0].start[0].shape[0]
        self._taggers = torch.nn.ModuleList(
            [torch.nn.Linear(width, max(1, lesson.tag_classes)) for lesson in lessons]
        ).to(device)
        self._drop = torch.nn.Dropout(recipe.dropout)
        self._rng = np.random.default_rng(recipe.seed)

    def run(self, tick: Tick) -> Tuned:
        """Every step of every epoch."""
        recipe = self._recipe
        per_epoch = sum(1 for _ in self._batches())
        epochs = _epochs(sum(len(lesson.tokens) for lesson in self._lessons), recipe)
        total = per_epoch * epochs
        optimizer, schedule = self._optimizer(total)
        self._model.train()
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        done = 0
        for _ in range(epochs):
            for task, rows in self._batches():
                self._step(task, rows)
                torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                schedule.step()
                done += 1
                tick(done, total)
        if self._frozen:
            self._frozen.put_back()
        model = self._model.merge_and_unload() if recipe.lora_rank else self._model
        return Tuned(model=model.to("cpu").float().eval(), heads=[_solution(head) for head in self._heads])

    def _below(self, lesson: Lesson) -> list[Any]:
        """Every row's token vectors (T, D) after the frozen layers, at half precision."""
        assert self._frozen is not None
        out: list[Any] = [None] * len(lesson.tokens)
        order = np.argsort([len(tokens) for tokens in lesson.tokens], kind="stable")
        for start in range(0, len(order), BELOW_BATCH):
            rows = order[start : start + BELOW_BATCH]
            ids, mask = self._padded(lesson, rows)
            embeds = torch.from_numpy(self._feed.words(ids)).to(self._device)
            attention = torch.from_numpy(mask).to(self._device)
            with torch.no_grad(), self._autocast():
                hidden = self._frozen.run(embeds, attention).half()
            for line, row in enumerate(rows):
                out[row] = hidden[line, : int(mask[line].sum())]
        return out

    def _step(self, task: int, rows: NDArray[np.int64]) -> None:
        ids, mask = self._padded(self._lessons[task], rows)
        below = self._bottoms[task]
        if below:
            embeds = torch.nn.utils.rnn.pad_sequence([below[row] for row in rows], batch_first=True).float()
        else:
            embeds = torch.from_numpy(self._feed.words(ids)).to(self._device)
        if self._recipe.fgm:
            embeds.requires_grad_()
        attention = torch.from_numpy(mask).to(self._device)
        with self._autocast():
            loss = self._loss(task, rows, embeds, attention)
        loss.backward()
        if self._recipe.fgm and embeds.grad is not None:
            # A step against the loss on what enters the tuned layers, per message; the gradients of both passes add up.
            norm = embeds.grad.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None]
            moved = (embeds + self._recipe.fgm * embeds.grad / norm).detach()
            with self._autocast():
                loss = self._loss(task, rows, moved, attention)
            loss.backward()

    def _loss(self, task: int, rows: NDArray[np.int64], embeds: Any, attention: Any) -> Any:
        recipe, lesson = self._recipe, self._lessons[task]
        targets = torch.from_numpy(lesson.targets[rows]).to(self._device)
        logits, vectors, hidden = self._forward(task, embeds, attention)
        loss = functional.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)
        if recipe.rdrop:
            again, _, _ = self._forward(task, embeds, attention)
            loss = (loss + functional.cross_entropy(again, targets, label_smoothing=recipe.label_smoothing)) / 2
            loss = loss + recipe.rdrop * _divergence(logits, again)
        if recipe.contrastive:
            loss = loss + recipe.contrastive * _contrast(vectors, targets, recipe.contrastive_temperature)
        if lesson.tags is not None:
            loss = loss + TAG_WEIGHT * self._tag_loss(task, rows, hidden)
        return loss

    def _forward(self, task: int, embeds: Any, attention: Any) -> tuple[Any, Any, Any]:
        hidden = self._model(inputs_embeds=embeds, attention_mask=attention).last_hidden_state
        vectors = pooled(hidden, attention, self._feed.pool).float() * self._feed.spread
        return self._heads[task](self._drop(vectors)), vectors, hidden

    def _tag_loss(self, task: int, rows: NDArray[np.int64], hidden: Any) -> Any:
        given = self._lessons[task].tags
        assert given is not None
        tags = np.full(hidden.shape[:2], NO_TAG, dtype=np.int64)
        for line, row in enumerate(rows):
            known = given[row][: tags.shape[1]]
            tags[line, : len(known)] = np.where(known < 0, NO_TAG, known)
        if (tags == NO_TAG).all():
            return hidden.sum() * 0.0  # a mean over nothing would be no number
        logits = self._taggers[task](hidden).float().flatten(0, 1)
        return functional.cross_entropy(logits, torch.from_numpy(tags).to(self._device).flatten())

    def _batches(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Batches of all tasks in one random order; rows of similar length share one, so that little is padded."""
        batches: list[tuple[int, NDArray[np.int64]]] = []
        size = self._recipe.batch_size
        for task, lesson in enumerate(self._lessons):
            lengths = np.array([len(tokens) for tokens in lesson.tokens])
            groups = _pairs(lesson.targets, self._rng) if self._recipe.contrastive else _singles(lesson, self._rng)
            # Sorted within stretches only: batches stay different from one epoch to the next.
            stretch = size * 20 // len(groups[0])
            for start in range(0, len(groups), stretch):
                near = sorted(groups[start : start + stretch], key=lambda rows: int(lengths[rows].max()))
                order = np.concatenate(near)
                batches += [(task, order[at : at + size]) for at in range(0, len(order), size)]
        self._rng.shuffle(batches)
        yield from batches

    def _padded(self, lesson: Lesson, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        tokens = [list(lesson.tokens[row])[: self._feed.longest] for row in rows]
        longest = max(map(len, tokens))
        ids = np.full((len(rows), longest), self._feed.pad_id, dtype=np.int64)  # (B, T)
        mask = np.zeros_like(ids)
        for line, found in enumerate(tokens):
            ids[line, : len(found)] = found
            mask[line, : len(found)] = 1
        return ids, mask

    def _optimizer(self, total: int) -> tuple[Any, Any]:
        recipe = self._recipe
        encoder = [p for p in self._model.parameters() if p.requires_grad]
        heads = [*self._heads.parameters(), *self._taggers.parameters()]
        groups = [{"params": encoder, "lr": recipe.learning_rate}, {"params": heads, "lr": recipe.head_rate}]
        if recipe.optimizer == "adafactor":
            from transformers.optimization import Adafactor

            optimizer: Any = Adafactor(  # type: ignore[no-untyped-call]
                groups, scale_parameter=False, relative_step=False, weight_decay=recipe.weight_decay
            )
        elif recipe.optimizer == "adamw":
            optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, eps=1e-6)
        else:
            raise ValueError(f"recipe {recipe.name!r}: optimizer {recipe.optimizer!r}; use adamw or adafactor")
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, _rate(recipe, total))


def _epochs(rows: int, recipe: Recipe) -> int:
    return max(1, min(recipe.epochs, round(recipe.most_read / max(1, rows))))


def _solution(head: Any) -> Head:
    weights, bias = (value.detach().float().cpu().numpy() for value in (head.weight, head.bias))
    return weights.T.copy(), bias.copy()


def _head(lesson: Lesson) -> Any:
    weights, bias = lesson.start
    head = torch.nn.Linear(*weights.shape)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights.T.copy()))
        head.bias.copy_(torch.from_numpy(bias))
    return head


def _prepared(model: Any, recipe: Recipe) -> Any:
    """The model with its dropout set, layers cut and frozen, adapters put in."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            # Attention's own dropout stays off: it costs time and gave nothing.
            module.p = recipe.dropout
    for module in model.modules():
        if type(module).__name__.endswith("SelfAttention") and isinstance(
            getattr(module, "dropout", None), torch.nn.Dropout
        ):
            module.dropout.p = 0.0
    keep_lowest(model, recipe.kept)
    layers = encoder_layers(model)
    if recipe.lora_rank:
        return _with_adapters(model, recipe)
    for parameter in model.get_input_embeddings().parameters():
        parameter.requires_grad = False
    stack = list(layers or ())
    for module in _frozen_modules(model, stack, recipe):
        module.requires_grad_(False)
    return model


def _frozen_modules(model: Any, stack: Sequence[Any], recipe: Recipe) -> list[Any]:
    """The layers below the cut, and with them what stands before the first layer."""
    cut = int(len(stack) * recipe.freeze)
    before = getattr(model, "embeddings", None)
    return [*stack[:cut], *([before] if cut and before is not None else [])]


class _Frozen:
    """The frozen part of a model, taken out of it, so that training runs through the rest alone."""

    def __init__(self, model: Any, layers: Any, cut: int) -> None:
        self._model, self._layers = model, layers
        self._embeddings, self._taken = model.embeddings, list(layers[:cut])
        self._rest = list(layers[cut:])

    @classmethod
    def below(cls, model: Any, recipe: Recipe) -> _Frozen | None:
        """None where nothing is frozen, or the model is not built as BERT and RoBERTa are."""
        layers = encoder_layers(model)
        cut = int(len(layers) * recipe.freeze) if layers is not None else 0
        # Only where nothing but layers stands between the embeddings and the end, as in BERT, RoBERTa and XLM-R.
        is_plain = layers is not None and layers is getattr(getattr(model, "encoder", None), "layer", None)
        if not cut or not is_plain or recipe.lora_rank or hasattr(model, "embeddings_project"):
            return None
        return cls(model, layers, cut)

    def run(self, embeds: Any, attention: Any) -> Any:
        """Word embeddings (B, T, D) → token vectors (B, T, D) after the frozen layers; then only the rest is left."""
        was_training = self._model.training
        self._fill(self._taken)
        self._model.embeddings = self._embeddings
        hidden = self._model.eval()(inputs_embeds=embeds, attention_mask=attention).last_hidden_state
        self._model.train(was_training)
        self._fill(self._rest)
        self._model.embeddings = _Nothing()
        return hidden

    def put_back(self) -> None:
        """Make the model whole again."""
        self._fill([*self._taken, *self._rest])
        self._model.embeddings = self._embeddings

    def _fill(self, layers: Sequence[Any]) -> None:
        del self._layers[:]
        self._layers.extend(layers)


class _Nothing(torch.nn.Module):
    """Stands where the embeddings were: what comes in is what the frozen layers made."""

    def forward(self, *args: Any, **given: Any) -> Any:
        return given["inputs_embeds"]


def keep_lowest(model: Any, share: float) -> None:
    """Cut off the layers above this share of them. Raises BaseModelNotFound where the model shows no stack of them."""
    if share >= 1:
        return
    layers = encoder_layers(model)
    if layers is None:
        raise BaseModelNotFound(f"{type(model).__name__} has no stack of layers that could be cut; take another recipe")
    del layers[max(1, round(len(layers) * share)) :]
    _count_layers(model, len(layers))


def encoder_layers(model: Any) -> Any:
    """The model's stack of layers (BERT's, RoBERTa's, XLM-R's `encoder.layer`, T5's `encoder.block`, …), or None."""
    for path in ("encoder.layer", "encoder.block", "transformer.layer", "encoder.layers", "layers"):
        found: Any = model
        for part in path.split("."):
            found = getattr(found, part, None)
        if isinstance(found, torch.nn.ModuleList):
            return found
    return None


def _count_layers(model: Any, count: int) -> None:
    for name in ("num_hidden_layers", "num_layers", "n_layers"):
        if hasattr(model.config, name):
            setattr(model.config, name, count)


def _with_adapters(model: Any, recipe: Recipe) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.dropout,
        target_modules="all-linear",
        bias="none",
    )
    return get_peft_model(model, config)


def _rate(recipe: Recipe, total: int) -> Callable[[int], float]:
    warm = max(1, round(recipe.warmup * total))
    if recipe.schedule not in ("linear", "cosine", "constant"):
        raise ValueError(f"recipe {recipe.name!r}: schedule {recipe.schedule!r}; use linear, cosine or constant")

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        left = max(0.0, (total - step) / max(1, total - warm))
        if recipe.schedule == "cosine":
            return 0.5 * (1 - math.cos(math.pi * left))
        return left if recipe.schedule == "linear" else 1.0

    return factor


def _divergence(first: Any, second: Any) -> Any:
    """Symmetric Kullback-Leibler divergence of two dropouts' predictions. Source: Liang et al. 2021."""
    one, other = functional.log_softmax(first, dim=-1), functional.log_softmax(second, dim=-1)
    there = functional.kl_div(one, other, log_target=True, reduction="batchmean")
    back = functional.kl_div(other, one, log_target=True, reduction="batchmean")
    return (there + back) / 2


def _contrast(vectors: Any, targets: Any, temperature: float) -> Any:
    """Supervised contrastive loss of one batch; rows alone in their class do not count. Source: Khosla et al. 2020."""
    similar = vectors @ vectors.T / temperature  # (B, B)
    itself = torch.eye(len(targets), dtype=torch.bool, device=vectors.device)
    similar = similar.masked_fill(itself, -1e9)
    chances = similar - similar.logsumexp(dim=1, keepdim=True)
    same = (targets[:, None] == targets[None, :]) & ~itself
    counted = same.any(dim=1)
    if not counted.any():
        return vectors.sum() * 0.0
    each = (chances * same).sum(dim=1)[counted] / same.sum(dim=1)[counted]
    return -each.mean()


def _singles(lesson: Lesson, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    return list(rng.permutation(len(lesson.tokens))[:, None])


def _pairs(targets: NDArray[np.int64], rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """All rows in random pairs of one class, so that every batch has texts that attract."""
    pairs: list[NDArray[np.int64]] = []
    for label in np.unique(targets):
        rows = rng.permutation(np.flatnonzero(targets == label))
        pairs += [rows[at : at + 2] for at in range(0, len(rows), 2)]
    return [pairs[k] for k in rng.permutation(len(pairs))]


def _device(recipe: Recipe) -> str:
    if recipe.device != "auto":
        return recipe.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _autocast(recipe: Recipe, device: str) -> Callable[[], Any]:
    precision = recipe.precision
    if precision == "auto":
        has_bf16 = torch.cuda.is_bf16_supported() if device == "cuda" else computes_bf16()
        precision = "bfloat16" if has_bf16 else "float32"
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"recipe {recipe.name!r}: precision {precision!r}; use auto, float32 or bfloat16")
    return lambda: torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def computes_bf16() -> bool:
    """Whether this processor does; one that does not is several times slower with bfloat16 than with float32."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())
