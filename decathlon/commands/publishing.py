"""Commands that pass results on: bundle, check-bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decathlon.commands.options import Out, Results, Split, TableOrJson, check_out, check_split
from decathlon.commands.scores import (
    CheckData,
    CheckLabels,
    SuiteName,
    answers_of,
    suite_named,
)
from decathlon.common.errors import ResultError, UsageError, check_known
from decathlon.common.oserrors import explained
from decathlon.common.progress import say
from decathlon.common.text import file_size, plural, visible

if TYPE_CHECKING:
    from decathlon.results.records import Code, Parameters, RunRecord

MAX_BIBTEX = 1_000_000
"""Bytes of a file of BibTeX that are read; a card holds fewer."""


def bundle(
    name: Annotated[str, typer.Argument(help="Name of a method or variant, or a row's label.")],
    results: Results,
    out: Annotated[Path, typer.Option(help="Archive to write.")],
    label: Annotated[
        str, typer.Option(help="What boards call the row (default: its name).", show_default=False)
    ] = "",
    author: Annotated[
        list[str] | None, typer.Option(help="Author to name on the card. Repeat for several.")
    ] = None,
    paper: Annotated[str, typer.Option(help="Web address of the paper.", show_default=False)] = "",
    bibtex: Annotated[
        Path | None, typer.Option(help="File with a BibTeX entry to cite.", readable=False)
    ] = None,
    weights: Annotated[
        bool, typer.Option("--weights", help="Also pack the trained networks and their source.")
    ] = False,
    split: Split = "test",
    suite: SuiteName = None,
) -> None:
    """Pack the results of one row into a file that others can check and score."""
    from decathlon.scoring.bundling.writing import Authorship, write_bundle

    check_split(split)
    check_out(out, results, *filter(None, (bibtex,)))
    said = Authorship(label, tuple(author or ()), paper, _text(bibtex) if bibtex else "")
    done = write_bundle(
        results, name, out, said, split=split, suite=suite_named(suite), weights=weights
    )
    size, count = file_size(out.stat().st_size), plural(len(done.records), "record")
    print(f"{visible(str(out))}: {visible(done.card.label)}, {count}, {size}")
    if done.left_out:
        places = ", ".join(str(record.folder) for record in done.left_out)
        say(visible(f"left out, as other seeds have more domains: {places}"))
    if done.without_weights:
        places = ", ".join(str(record.folder) for record in done.without_weights)
        say(visible(f"without weights: {places}"))


def _text(path: Path) -> str:
    """Returns the text of a file of BibTeX, without the marks that Windows adds to text.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: is not a regular file")
        with path.open("rb") as file:
            text = file.read(MAX_BIBTEX).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(explained(error, path, "name another file", "cannot be read")) from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not UTF-8; save it as UTF-8") from None
    return text.replace("\r\n", "\n")


def check_bundle(
    path: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="What 'bundle' wrote.", readable=False)
    ],
    labels: CheckLabels = None,
    data: CheckData = None,
    form: TableOrJson = "table",
    out: Out = None,
) -> None:
    """Check a bundle: recompute its results, and compare everything it says.

    'verified': the labels were given, and everything holds. 'complete': all that can be checked
    without them holds. 'unverified': something differs, exit code 4.
    """
    from decathlon.scoring.bundling.checking import Installed
    from decathlon.scoring.bundling.checking import check_bundle as run
    from decathlon.scoring.render.bundles import render_check

    check_known("format", form, ("table", "json"))
    check_out(out, path, *filter(None, (data, labels)))
    installed = Installed(_code_problem, _count)
    done = run(path, installed, lambda split, suite: answers_of(data, labels, split, suite))
    render_check(done, form, out)
    raise typer.Exit(ResultError.exit_code if done.verdict == "unverified" else 0)


def _code_problem(method: str, code: "Code") -> str:
    from decathlon.method.code import code_of, identity, shown

    now = code_of(method)
    same = identity(now) == identity(code)
    return "" if same else f"the records name {shown(code)}, installed is {shown(now)}"


def _count(weights: Path, record: "RunRecord") -> "Parameters":
    from decathlon.running.recounting import parameters_in

    return parameters_in(weights, record)
