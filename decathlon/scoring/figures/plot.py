"""``decathlon plot``: one figure of a results folder, to a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from decathlon.common.errors import ResultError, UsageError, nearest
from decathlon.scoring.board import build
from decathlon.scoring.figures import boards, canvas, curves, routing
from decathlon.scoring.integrity import check_same_images
from decathlon.scoring.trials import Trials, find_trials, hint_on, read_trials

REFERENCE = "fine-tuning"
"""What ``domains`` compares with where nothing else is named."""


@dataclass(frozen=True)
class Request:
    """What to plot.

    Attributes:
        results: The folder of records.
        split: Split of the records.
        baseline: Name that defines E_max, and the zero line of ``domains``.
        names: Names or labels of runs to show; all where empty. Published rows stay.
    """

    results: Path
    split: str
    baseline: str | None
    names: tuple[str, ...]

    def trials(self) -> dict[str, Trials]:
        """Reads the trials of the names asked for, by label.

        Raises:
            UsageError: There are no results of a name, or it was run with several setups.
            ResultError: There are none at all, or a record is not valid.
        """
        found = read_trials(self.results, self.split)
        if not found and not self.names:
            raise ResultError(
                f"{self.results}: no results of the {self.split} split to plot:"
                f" {hint_on(self.results, self.split)}"
            )
        asked = [find_trials(found, name, self.results, self.split).label for name in self.names]
        return {label: one for label, one in found.items() if not asked or label in asked}


def _routed(draw: Callable[[Path, Trials], Figure]) -> Callable[[Request], Figure]:
    """Picks the one name that has routing decisions, or the one asked for."""

    def drawn(request: Request) -> Figure:
        trials = request.trials()
        routed = [n for n, one in trials.items() if routing.is_routed(request.results, one)]
        if len(routed) > 1:
            raise UsageError(f"{', '.join(routed)} have policies: name one with --name")
        return draw(request.results, trials[routed[0] if routed else next(iter(trials))])

    return drawn


def _tradeoff(request: Request) -> Figure:
    board = build(request.results, request.split, request.baseline)
    found = [
        find_trials(board.trials, name, request.results, request.split) for name in request.names
    ]
    labels = {one.label for one in found}
    rows = [row for row in board.rows if row.kind == "published" or row.label in labels]
    return boards.tradeoff(replace(board, rows=tuple(rows)) if found else board)


def _domains(request: Request) -> Figure:
    everything = replace(request, names=()).trials()
    wanted = request.baseline or REFERENCE
    try:
        reference = find_trials(everything, wanted, request.results, request.split).label
    except UsageError as error:
        hint = "" if request.baseline else "; name one to compare with by --baseline"
        raise UsageError(f"{error}{hint}") from None
    shown = {**request.trials(), reference: everything[reference]}
    counted = [r for t in shown.values() for s in t.counted.values() for r in s.values()]
    check_same_images(request.results, counted)
    return boards.domains(shown, reference, request.split)


def _curves(request: Request) -> Figure:
    return curves.curves(request.results, list(request.trials().values()))


_KINDS: dict[str, Callable[[Request], Figure]] = {
    "policy": _routed(routing.policy),
    "usage": _routed(routing.usage),
    "tradeoff": _tradeoff,
    "curves": _curves,
    "domains": _domains,
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
) -> None:
    """Draws one figure to a file.

    Args:
        kind: ``policy`` (share of images fine-tuned, by block and domain), ``usage``
            (fine-tuned blocks per image), ``tradeoff`` (S against #par), ``curves``
            (training loss) or ``domains`` (accuracies relative to the baseline).
        results: The folder of records.
        out: An SVG or PNG file, written whole or not at all.
        split: Split of the records.
        baseline: Name that defines E_max, and that ``domains`` compares with
            (``fine-tuning`` by default).
        names: Names to show; all where empty. ``tradeoff`` shows them beside all
            published rows.

    Raises:
        UsageError: Unknown kind, name or baseline, or another kind of file.
        ResultError: Nothing to plot, or a record, log or routing is not valid.
    """
    if kind not in _KINDS:
        raise UsageError(f"unknown figure '{kind}'{nearest(kind, KINDS)} ({', '.join(KINDS)})")
    canvas.check_suffix(out)
    canvas.save(_KINDS[kind](Request(results, split, baseline, tuple(names))), out)
