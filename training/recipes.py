"""How a version is trained: every setting of a training in one place, and the recipes that have a name.

No training here. Invariant: a recipe is a plain value; the same recipe, data and base make the same fingerprint.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of one training; defaults are `quick`. Values were chosen on held-out parts of training data, never on
    a test set.

    The encoder is tuned where `epochs` is above 0; the heads are always fitted afterwards, on what the tuned encoder
    reads as it will be served, together with character n-grams.
    """

    name: str = "quick"
    # Seeds the split on which settings and thresholds are chosen, and the order of the tuning's batches.
    seed: int = 0
    folds: int = 5
    threads: int = 2

    # ---- heads: logistic regression on embeddings and n-grams ----
    # Five characters gave no more than four and cost half again.
    longest_ngram: int = 4
    word_pairs: bool = True
    # A gram of one text can only memorise it.
    min_count: int = 2
    max_features: int = 30_000
    # With embeddings beside, 400 directions of the n-grams did as well as all of them.
    rank: int = 400
    # Alone they need more: 89.4 against 88.7 on held-out BANKING77.
    rank_alone: int = 1000
    regularisation: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
    start_c: float = 10.0
    sparse_weights: tuple[float, ...] = (0.1, 0.25, 0.5, 0.7, 1.0, 1.4)
    # Best on BANKING77's 8,000 messages; few examples a label want less, sentiment in Chinese more.
    start_weight: float = 0.7
    # Share of held-out in-scope messages that may be taken for out of scope.
    rejected_in_scope: float = 0.05

    # ---- encoder: 0 epochs leave it as it came ----
    epochs: int = 0
    # Messages read in one tuning, epochs together: large data take fewer epochs, "full" stays a matter of minutes.
    most_read: int = 30_000
    batch_size: int = 32
    # Rows that fewer rows than this make are tuned again with every row, after a tuning that held some out.
    refit_below: int = 6000
    # Held-out rows that choosing settings and temperature wants; more folds are tuned until there are as many.
    enough_held_out: int = 350
    # "adamw", or "adafactor" where memory is short.
    optimizer: str = "adamw"
    learning_rate: float = 2e-4
    # The new heads start from the probe's solution and move ten times as fast as the encoder.
    head_rate: float = 2e-3
    # "linear" or "cosine" down to 0, or "constant"; all after the warm-up.
    schedule: str = "linear"
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    # Softened targets cost out-of-scope detection: AUROC 0.855 with 0.1, 0.874 without, on held-out BANKING77-OOS.
    label_smoothing: float = 0.0
    dropout: float = 0.1
    # Share of the layers, from the bottom, that stay as they came; the word embeddings always do, so that versions
    # share their table. Half of them frozen was faster, and better on held-out BANKING77-OOS: 90.3 against 89.8, AUROC
    # for unknown intents 0.889 against 0.874.
    freeze: float = 0.0
    # Share of the layers, from the bottom, that is kept at all; the rest is cut off: faster to serve. On held-out
    # BANKING77 four of MiniLM's six were as good as six (92.2 and 91.9 of 1,000), three a point worse.
    kept: float = 1.0
    # Low-rank adapters instead of all weights; merged before serving. 0 tunes the weights themselves.
    lora_rank: int = 0
    lora_alpha: int = 32
    # Adversarial step on the word embeddings (FGM): length of the step, 0 for none. Doubles the time.
    fgm: float = 0.0
    # Weight of the divergence between two dropouts of one batch (R-Drop), 0 for none. Doubles the time.
    rdrop: float = 0.0
    # Weight of the supervised contrastive loss (texts of one intent attract, of others repel), and its temperature.
    contrastive: float = 0.0
    contrastive_temperature: float = 0.1
    # "auto": a GPU where PyTorch sees one, bfloat16 where the processor computes in it.
    device: str = "auto"
    precision: str = "auto"

    @property
    def tunes(self) -> bool:
        """Whether the encoder is tuned at all."""
        return self.epochs > 0


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # The encoder as it came: seconds, and hard to beat on a few dozen examples an intent.
        Recipe(),
        # Probe-initialised fine-tuning of all layers: minutes, the most accurate where examples are plenty.
        Recipe(name="full", epochs=4, folds=10, freeze=0.5, enough_held_out=150),
        # `full` with the upper third of the encoder cut off before tuning: less time a message, and to train.
        Recipe(name="small", epochs=4, folds=10, freeze=0.5, enough_held_out=150, kept=2 / 3),
        # Ten examples an intent or fewer: contrast teaches more from pairs than from single rows.
        Recipe(name="few-shot", epochs=8, learning_rate=1e-4, freeze=0.5, contrastive=1.0),
        # Full tuning through low-rank adapters: a fraction of the memory, a little less precise.
        Recipe(name="lora", epochs=6, learning_rate=1e-3, lora_rank=16),
    )
}
