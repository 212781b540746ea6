"""Commands about results: score, report, plot, compare, submit, evaluate."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decathlon.commands.options import (
    Baseline,
    Device,
    Gatherable,
    Out,
    Precision,
    Results,
    Split,
    TableOrJson,
    Threads,
    check_out,
    check_split,
)
from decathlon.common.errors import UsageError, check_known
from decathlon.common.progress import say
from decathlon.common.text import visible
from decathlon.suites.registry import DEFAULT, find

if TYPE_CHECKING:
    from decathlon.scoring.audit import Answers
    from decathlon.suites.base import Suite

SuiteName = Annotated[
    str | None, typer.Option("--suite", help="Suite (default: that of the records).")
]

CheckData = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Prepared data folder: check every record against its predictions and the labels.",
        readable=False,
    ),
]
CheckLabels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        help="labels_test.zip, or a folder with its files: check every record against them.",
        readable=False,
    ),
]


def answers_of(
    data: Path | None, labels: Path | None, split: str, suite: "Suite"
) -> "Answers | None":
    """Opens the labels that a suite's records are to be checked against, if any.

    Args:
        data: Prepared data folder, or None.
        labels: labels_test.zip or a folder of its files, or None.
        split: Split of the records.
        suite: Their suite.

    Raises:
        UsageError: Both are given, or labels of another split.
        DataError: They cannot be read.
    """
    if data is not None and labels is not None:
        raise UsageError("--data and --labels both give labels to check against; use one of them")
    if data is not None:
        from decathlon.data.reading.answers import open_answers

        return open_answers(data)
    if labels is None:
        return None
    from decathlon.data.sources.test_labels import LabelsFile, read_labels

    if split != "test":
        raise UsageError(
            f"--labels holds labels of the test split; check the {split} split with --data"
        )
    return LabelsFile(labels, read_labels(labels, suite))


def suite_named(name: str | None) -> "Suite | None":
    """Returns the suite that was named, or None where none was.

    Raises:
        UsageError: There is no such suite.
    """
    return None if name is None else find(name)


def score(
    results: Gatherable,
    split: Split = "test",
    baseline: Baseline = None,
    form: Annotated[
        str, typer.Option("--format", help="table, markdown, latex, csv, json or html.")
    ] = "table",
    out: Out = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Show all published rows, not only the main table's."),
    ] = False,
    sensitivity: Annotated[
        bool,
        typer.Option(
            "--sensitivity", help="Show how many points one more percent is worth, by domain."
        ),
    ] = False,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Columns to show, separated by commas (default: those that fit; narrow terminals"
            " leave out time, covered, rank, mean, rank_ci and ci, in this order)."
        ),
    ] = None,
    sort: Annotated[
        str, typer.Option(help="Column or domain to sort by; a leading - reverses the order.")
    ] = "table",
    match: Annotated[
        list[str] | None,
        typer.Option(help="Only rows whose name matches (* and ?). Repeat for several."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="Only 'published' rows, or only your own: 'run'.")
    ] = None,
    data: CheckData = None,
    labels: CheckLabels = None,
    suite: Annotated[
        str | None,
        typer.Option(help="Only this suite's table; all: every suite's (default: the records')."),
    ] = None,
) -> None:
    """Print the leaderboard: your runs beside the published rows."""
    from decathlon.results.bundles import gathered
    from decathlon.scoring.arrange import arrange
    from decathlon.scoring.board import board_of
    from decathlon.scoring.columns import SENSITIVITY
    from decathlon.scoring.entries import suites_of
    from decathlon.scoring.render.dispatch import render_boards

    check_split(split)
    check_out(out, *results, *filter(None, (data, labels)))
    chosen = columns.split(",") if columns else SENSITIVITY if sensitivity else None
    boards = []
    with gathered(results) as found:
        for one in suites_of(found.results, suite):
            answers = answers_of(data, labels, split, one)
            board = board_of(found.results, split, baseline, everything, answers, one)
            told = replace(board, hint=found.told(board.hint), checks=found.told_all(board.checks))
            boards.append(arrange(told, sort=sort, match=match or (), kind=kind))
        render_boards(boards, form, out, chosen)


def plot(
    kind: Annotated[
        str,
        typer.Argument(
            help="policy, usage, tradeoff, curves, domains, data, routing, sweep or ranks."
        ),
    ],
    results: Gatherable,
    out: Annotated[Path, typer.Option(help="File to write, .svg or .png.")],
    split: Split = "test",
    baseline: Baseline = None,
    name: Annotated[
        list[str] | None, typer.Option(help="Only this method, variant or row. Repeat for several.")
    ] = None,
    suite: SuiteName = None,
) -> None:
    """Draw a figure of results."""
    from decathlon.results.bundles import gathered
    from decathlon.scoring.figures.plot import plot as run

    check_split(split)
    check_out(out, *results)
    with gathered(results) as found:
        run(kind, found.results, out, split, baseline, name or (), suite_named(suite))
    print(visible(str(out)))


def compare(
    a: Annotated[str, typer.Argument(help="Name of a method or variant, or a row's label.")],
    b: Annotated[str, typer.Argument(help="The one to compare it with.")],
    results: Gatherable,
    split: Split = "test",
    baseline: Baseline = None,
    form: TableOrJson = "table",
    out: Out = None,
    data: CheckData = None,
    labels: CheckLabels = None,
    suite: SuiteName = None,
) -> None:
    """Compare two methods on the same images: difference, interval, probability of being better."""
    from decathlon.results.bundles import gathered
    from decathlon.scoring.compare import compare as run
    from decathlon.scoring.entries import suite_of
    from decathlon.scoring.render.reports import render_comparison

    check_split(split)
    check_out(out, *results, *filter(None, (data, labels)))
    with gathered(results) as found:
        chosen = suite_named(suite) or suite_of(found.results)
        answers = answers_of(data, labels, split, chosen)
        done = run(a, b, found.results, split, baseline, answers, chosen)
    render_comparison(replace(done, notes=found.told_all(done.notes)), form, out)


def report(
    record: Annotated[
        Path, typer.Argument(help="Folder of a trial, or its record.json.", readable=False)
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Prepared data folder (default: $DECATHLON_DATA, else ./data, if it holds the"
            " data of the trial).",
            readable=False,
        ),
    ] = None,
    routing_controls: Annotated[
        bool,
        typer.Option(
            "--routing-controls",
            help="Evaluate the network again with other decisions than its policy's.",
        ),
    ] = False,
    form: Annotated[str, typer.Option("--format", help="table, html or json.")] = "table",
    out: Out = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = 0,
) -> None:
    """Describe one trial: accuracy, classes, confusions, training, routing, and how to repeat it.

    --routing-controls needs the trial's weights and data, and trains nothing.
    """
    from decathlon.data.reading.store import data_folder
    from decathlon.scoring.render.trials import FORMATS, render_trial
    from decathlon.scoring.report import report_of, with_command, with_controls

    check_known("format", form, FORMATS)
    check_out(out, record, *filter(None, (data,)))
    folder = data_folder(data)
    done = report_of(record, folder, named=data is not None)
    # Imported here, once there is a trial to report: it needs torch.
    from decathlon.running.again import command_of

    done = with_command(done, *command_of(done.record, done.results, done.data))
    if routing_controls:
        from decathlon.common.progress import progress
        from decathlon.running.reevaluation import NUM_PASSES, check_routes, evaluate_controls
        from decathlon.training.device import Compute

        check_routes(done.folder, done.record)
        compute = Compute(device, precision, threads)
        with progress("routing controls", NUM_PASSES, "passes") as bar:
            found = evaluate_controls(done.folder, done.record, folder, compute, bar.advance)
        bits = [(one.control, one.routes, one.correct.tolist()) for one in found]
        done = with_controls(done, bits)
    render_trial(done, form, out)


def submit(
    results: Results,
    method: Annotated[str, typer.Option(help="Name of a method or variant, or a row's label.")],
    out: Annotated[Path, typer.Option(help="Archive to write.")] = Path("results.zip"),
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed (default: the first that covers the most domains)."),
    ] = None,
    suite: SuiteName = None,
) -> None:
    """Write the official submission file from test predictions."""
    from decathlon.scoring.submit import submit as run

    check_out(out, results)
    done = run(results, method, out, seed, suite_named(suite))
    count = sum(done.num_predictions.values())
    print(f"{visible(str(done.path))}: {count} predictions of {len(done.num_predictions)} domains")
    if done.missing:
        say(f"missing domains, which count 0: {', '.join(done.missing)}")
    if not done.official:
        say("not made from the official data, so the official labels do not fit")


def evaluate(
    submission: Annotated[
        Path, typer.Argument(help="results.json, or a zip archive that holds it.", readable=False)
    ],
    labels: Annotated[
        Path, typer.Option(help="labels_test.zip, or a folder with its files.", readable=False)
    ],
    baseline_errors: Annotated[
        Path | None,
        typer.Option(
            help="JSON with a baseline's error (0 to 1) by domain, if the labels are not official."
            " E_max is twice that error.",
            readable=False,
        ),
    ] = None,
    form: TableOrJson = "table",
    out: Out = None,
    suite: Annotated[str, typer.Option(help="Suite of the submission.")] = DEFAULT.name,
) -> None:
    """Score any submission in the official format, offline."""
    from decathlon.scoring.evaluate import check_submission, read_baseline_errors
    from decathlon.scoring.evaluate import evaluate as run
    from decathlon.scoring.render.reports import render_submission

    check_out(out, submission, labels, *filter(None, (baseline_errors,)))
    chosen = find(suite)
    check_submission(chosen)
    errors = read_baseline_errors(baseline_errors) if baseline_errors else None
    render_submission(run(submission, labels, errors, chosen), form, out)
