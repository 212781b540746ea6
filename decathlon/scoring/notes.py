"""What a reader of a board has to know, in sentences."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from decathlon.results.records import RunRecord
from decathlon.scoring import setups
from decathlon.scoring.entries import MIN_SEEDS, Entry, sources_of
from decathlon.scoring.rows import Row
from decathlon.suites.base import Suite
from decathlon.suites.score import PERFECT, Score


def notes_on(
    rows: Sequence[Row],
    entries: Sequence[Entry],
    *,
    suite: Suite,
    split: str,
    baseline: Entry | None,
    hint: str,
    hidden: int,
    audited: bool,
) -> list[str]:
    """Returns the notes of a board.

    Args:
        rows: Its rows.
        entries: The records behind its runs.
        suite: Its suite.
        split: Its split.
        baseline: The run that defines E_max, or None.
        hint: What to do where there are no runs.
        hidden: Number of published rows not shown.
        audited: Whether the records were checked against the labels.
    """
    notes = _on_split(split, suite)
    if hint:
        notes.append(f"No runs of the {split} split here: {hint}.")
    if suite.score is None:
        baseline = None  # it defines nothing
    elif baseline is not None:
        notes += _on_baseline(baseline, suite.score)
    notes += _on_setups(rows, entries)
    notes += common_notes(entries, baseline)
    for entry in entries:
        if entry.unknown:
            notes.append(
                f"{entry.label}: the {split} labels of {', '.join(entry.unknown)} are unknown:"
                " prepare the data with --labels and run again with --force."
            )
    if not audited:
        notes += _on_digests(entries)
    notes += [audit_note(row) for row in rows if row.consistent is False]
    if hidden:
        notes.append(f"{hidden} more published rows are shown by --all.")
    return notes


def audit_note(row: Row) -> str:
    """Returns by how much the printed score of a row misses what its accuracies allow."""
    assert row.score_range is not None
    assert row.score is not None
    low, high = row.score_range
    return (
        f"{row.label}: no rounding of the printed accuracies gives the printed score"
        f" {row.score_printed:.0f}; they allow {low:.1f} to {high:.1f}, computed {row.score:.1f}."
        + (f" {row.note}" if row.note else "")
    )


def _on_split(split: str, suite: Suite) -> list[str]:
    on_val = suite.val_note or "these results compare with no published one."
    texts = {
        "val": f"Validation split: {on_val}",
        "train": "Training split: these scores say nothing about unseen images.",
    }
    return [texts[split]] if split in texts else []


def _on_baseline(baseline: Entry, score: Score) -> list[str]:
    errors = baseline.mean_errors()
    perfect = sorted(name for name, error in errors.items() if error == 0)
    count = len(errors) - len(perfect)
    text = (
        f"E_max is twice the error of {baseline.label} on this data, in {count} domains:"
        f" {score.heading} is at most {PERFECT * count:g} and compares with no score of other data"
        " or another baseline."
    )
    notes = [text]
    if perfect:
        notes.append(
            f"{baseline.label} makes no error on {', '.join(perfect)}, which leaves no E_max: the"
            f" domain is left out of {score.heading}."
        )
    return notes


def _on_setups(rows: Sequence[Row], entries: Sequence[Entry]) -> list[str]:
    """Names the setups of each name that has several, and the source of each group of rows."""
    notes = []
    sources = sources_of(entries)
    names = Counter(entry.name for entry in entries)
    for name in (name for name, count in names.items() if count > 1):
        same = [entry.setup for entry in entries if entry.name == name]
        texts = setups.differences(same, sources)
        notes.append(
            f"{name} was run with {len(same)} setups, a row each: {'; '.join(texts)}. The rows are"
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


def common_notes(entries: Sequence[Entry], baseline: Entry | None) -> list[str]:
    """Returns notes on what differs between runs that are shown together.

    Covers everything that can change a score: seeds left out, the baseline's source, training
    data, precision, number of processes, and whether the data is called official.
    """
    notes = [note for entry in entries for note in (*_on_seeds(entry), *_on_missing_val(entry))]
    if baseline is not None:
        notes += _on_source_of_baseline(baseline, entries)
    notes += _on_training_data(entries)
    for key, text in (("precision", "precision"), ("world_size", "number of processes")):
        notes += _on_environment(entries, key, text)
    for domain in dict.fromkeys(r.domain for entry in entries for r in entry.used):
        found = _by_value(entries, lambda r: "yes" if r.official else "no", domain)
        if len(found) > 1:
            notes.append(
                f"{domain}: records disagree on whether its data is official: {_values(found)}."
            )
    for entry in entries:
        nameless = sum(r.code is None for r in entry.used if r.trained)
        if entry.setup.code is not None and nameless:
            notes.append(
                f"{entry.label}: {nameless} of its records do not name the code that made them;"
                " they are taken to be of the same code."
            )
    return notes


def _on_seeds(entry: Entry) -> list[str]:
    """Names the seeds that were left out, and what each lacks."""
    notes = []
    for seed, records in entry.by_seed.items():
        if seed in entry.counted or not any(r.trained for r in records.values()):
            continue
        lacking = [name for name in entry.domains if name not in entry.known[seed]]
        unknown = [name for name in lacking if name in records]
        if not entry.counted or not lacking:
            continue
        why = f"lacks domains that others have ({', '.join(lacking)})"
        if len(unknown) == len(lacking):
            why = f"does not know the labels of {', '.join(unknown)}"
        notes.append(f"{entry.label}: seed {seed} {why} and is left out of the means.")
    return notes


def _on_missing_val(entry: Entry) -> list[str]:
    """Names domains that have no val and were therefore trained on train alone."""
    short = sorted({r.domain for r in entry.used if r.split == "test" and r.trained_on == "train"})
    return (
        [f"{entry.label}: {', '.join(short)} trained on train alone, since there is no val split."]
        if short
        else []
    )


def _on_source_of_baseline(baseline: Entry, entries: Sequence[Entry]) -> list[str]:
    groups = setups.source_groups([entry.setup for entry in (baseline, *entries)])
    sources = sources_of([baseline, *entries])
    others = [e.label for e in entries if groups[e.setup] != groups[baseline.setup]]
    text = (
        f"E_max rests on another source than these rows: it comes from {baseline.label}, with"
        f" {setups.in_words(baseline.setup, sources)}; they are {', '.join(dict.fromkeys(others))}."
    )
    return [text] if others else []


def _on_training_data(entries: Sequence[Entry]) -> list[str]:
    notes = []
    domains = dict.fromkeys(r.domain for e in entries for r in e.used if r.trained)
    for domain in domains:
        found = _by_value(entries, _training_data, domain)
        if len(found) > 1:
            notes.append(f"{domain}: not all were trained on the same data: {_values(found)}.")
    return notes


def _on_environment(entries: Sequence[Entry], key: str, text: str) -> list[str]:
    found = _by_value(entries, lambda record: str(record.environment.get(key, "not recorded")))
    return [f"The runs differ in {text}: {_values(found)}."] if len(found) > 1 else []


def _training_data(record: RunRecord) -> str | None:
    if not record.trained:
        return None
    used = record.trained_on.split("+")
    return " + ".join(f"{s} {record.data.get(s, 'unknown')[: setups.SHORT]}" for s in used)


def _by_value(
    entries: Sequence[Entry],
    value: Callable[[RunRecord], str | None],
    domain: str | None = None,
) -> dict[str, list[str]]:
    """Returns the labels of the entries that have each value of something."""
    found: dict[str, dict[str, None]] = {}
    for entry in entries:
        for record in entry.used:
            if domain in (None, record.domain) and (text := value(record)) is not None:
                found.setdefault(text, {})[entry.label] = None
    return {text: list(labels) for text, labels in found.items()}


def _values(found: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{value} ({', '.join(labels)})" for value, labels in found.items())


def _on_digests(entries: Sequence[Entry]) -> list[str]:
    records = {id(record): record for entry in entries for record in entry.used}
    without = sum(record.predictions is None for record in records.values())
    text = (
        f"{without} of {len(records)} records carry no digest of their predictions;"
        " `score --data DATA` checks their counts against the labels."
    )
    return [text] if without else []


def interval_note(rows: Sequence[Row]) -> str | None:
    """Returns what the intervals of a board cover, or None where there are none."""
    with_ci = [row for row in rows if row.ci is not None]
    few = [row.label for row in with_ci if len(row.seeds) < MIN_SEEDS]
    if not with_ci:
        return None
    text = "Intervals are 95 %."
    if few:
        who = "all" if len(few) == len(with_ci) else ", ".join(few)
        text += f" Fewer than {MIN_SEEDS} seeds ({who}): they cover the choice of images only."
    return text
