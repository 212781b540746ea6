"""``decathlon plot``: one figure of a results folder, to a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from decathlon.errors import ResultError, UsageError, nearest
from decathlon.scoring.board import build
from decathlon.scoring.figures import boards, canvas, curves, routing
from decathlon.scoring.trials import Trials, read_trials

REFERENCE = "fine-tuning"
"""What ``domains`` compares with where nothing else is named."""


@dataclass(frozen=True)
class Request:
    """What to plot.

    Attributes:
        results: The folder of records.
        split: Split of the records.
        baseline: Name that defines E_max, and the zero line of ``domains``.
        names: Names to show; all where empty.
    """

    results: Path
    split: str
    baseline: str | None
    names: tuple[str, ...]

    def trials(self) -> dict[str, Trials]:
        """Reads the trials of the names asked for.

        Raises:
            UsageError: There are no results of a name.
            ResultError: There are none at all, or a record is not valid.
        """
        found = read_trials(self.results, self.split)
        for name in self.names:
            if name not in found:
                known = ", ".join(found) or "none"
                raise UsageError(
                    f"no {self.split} results of '{name}'{nearest(name, found)} (there are:"
                    f" {known})"
                )
        if not found:
            raise ResultError(f"{self.results}: no results of the {self.split} split to plot")
        return {name: found[name] for name in found if not self.names or name in self.names}


def _routed(draw: Callable[[Path, Trials], Figure]) -> Callable[[Request], Figure]:
    """Picks the one name that has routing decisions, or the one asked for."""

    def drawn(request: Request) -> Figure:
        trials = request.trials()
        routed = [n for n, one in trials.items() if routing.is_routed(request.results, one)]
        if len(routed) > 1:
            raise UsageError(f"{', '.join(routed)} have policies: name one with --method")
        return draw(request.results, trials[routed[0] if routed else next(iter(trials))])

    return drawn


def _tradeoff(request: Request) -> Figure:
    board = build(request.results, request.split, request.baseline)
    if not request.names:
        return boards.tradeoff(board)
    named = request.trials()
    rows = [row for row in board.rows if row.kind == "published" or row.method in named]
    return boards.tradeoff(replace(board, rows=tuple(rows)))


def _domains(request: Request) -> Figure:
    reference = request.baseline or REFERENCE
    asked = Request(request.results, request.split, request.baseline, ())
    trials = asked.trials()
    names = {*(request.names or trials), reference}
    trials = {name: one for name, one in trials.items() if name in names}
    return boards.domains(trials, reference, request.split)


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
