"""Commands about results: score, compare, submit, evaluate."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from decathlon.commands.options import Baseline, Out, Results, Split, check_out, check_split
from decathlon.scoring.escape import visible


def score(
    results: Results,
    split: Split = "test",
    baseline: Baseline = None,
    form: Annotated[
        str, typer.Option("--format", help="table, markdown, latex, csv, json or html.")
    ] = "table",
    out: Out = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All published rows, not Table 3 only.")
    ] = False,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Points of S for one more percent, by domain.")
    ] = False,
    columns: Annotated[
        str | None, typer.Option(help="Columns to show, separated by commas.")
    ] = None,
    sort: Annotated[
        str, typer.Option(help="Column or domain to sort by, - before it turns the order round.")
    ] = "table",
    match: Annotated[
        list[str] | None, typer.Option(help="Only rows like this (* and ?); may be repeated.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only rows that are published, or run.")] = None,
) -> None:
    """Print the leaderboard: your runs beside the published rows."""
    from decathlon.scoring.arrange import arrange
    from decathlon.scoring.board import build
    from decathlon.scoring.columns import SENSITIVITY
    from decathlon.scoring.render import render

    check_split(split)
    check_out(out, results)
    board = build(results, split=split, baseline=baseline, all_rows=everything)
    board = arrange(board, sort=sort, match=match or (), kind=kind)
    chosen = columns.split(",") if columns else SENSITIVITY if sensitivity else None
    render(board, form, out, chosen)


def plot(
    kind: Annotated[str, typer.Argument(help="policy, usage, tradeoff, curves or domains.")],
    results: Results,
    out: Annotated[Path, typer.Option(help="File to write, .svg or .png.")],
    split: Split = "test",
    baseline: Baseline = None,
    name: Annotated[
        list[str] | None, typer.Option(help="Only this method or variant; may be repeated.")
    ] = None,
) -> None:
    """Draw a figure of results."""
    from decathlon.scoring.figures.plot import plot as run

    check_split(split)
    check_out(out, results)
    run(kind, results, out, split=split, baseline=baseline, names=name or ())
    print(visible(str(out)))


def compare(
    a: Annotated[str, typer.Argument(help="Name of a method or variant.")],
    b: Annotated[str, typer.Argument(help="Another one.")],
    results: Results,
    split: Split = "test",
    baseline: Baseline = None,
    form: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
    out: Out = None,
) -> None:
    """Compare two methods, paired on images: difference, interval, superiority."""
    from decathlon.scoring.compare import compare as run
    from decathlon.scoring.reports import render_comparison

    check_split(split)
    check_out(out, results)
    render_comparison(run(a, b, results, split=split, baseline=baseline), form, out)


def submit(
    results: Results,
    method: Annotated[str, typer.Option(help="Name of a method or variant.")],
    out: Annotated[Path, typer.Option(help="Archive to write.")] = Path("results.zip"),
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed (default: the first with most domains).")
    ] = None,
) -> None:
    """Write the official submission file from test predictions."""
    from decathlon.scoring.submit import submit as run

    check_out(out, results)
    done = run(results, method, out, seed)
    count = sum(done.num_predictions.values())
    print(f"{visible(str(done.path))}: {count} predictions of {len(done.num_predictions)} domains")
    if done.missing:
        print(f"missing, and counted 0: {', '.join(done.missing)}", file=sys.stderr)
    if not done.official:
        print("not of the official data: the official labels do not fit it", file=sys.stderr)


def evaluate(
    submission: Annotated[
        Path, typer.Argument(help="Zip archive of results.json.", readable=False)
    ],
    labels: Annotated[
        Path, typer.Option(help="labels_test.zip, or a folder of its files.", readable=False)
    ],
    form: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
    out: Out = None,
) -> None:
    """Score any submission in the official format, offline."""
    from decathlon.scoring.evaluate import evaluate as run
    from decathlon.scoring.reports import render_evaluation

    check_out(out, submission, labels)
    render_evaluation(run(submission, labels), form, out)
