"""One recipe measured fairly on a data set: over seeds, few-shot draws or folds, with the n-gram floor beside it.

Training and judging once is `evaluate.py`'s, showing `tables.py`'s. Invariant: data are used
as they are published, what train and test share is counted, and every seed is in the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from models.pretrained import BaseModel, ngram_base
from training.dataset import DataError, Utterance, assign_folds, deduplicate, draw_shots, text_key
from training.evaluate import Judged, Measured, Report, Task, check_labels, measure, sum_up
from training.finetune_understanding import Progress, Recipe, quiet
from training.readers import Corpus, as_moods
from training.scores import mean_interval

FIGURES = ("accuracy", "macro_f1", "ece", "oos_auroc", "train_s", "predict_s")
MISSES = 500


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is run: every seed, times every few-shot draw or every fold.

    Attributes:
        shots: examples drawn of each label, once a draw; draws are seeded 0, 1, 2, …
        folds: cross-validation of the training rows; no test file then.
        baseline: run the same with character n-grams alone.
    """

    task: Task = "intent"
    seeds: tuple[int, ...] = (0,)
    shots: int | None = None
    draws: int = 1
    folds: int | None = None
    baseline: bool = False


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training and one test; `draw` and `fold` count from 0, None where there are none."""

    seed: int
    draw: int | None
    fold: int | None
    n_train: int
    n_test: int
    accuracy: float
    macro_f1: float
    ece: float
    oos_auroc: float | None
    train_s: float
    predict_s: float


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A mean over runs; `low` to `high` is its 95 % interval: Student's t over seeds and draws, else, for accuracy,
    Wilson's over texts, else None."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that was found.

    Attributes:
        shared: test texts that stand among the training rows too, as public sets have them.
        report: over all runs' answers together.
        misses: texts that were read wrongly, each once, at most 500.
        floor: the same plan with n-grams alone, where asked for.
    """

    base: str
    recipe: str
    plan: Plan
    shared: int
    runs: tuple[Run, ...]
    figures: dict[str, Figure]
    report: Report
    misses: tuple[Judged, ...]
    floor: Experiment | None = None

    def as_json(self) -> dict[str, Any]:
        """Flat means first, as `evaluate_files` gives them, then everything else."""
        flat: dict[str, Any] = {name: figure.mean for name, figure in self.figures.items()}
        flat |= {"oos_auroc": flat.get("oos_auroc"), "n_test": self.report.n, "n_train": self.runs[0].n_train}
        rest = asdict(replace(self, floor=None))
        rest["floor"] = self.floor.as_json() if self.floor else None
        return {**flat, **rest}


def run_experiment(
    corpus: Corpus, base: BaseModel, recipe: Recipe, plan: Plan, progress: Progress = quiet
) -> Experiment:
    """Carry the plan out.

    Raises:
        DataError: the plan does not fit the data; says what to change.
    """
    corpus = _prepared(corpus, plan)
    measured = []
    for number, (run, learned, held) in enumerate(parts := list(_parts(corpus, plan))):
        progress("run", number, len(parts))
        one = measure(learned, held, corpus.out_of_scope, base, replace(recipe, seed=run[0]), plan.task, progress)
        measured.append((run, one))
    progress("run", len(parts), len(parts))
    found = _experiment(corpus, measured, base, recipe, plan)
    if not plan.baseline:
        return found
    alone = replace(plan, baseline=False)
    floor = run_experiment(corpus, ngram_base(), Recipe(threads=recipe.threads), alone, progress)
    return replace(found, floor=floor)


_Key = tuple[int, int | None, int | None]


def _prepared(corpus: Corpus, plan: Plan) -> Corpus:
    if plan.task == "sentiment":
        learned, held = as_moods(corpus.train, corpus.test), as_moods(corpus.test, corpus.train)
        corpus = Corpus(train=learned, test=held, out_of_scope=corpus.out_of_scope)
    if plan.shots is not None and plan.folds is not None:
        raise DataError("few-shot draws and folds are two experiments; give --shots or --folds")
    if plan.folds is None and not corpus.test:
        raise DataError("nothing to test on; give --test FILE, or --folds 5 to cross-validate the training file")
    if plan.folds is not None and corpus.test:
        raise DataError("cross-validation tests on the training rows; leave --test out, or leave --folds out")
    if plan.shots is not None and plan.shots < 2:
        raise DataError("a label needs at least two examples; give --shots 2 or more")
    if plan.folds is not None and plan.folds < 2:
        raise DataError("one fold has nothing to train on; give --folds 2 or more")
    check_labels(corpus.train, corpus.test, "the test rows", "training")
    return corpus


def _parts(corpus: Corpus, plan: Plan) -> Iterator[tuple[_Key, Sequence[Utterance], Sequence[Utterance]]]:
    train = deduplicate(corpus.train)
    for seed in plan.seeds:
        if plan.folds is not None:
            at = assign_folds(train, plan.folds, seed)
            for fold in range(plan.folds):
                seen = [u for u, its in zip(train, at, strict=True) if its != fold]
                yield (seed, None, fold), seen, [u for u, its in zip(train, at, strict=True) if its == fold]
        elif plan.shots is not None:
            for draw in range(plan.draws):
                yield (seed, draw, None), draw_shots(train, plan.shots, draw), corpus.test
        else:
            yield (seed, None, None), train, corpus.test


def _experiment(
    corpus: Corpus, measured: Sequence[tuple[_Key, Measured]], base: BaseModel, recipe: Recipe, plan: Plan
) -> Experiment:
    runs = tuple(_run(key, one) for key, one in measured)
    answers = [j for _, one in measured for j in one.judged]
    repeats = len(plan.seeds) * (plan.draws if plan.shots is not None else 1)
    report = sum_up(answers, [j for _, one in measured for j in one.out_of_scope], repeats=repeats)
    learned = {text_key(u.text) for u in corpus.train}
    misses = {j.text: j for j in answers if not j.is_right}
    return Experiment(
        base=base.name,
        recipe=recipe.name,
        plan=plan,
        shared=sum(text_key(u.text) in learned for u in corpus.test),
        runs=runs,
        figures=_figures(runs, report, plan),
        report=report,
        misses=tuple(misses.values())[:MISSES],
    )


def _run(key: _Key, measured: Measured) -> Run:
    seed, draw, fold = key
    report = sum_up(measured.judged, measured.out_of_scope)
    return Run(
        seed=seed,
        draw=draw,
        fold=fold,
        n_train=measured.n_train,
        n_test=len(measured.judged),
        accuracy=report.accuracy,
        macro_f1=report.macro_f1,
        ece=report.ece,
        oos_auroc=report.oos_auroc,
        train_s=measured.train_s,
        predict_s=measured.predict_s,
    )


def _figures(runs: Sequence[Run], report: Report, plan: Plan) -> dict[str, Figure]:
    out = {}
    for name in FIGURES:
        values = [value for run in runs if (value := getattr(run, name)) is not None]
        if not values:
            continue
        if len(values) > 1 and plan.folds is None:  # folds share their training rows: their spread says too little
            mean, low, high = mean_interval(values)
            out[name] = Figure(mean=mean, low=low, high=high)
        elif name == "accuracy":
            out[name] = Figure(mean=report.accuracy, low=report.low, high=report.high)
        else:
            out[name] = Figure(mean=sum(values) / len(values), low=None, high=None)
    return out
