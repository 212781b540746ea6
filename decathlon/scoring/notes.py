"""What a reader of a board has to know, in sentences."""

from collections.abc import Mapping, Sequence

from decathlon.scoring.rows import Row
from decathlon.scoring.trials import MIN_SEEDS, Trials


def notes_on(
    rows: Sequence[Row],
    trials: Sequence[Trials],
    *,
    split: str,
    baseline: Trials | None,
    others: Mapping[str, int],
    hidden: int,
) -> list[str]:
    """Returns the notes of a board.

    Args:
        rows: Its rows.
        trials: The trials behind its runs.
        split: Its split.
        baseline: The trials that define E_max, or None.
        others: Number of records of each split, where this one has none.
        hidden: Number of published rows not shown.
    """
    notes = _on_split(split, others)
    if baseline is not None:
        notes += _on_baseline(baseline)
    for trial in trials:
        notes += _on_trials(trial, split)
    notes += [audit_note(row) for row in rows if row.consistent is False]
    if hidden:
        notes.append(f"{hidden} more published rows are shown by --all.")
    return notes


def audit_note(row: Row) -> str:
    """Says by how much the printed score of a row misses what its accuracies allow."""
    assert row.score_range is not None
    assert row.score is not None
    low, high = row.score_range
    return (
        f"{row.label}: no rounding of the printed accuracies gives the printed score"
        f" {row.score_printed:.0f}; they allow {low:.1f} to {high:.1f}, computed {row.score:.1f}."
        + (f" {row.note}" if row.note else "")
    )


def _on_split(split: str, others: Mapping[str, int]) -> list[str]:
    notes = []
    if split == "val":
        notes.append(
            "Validation split: the official validation sets are not representative of the test"
            " sets (gtsrb and ucf101 above all); these scores compare with no published one."
        )
    if split == "train":
        notes.append("Training split: these scores say nothing about unseen images.")
    if others:
        found = ", ".join(f"{count} of {name}" for name, count in sorted(others.items()))
        options = " or ".join(f"--split {name}" for name in sorted(others))
        notes.append(f"No records of the {split} split; there are {found}: see {options}.")
    return notes


def _on_baseline(baseline: Trials) -> list[str]:
    errors = baseline.mean_errors()
    perfect = sorted(name for name, error in errors.items() if error == 0)
    count = len(errors) - len(perfect)
    text = (
        f"E_max is twice the error of {baseline.name} on this data, in {count} domains: S is at"
        f" most {1000 * count} and compares with no score of other data or another baseline."
    )
    notes = [text]
    if perfect:
        notes.append(
            f"{baseline.name} makes no error on {', '.join(perfect)}: no E_max can be had from it,"
            " the domain is left out of S."
        )
    return notes


def _on_trials(trials: Trials, split: str) -> list[str]:
    notes = []
    if trials.unknown:
        notes.append(
            f"{trials.name}: the {split} labels of {', '.join(trials.unknown)} are unknown:"
            " prepare the data with --labels and run again with --force."
        )
    left_out = sorted(set(trials.by_seed) - set(trials.counted))
    if trials.counted and left_out:
        seeds = ", ".join(map(str, left_out))
        notes.append(
            f"{trials.name}: seed {seeds} lacks domains that others have and is left out of the"
            " means."
        )
    return notes


def interval_note(rows: Sequence[Row]) -> str | None:
    """Says what the intervals of a board cover, or None where there are none."""
    with_ci = [row for row in rows if row.ci is not None]
    few = [row.label for row in with_ci if len(row.seeds) < MIN_SEEDS]
    if not with_ci:
        return None
    text = "Intervals are 95 %."
    if few:
        who = "all" if len(few) == len(with_ci) else ", ".join(few)
        text += f" Fewer than {MIN_SEEDS} seeds ({who}): they cover the choice of images only."
    return text
