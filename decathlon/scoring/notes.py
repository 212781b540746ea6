"""What a reader of a board has to know, in sentences."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from decathlon.results.records import RunRecord
from decathlon.scoring import setups
from decathlon.scoring.rows import Row
from decathlon.scoring.trials import MIN_SEEDS, Trials, sources_of


def notes_on(
    rows: Sequence[Row],
    trials: Sequence[Trials],
    *,
    split: str,
    baseline: Trials | None,
    hint: str,
    hidden: int,
    audited: bool,
) -> list[str]:
    """Returns the notes of a board.

    Args:
        rows: Its rows.
        trials: The trials behind its runs.
        split: Its split.
        baseline: The trials that define E_max, or None.
        hint: What to do where there are no runs.
        hidden: Number of published rows not shown.
        audited: Whether the records were checked against the labels.
    """
    notes = _on_split(split)
    if hint:
        notes.append(f"No runs of the {split} split here: {hint}.")
    if baseline is not None:
        notes += _on_baseline(baseline)
    notes += _on_setups(rows, trials)
    notes += common_notes(trials, baseline)
    for trial in trials:
        if trial.unknown:
            notes.append(
                f"{trial.label}: the {split} labels of {', '.join(trial.unknown)} are unknown:"
                " prepare the data with --labels and run again with --force."
            )
    if not audited:
        notes += _on_digests(trials)
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


def _on_split(split: str) -> list[str]:
    texts = {
        "val": "Validation split: the official validation sets are not representative of the test"
        " sets (gtsrb and ucf101 above all); these scores compare with no published one.",
        "train": "Training split: these scores say nothing about unseen images.",
    }
    return [texts[split]] if split in texts else []


def _on_baseline(baseline: Trials) -> list[str]:
    errors = baseline.mean_errors()
    perfect = sorted(name for name, error in errors.items() if error == 0)
    count = len(errors) - len(perfect)
    text = (
        f"E_max is twice the error of {baseline.label} on this data, in {count} domains: S is at"
        f" most {1000 * count} and compares with no score of other data or another baseline."
    )
    notes = [text]
    if perfect:
        notes.append(
            f"{baseline.label} makes no error on {', '.join(perfect)}, which leaves no E_max: the"
            " domain is left out of S."
        )
    return notes


def _on_setups(rows: Sequence[Row], trials: Sequence[Trials]) -> list[str]:
    """Names the setups of each name that has several, and the source of each group of rows."""
    notes = []
    sources = sources_of(trials)
    names = Counter(trial.name for trial in trials)
    for name in (name for name, count in names.items() if count > 1):
        own = [trial for trial in trials if trial.name == name]
        said = setups.differences([trial.setup for trial in own], sources)
        notes.append(
            f"{name} was run with {len(own)} setups, a row each: {'; '.join(said)}. The rows are"
            " not averaged."
        )
    by_group: dict[int, list[Row]] = {}
    for row in rows:
        if row.setup is not None:
            by_group.setdefault(row.group, []).append(row)
    if len(by_group) > 1:
        texts = [
            f"{setups.in_words(own[0].setup, sources)}: {', '.join(row.label for row in own)}"
            for own in by_group.values()
            if own[0].setup is not None
        ]
        notes.append(
            "The runs do not all start from the same source network, so a difference between their"
            f" rows may be the source's: {'; '.join(texts)}."
        )
    return notes


def common_notes(trials: Sequence[Trials], baseline: Trials | None) -> list[str]:
    """Returns notes on what differs between trials that are shown together.

    Covers everything that can change a score: seeds left out, the baseline's source, training
    data, precision, number of processes, and whether the data is called official.
    """
    notes = [note for trial in trials for note in (*_on_seeds(trial), *_on_missing_val(trial))]
    if baseline is not None:
        notes += _on_source_of_baseline(baseline, trials)
    notes += _on_training_data(trials)
    for key, text in (("precision", "precision"), ("world_size", "number of processes")):
        notes += _on_environment(trials, key, text)
    domains = {r.domain: r for trial in trials for r in trial.used}
    for domain in domains:
        found = _by_value(trials, lambda r: "yes" if r.official else "no", domain)
        if len(found) > 1:
            notes.append(
                f"{domain}: records disagree on whether its data is official: {_values(found)}."
            )
    for trial in trials:
        nameless = sum(r.code is None for r in trial.used if r.trained)
        if trial.setup.code is not None and nameless:
            notes.append(
                f"{trial.label}: {nameless} of its records do not name the code that made them;"
                " they are taken to be of the same code."
            )
    return notes


def _on_seeds(trials: Trials) -> list[str]:
    """Says which seeds were left out, and what each lacks."""
    notes = []
    for seed, records in trials.by_seed.items():
        if seed in trials.counted or not any(r.trained for r in records.values()):
            continue
        lacking = [name for name in trials.domains if name not in trials.known[seed]]
        unknown = [name for name in lacking if name in records]
        if not trials.counted or not lacking:
            continue
        why = f"lacks domains that others have ({', '.join(lacking)})"
        if len(unknown) == len(lacking):
            why = f"does not know the labels of {', '.join(unknown)}"
        notes.append(f"{trials.label}: seed {seed} {why} and is left out of the means.")
    return notes


def _on_missing_val(trials: Trials) -> list[str]:
    """Names domains that have no val and were therefore trained on train alone."""
    short = sorted({r.domain for r in trials.used if r.split == "test" and r.trained_on == "train"})
    return (
        [f"{trials.label}: {', '.join(short)} trained on train alone, since there is no val split."]
        if short
        else []
    )


def _on_source_of_baseline(baseline: Trials, trials: Sequence[Trials]) -> list[str]:
    groups = setups.groups([trial.setup for trial in (baseline, *trials)])
    sources = sources_of([baseline, *trials])
    others = [t.label for t in trials if groups[t.setup] != groups[baseline.setup]]
    text = (
        f"E_max rests on another source than these rows: it comes from {baseline.label}, with"
        f" {setups.in_words(baseline.setup, sources)}; they are {', '.join(dict.fromkeys(others))}."
    )
    return [text] if others else []


def _on_training_data(trials: Sequence[Trials]) -> list[str]:
    notes = []
    domains = dict.fromkeys(r.domain for t in trials for r in t.used if r.trained)
    for domain in domains:
        found = _by_value(trials, _training_data, domain)
        if len(found) > 1:
            notes.append(f"{domain}: not all were trained on the same data: {_values(found)}.")
    return notes


def _on_environment(trials: Sequence[Trials], key: str, text: str) -> list[str]:
    found = _by_value(trials, lambda record: str(record.environment.get(key, "not recorded")))
    return [f"The runs differ in {text}: {_values(found)}."] if len(found) > 1 else []


def _training_data(record: RunRecord) -> str | None:
    if not record.trained:
        return None
    used = record.trained_on.split("+")
    return " + ".join(f"{s} {record.data.get(s, 'unknown')[: setups.SHORT]}" for s in used)


def _by_value(
    trials: Sequence[Trials],
    value: Callable[[RunRecord], str | None],
    domain: str | None = None,
) -> dict[str, list[str]]:
    """Returns the labels of the trials that have each value of something."""
    found: dict[str, dict[str, None]] = {}
    for trial in trials:
        for record in trial.used:
            if domain in (None, record.domain) and (text := value(record)) is not None:
                found.setdefault(text, {})[trial.label] = None
    return {text: list(labels) for text, labels in found.items()}


def _values(found: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{value} ({', '.join(labels)})" for value, labels in found.items())


def _on_digests(trials: Sequence[Trials]) -> list[str]:
    records = {id(record): record for trial in trials for record in trial.used}
    without = sum(record.predictions is None for record in records.values())
    text = (
        f"{without} of {len(records)} records carry no digest of their predictions;"
        " `score --data DATA` checks their counts against the labels."
    )
    return [text] if without else []


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
