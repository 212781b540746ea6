"""``decathlon plot``: one figure of a results folder, to a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from decathlon.common.errors import ResultError, UsageError, check_known
from decathlon.common.text import plural
from decathlon.results.points import base_of
from decathlon.results.published import published_rows
from decathlon.scoring.board import Board, board_of
from decathlon.scoring.entries import Entry, find_entry, hint_on, read_entries, suite_of
from decathlon.scoring.figures import amounts, boards, curves, diagram, policies, style, sweeps
from decathlon.scoring.integrity import check_same_images, official_problem
from decathlon.scoring.ranks import joined
from decathlon.scoring.reference import REFERENCE
from decathlon.scoring.routes import is_routed
from decathlon.scoring.rows import ranked
from decathlon.suites.base import Suite
from decathlon.suites.subset import size_in_words


@dataclass(frozen=True)
class FigureRequest:
    """What to plot.

    Attributes:
        results: The folder of records.
        suite: Suite of the records.
        split: Split of the records.
        baseline: Name that defines E_max, and the zero line of ``domains``.
        names: Names or labels of runs to show; all where empty. Published rows stay.
    """

    results: Path
    suite: Suite
    split: str
    baseline: str | None
    names: tuple[str, ...]

    def entries(self) -> dict[str, Entry]:
        """Reads the entries of the names asked for, by label.

        Raises:
            UsageError: There are no results of a name, or it was run with several setups.
            ResultError: There are none at all, or a record is not valid.
        """
        found = read_entries(self.results, self.split, self.suite)
        if not found and not self.names:
            raise ResultError(
                f"{self.results}: no results of the {self.split} split to plot:"
                f" {hint_on(self.results, self.split, self.suite)}"
            )
        asked = [self.find(name, found).label for name in self.names]
        return {label: one for label, one in found.items() if not asked or label in asked}

    def find(self, name: str, entries: dict[str, Entry]) -> Entry:
        """Returns the entry of a name; see :func:`find_entry`."""
        return find_entry(entries, name, self.results, self.split)


def _routed(draw: Callable[[Path, Entry, Suite], Figure]) -> Callable[[FigureRequest], Figure]:
    """Picks the one name that has routing decisions, or the one asked for."""

    def drawn(request: FigureRequest) -> Figure:
        entries = request.entries()
        routed = [
            label
            for label, one in entries.items()
            if is_routed(request.results, one) and (request.names or one.setup.routing is None)
        ]
        if len(routed) > 1:
            raise UsageError(f"{', '.join(routed)} have policies: name one with --name")
        chosen = entries[routed[0] if routed else next(iter(entries))]
        return draw(request.results, chosen, request.suite)

    return drawn


def _board(request: FigureRequest) -> Board:
    """Returns the board with the published rows and the runs asked for."""
    board = board_of(request.results, request.split, request.baseline, suite=request.suite)
    if request.names:
        labels = {request.find(name, board.entries).label for name in request.names}
        rows = [row for row in board.rows if row.kind == "published" or row.label in labels]
        board = replace(board, rows=tuple(rows))
    return board


def _tradeoff(request: FigureRequest) -> Figure:
    return boards.tradeoff(_board(request))


def _domains(request: FigureRequest) -> Figure:
    everything = replace(request, names=()).entries()
    wanted = request.baseline or REFERENCE
    try:
        reference = request.find(wanted, everything).label
    except UsageError as error:
        hint = "" if request.baseline else "; name one to compare with by --baseline"
        raise UsageError(f"{error}{hint}") from None
    shown = {**request.entries(), reference: everything[reference]}
    check_same_images(request.results, [r for e in shown.values() for r in e.averaged])
    return boards.domains(shown, reference, request.suite)


def _routing(request: FigureRequest) -> Figure:
    everything = replace(request, names=()).entries()
    controls = {n: one for n, one in everything.items() if one.setup.routing}
    names = {one.setup.routing.weights for one in controls.values() if one.setup.routing}
    if not names:
        raise ResultError(
            f"{request.results}: no controls of the {request.split} split to plot; `decathlon run"
            " --routing shuffled` and the like evaluate them"
        )
    asked = request.names or tuple(sorted(names))
    if len(asked) > 1:
        raise UsageError(f"{', '.join(asked)} have controls: name one with --name")
    reference = request.find(asked[0], everything)
    shown = {
        label: one
        for label, one in controls.items()
        if one.setup.routing and one.setup.routing.weights == reference.name
    }
    stale = [label for label, one in shown.items() if not one.setup.evaluates(reference.setup)]
    if stale:
        raise ResultError(
            f"{', '.join(stale)}: {reference.name} was trained in another way since, so they do not"
            " compare; evaluate these controls again with `decathlon run --routing` and --force"
        )
    check_same_images(request.results, [r for e in shown.values() for r in e.averaged])
    return boards.domains({**shown, reference.label: reference}, reference.label, request.suite)


def _curves(request: FigureRequest) -> Figure:
    return curves.curves(request.results, list(request.entries().values()), request.suite)


def _data(request: FigureRequest) -> Figure:
    entries = list(request.entries().values())
    check_same_images(request.results, [r for e in entries for r in e.averaged])
    rows = published_rows(request.results, request.suite) if request.split == "test" else []
    # Accuracies of other images than the official ones do not compare with published ones.
    official = not any(official_problem(r, request.suite) for e in entries for r in e.used)
    published = amounts.published_lines(rows, request.suite) if official else []
    return amounts.data([*amounts.lines_of(entries, request.suite), *published], request.suite)


def _sweep(request: FigureRequest) -> Figure:
    found: dict[str, list[Entry]] = {}
    for entry in read_entries(request.results, "val", request.suite).values():
        if entry.domains and (base := base_of(entry.name)) is not None:
            found.setdefault(base, []).append(entry)
    if not found:
        raise ResultError(
            f"{request.results}: has no points of a sweep to plot; 'decathlon sweep' tries some"
        )
    for name in request.names:
        check_known("sweep", name, found)
    asked = request.names or tuple(found)
    if len(asked) > 1:
        raise UsageError(f"{', '.join(asked)} were swept: name one with --name")
    return sweeps.sweep(sweeps.points_of(found[asked[0]], request.suite), request.suite)


def ranks(request: FigureRequest) -> Figure:
    """Draws runs by mean rank over the domains that all have.

    Without names, these are the runs on all training images, or on the largest subset there is.

    Raises:
        UsageError: The runs asked for are on several subsets of the training images.
        ResultError: There are fewer than two, or they have no domain in common.
    """
    suite, board = request.suite, _board(request)
    runs = [row for row in board.rows if row.kind == "run"]
    sizes = list(dict.fromkeys(row.subset for row in runs))
    if request.names and len(sizes) > 1:
        raise UsageError(f"{', '.join(map(size_in_words, sizes))}: name runs on one of these only")
    rows = [row for row in runs if row.subset == sizes[0]]
    counted = [name for name in board.domains if name in board.e_max or not suite.score]
    common = [name for name in counted if all(name not in row.missing for row in rows)]
    if len(rows) < 2 or not common:
        raise ResultError(
            f"{request.results}: ranks need two runs of the {request.split} split at least, with a"
            " domain that all have; leave out those that lack domains with --name"
        )
    rows = sorted(ranked(rows, common), key=lambda row: row.mean_rank or 0)
    scored = {name: board.e_max[name] for name in common if suite.score}
    base = board.entries[board.baseline] if suite.score and board.baseline else None
    bars = joined([board.entries[row.label] for row in rows], common, scored, base, suite)
    merit = suite.score.heading if suite.score else "mean accuracy"
    size = f", {size_in_words(sizes[0])}" if sizes[0] else ""
    return diagram.diagram(
        rows,
        bars,
        f"mean rank over {plural(len(common), 'domain')}, {request.split} split{size}",
        f"joined: {merit} cannot be told apart (95 %, paired on images; Holm, all pairs)",
    )


_KINDS: dict[str, Callable[[FigureRequest], Figure]] = {
    "policy": _routed(policies.policy),
    "usage": _routed(policies.usage),
    "tradeoff": _tradeoff,
    "curves": _curves,
    "domains": _domains,
    "data": _data,
    "routing": _routing,
    "sweep": _sweep,
    "ranks": ranks,
}
KINDS = tuple(_KINDS)
"""Names of the figures."""


def plot(
    kind: str,
    results: Path,
    out: Path,
    split: str = "test",
    baseline: str | None = None,
    names: Sequence[str] = (),
    suite: Suite | None = None,
) -> None:
    """Draws one figure to a file.

    Args:
        kind: ``policy`` (share of images fine-tuned, by block and domain), ``usage``
            (fine-tuned blocks per image), ``tradeoff`` (score against #par), ``curves``
            (training loss), ``domains`` (accuracies relative to the baseline), ``data``
            (accuracy over the number of training images), ``routing`` (accuracies of the
            controls of routing relative to what was learned), ``sweep`` (accuracy on val over
            each setting of a sweep) or ``ranks`` (mean ranks over the domains, and which runs
            cannot be told apart).
        results: The folder of records.
        out: An SVG or PNG file, written whole or not at all.
        split: Split of the records.
        baseline: Name that defines E_max, and that ``domains`` compares with
            (``fine-tuning`` by default).
        names: Names to show; all where empty. ``tradeoff`` shows them beside all
            published rows.
        suite: The suite; by default, that of the records.

    Raises:
        UsageError: Unknown kind, name or baseline, another kind of file, or records of several
            suites.
        ResultError: Nothing to plot, or a record, log or routing is not valid.
    """
    check_known("figure", kind, KINDS)
    if out.suffix.lower() not in style.SUFFIXES:
        raise UsageError(f"{out}: figures are written as {' or '.join(style.SUFFIXES)}")
    suite = suite or suite_of(results)
    request = FigureRequest(results, suite, split, baseline, tuple(names))
    style.save(_KINDS[kind](request), out)
