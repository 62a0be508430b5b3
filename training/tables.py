"""Evaluations as tables for a terminal of 100 columns. No figure is computed here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from training.evaluate import Report
from training.experiment import Experiment, Figure, Plan
from training.parts import EntityReport, SeveralReport

NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "ece": "calibration error",
    "oos_auroc": "out-of-scope AUROC",
    "train_s": "training, s",
    "predict_s": "reading the test, s",
}
SHOWN_CONFUSIONS = 8
SHOWN_SPANS = 8


def experiment_tables(experiment: Experiment) -> Iterator[RenderableType]:
    """The figures beside the floor's, then slices, coverage and confusions of the base that was asked for."""
    yield _figures(experiment)
    yield Text(_how(experiment), style="dim")
    yield from report_tables(experiment.report)


def report_tables(report: Report, title: str = "") -> Iterator[RenderableType]:
    """Slices with their gaps, coverage against accuracy, the most frequent confusions."""
    prefix = f"{title}: " if title else ""
    if report.slices:
        yield _slices(report, prefix)
        yield Text("\n".join(_gap_lines(report)), style="dim")
    yield _coverage(report, prefix)
    if report.confusions:
        table = _table(f"{prefix}confused most", "meant", "understood", "times")
        for meant, said, times in report.confusions[:SHOWN_CONFUSIONS]:
            table.add_row(Text(meant), Text(said), str(times))
        yield table


def entity_table(report: EntityReport) -> Iterator[RenderableType]:
    """Precision, recall and F1 of all spans, by type and language; a few that went wrong."""
    table = _table("entities (exact ends and type)", "spans", "n", "precision", "recall", "F1")
    for score in (report.all, *report.by_type, *report.by_language):
        shares = (f"{share:.1%}" for share in (score.precision, score.recall, score.f1))
        table.add_row(Text(score.name), str(score.n), *shares)
    yield table
    if report.misses:
        wrong = _table(f"{len(report.misses)} messages with other spans", "message", "not found", "found instead")
        for text, missed, invented in report.misses[:SHOWN_SPANS]:
            wrong.add_row(Text(text), Text(missed), Text(invented))
        yield wrong


def several_table(report: SeveralReport) -> Table:
    """How often several intents in one message were named, and single ones torn apart."""
    table = _table("several intents in one message", "measure", "value", "n")
    table.add_row("all named, none added", f"{report.exact:.1%}", str(report.n))
    table.add_row("at least one named", f"{report.any_found:.1%}", str(report.n))
    table.add_row("single intent split wrongly", f"{report.split_wrongly:.1%}", str(report.n_single))
    if report.n_tricky:
        table.add_row("only looks like two, split", f"{report.tricky_split:.1%}", str(report.n_tricky))
    return table


def plain_table(title: str, rows: Sequence[tuple[str, str]]) -> Table:
    """Two columns: measure, value."""
    table = _table(title, "measure", "value")
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="left" if name in _WORDS else "right", overflow="fold")
    return table


_WORDS = frozenset({"understood", "value", "slice", "not found", "found instead"})


def _figures(experiment: Experiment) -> Table:
    floor = experiment.floor
    table = _table(f"{experiment.base}, recipe {experiment.recipe}", "measure", experiment.base, "95 % interval")
    if floor:
        table.add_column("n-grams alone", justify="right")
    for name, figure in experiment.figures.items():
        cells = [_number(name, figure.mean), _interval(name, figure)]
        if floor:
            cells.append(_number(name, floor.figures[name].mean) if name in floor.figures else "-")
        table.add_row(NAMES[name], *cells)
    for name, ours, theirs in _scope_rows(experiment):
        table.add_row(name, ours, "", *([theirs] if floor else []))
    return table


def _scope_rows(experiment: Experiment) -> Iterator[tuple[str, str, str]]:
    report, floor = experiment.report, experiment.floor.report if experiment.floor else None
    if report.caught is not None:
        theirs = (f"{floor.rejected:.1%}", f"{floor.caught or 0:.1%}") if floor else ("", "")
        yield "in scope, rejected", f"{report.rejected:.1%}", theirs[0]
        yield "out of scope, caught", f"{report.caught:.1%}", theirs[1]


def _number(name: str, value: float) -> str:
    if name in ("accuracy", "macro_f1"):
        return f"{value:.2%}"
    return f"{value:.1f}" if name.endswith("_s") else f"{value:.4f}"


def _interval(name: str, figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"{_number(name, figure.low)} – {_number(name, figure.high)}"


def _how(experiment: Experiment) -> str:
    plan, runs = experiment.plan, experiment.runs
    tested = f"{experiment.report.n} {plan.task} test messages, {runs[0].n_train} to learn from"
    shared = f"; {experiment.shared} test messages stand in the training file too" if experiment.shared else ""
    return f"{tested}{shared}. {_runs(plan)}; the interval is over {_over(plan, len(runs))}."


def _runs(plan: Plan) -> str:
    seeds = f"seed{'s' if len(plan.seeds) > 1 else ''} {', '.join(map(str, plan.seeds))}"
    if plan.folds is not None:
        return f"{plan.folds}-fold cross-validation, {seeds}"
    if plan.shots is not None:
        draws = ", ".join(map(str, range(plan.draws)))
        return f"{plan.shots} examples a label, drawn with seed{'s' if plan.draws > 1 else ''} {draws}; {seeds}"
    return f"All training messages, {seeds}"


def _over(plan: Plan, runs: int) -> str:
    return f"{runs} runs (Student's t)" if runs > 1 and plan.folds is None else "test messages (Wilson)"


def _slices(report: Report, prefix: str) -> Table:
    table = _table(f"{prefix}by slice", "dimension", "slice", "n", "accuracy", "95 % interval")
    last = ""
    for score in report.slices:
        if last and score.dimension != last:
            table.add_section()
        shown = score.dimension if score.dimension != last else ""
        interval = f"{score.low:.1%} – {score.high:.1%}"
        table.add_row(shown, Text(score.name), str(score.n), f"{score.accuracy:.1%}", interval)
        last = score.dimension
    return table


def _gap_lines(report: Report) -> Iterator[str]:
    for gap in report.gaps:
        yield f"gap by {gap.dimension}: {gap.best} is {100 * gap.difference:.1f} points above {gap.worst}"
    if not report.gaps:
        yield "no gaps: fewer than two slices of a dimension hold 30 messages"


def _coverage(report: Report, prefix: str) -> Table:
    title = f"{prefix}answering only what is surest"
    table = _table(title, "answered", "n", "from confidence", "accuracy of what is answered")
    for row in report.coverage:
        table.add_row(f"{row.coverage:.1%}", str(row.n), f"{row.threshold:.3f}", f"{row.accuracy:.2%}")
    return table
