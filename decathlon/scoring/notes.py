"""What a reader of a board has to know, in sentences."""

from collections.abc import Callable, Collection, Sequence
from functools import partial

from decathlon.common.text import plural
from decathlon.results.controls import CONTROLS
from decathlon.results.records import RunRecord
from decathlon.scoring import setups
from decathlon.scoring.entries import MIN_SEEDS, Entry, sources_of
from decathlon.scoring.rows import Row
from decathlon.scoring.setups import Setup
from decathlon.suites.base import Suite
from decathlon.suites.score import PERFECT, Score
from decathlon.suites.subset import size_in_words


def notes_on(
    suite: Suite,
    split: str,
    rows: Sequence[Row],
    entries: Sequence[Entry],
    *,
    baseline: Entry | None,
    hint: str,
    hidden: int,
    audited: bool,
) -> list[str]:
    """Returns the notes of a board, beside what the check of its records found.

    Args:
        suite: The suite.
        split: Split that the runs were evaluated on.
        rows: The rows that are shown.
        entries: The records behind the runs among them.
        baseline: The entry that defines E_max, if one was named.
        hint: What to do where there are no runs.
        hidden: Number of published rows that are not shown.
        audited: Whether the records were checked against the labels.
    """
    # Without a score, a baseline defines nothing.
    baseline = baseline if suite.score else None
    on_val = suite.val_note or "these results compare with no published one."
    on_split = {
        "val": f"Validation split: {on_val}",
        "train": "Training split: these scores say nothing about unseen images.",
    }
    notes = [on_split[split]] if split in on_split else []
    if hint:
        notes.append(f"No runs of the {split} split here: {hint}.")
    if suite.score and baseline:
        notes += _on_baseline(baseline, suite.score)
    notes += _on_setups(rows, entries) + _on_routing(rows) + _on_subsets(rows)
    notes += _on_selection(entries)
    notes += common_notes(entries, baseline)
    notes += [
        f"{entry.label}: the {split} labels of {', '.join(entry.unknown)} are unknown:"
        " prepare the data with --labels and run again with --force."
        for entry in entries
        if entry.unknown
    ]
    records = {id(record): record for entry in entries for record in entry.used}
    without = sum(record.predictions is None for record in records.values())
    if without and not audited:
        notes.append(
            f"{without} of {len(records)} records carry no digest of their predictions;"
            " `score --data DATA` checks their counts against the labels."
        )
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


def _on_baseline(baseline: Entry, score: Score) -> list[str]:
    errors = baseline.mean_errors()
    perfect = sorted(name for name, error in errors.items() if error == 0)
    count = len(errors) - len(perfect)
    text = (
        f"E_max is twice the error of {baseline.label} on this data, in"
        f" {plural(count, 'domain')}: {score.heading} is at most {PERFECT * count:g} and compares"
        " with no score of other data or another baseline."
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
    by_name: dict[tuple[str, str], list[Setup]] = {}
    for entry in entries:
        by_name.setdefault((entry.name, entry.setup.subset), []).append(entry.setup)
    for (name, subset), same in by_name.items():
        if len(same) > 1:
            texts = setups.all_differing(same, sources)
            notes.append(
                f"{name}{f' [{subset}]' if subset else ''} was run with {len(same)} setups, a row"
                f" each: {'; '.join(texts)}. The rows are not averaged."
            )
    by_group: dict[int, tuple[Setup, list[str]]] = {}
    for row in rows:
        if row.setup is not None:
            by_group.setdefault(row.group, (row.setup, []))[1].append(row.label)
    if len(by_group) > 1:
        texts = [
            f"{setups.source_in_words(setup, sources)}: {', '.join(labels)}"
            for setup, labels in by_group.values()
        ]
        notes.append(
            "The runs do not all start from the same source network, so a difference between their"
            f" rows may be the source's: {'; '.join(texts)}."
        )
    return notes


def _on_routing(rows: Sequence[Row]) -> list[str]:
    """Says of each control of routing whose networks it evaluates, and how."""
    notes = []
    for row in rows:
        if row.setup is None or (routing := row.setup.routing) is None:
            continue
        notes.append(
            f"{row.label}: the networks of {routing.weights}, evaluated as a control:"
            f" {CONTROLS[routing.control]}{_times(routing.routes)}."
        )
        trained = [one.setup for one in rows if one.method == routing.weights and one.setup]
        if trained and not any(row.setup.evaluates(one) for one in trained):
            notes.append(
                f"{row.label}: {routing.weights} was trained in another way since, so they do not"
                " compare; evaluate the control again with --force."
            )
    return notes


def _on_selection(entries: Sequence[Entry]) -> list[str]:
    """Says of each row with chosen settings what they were chosen from, how, and which."""
    notes = []
    for entry in entries:
        if (how := entry.setup.selection) is None:
            continue
        found: dict[str, dict[str, None]] = {}
        for record in entry.used:
            if record.selection is not None:
                found.setdefault(record.selection.chosen_text, {})[record.domain] = None
        chosen = [f"{text} ({', '.join(domains)})" for text, domains in found.items()]
        notes.append(
            f"{entry.label}: settings chosen on {how.split} ({how.rule}) from"
            f" {plural(how.trials, 'point')} of {how.space_text}: {'; '.join(chosen)}."
        )
    return notes


def _times(routes: int) -> str:
    """Returns what averaging several routes costs; nothing for a single one."""
    text = f" (routes={routes}: the mean of {routes} draws, {routes} times the inference)"
    return text if routes > 1 else ""


def _on_subsets(rows: Sequence[Row]) -> list[str]:
    """Says for each subset of the training images what its rows are means over."""
    notes = []
    for subset in dict.fromkeys(row.subset for row in rows if row.subset and row.num_repetitions):
        found: dict[str, list[str]] = {}
        for row in rows:
            if row.subset == subset and row.num_repetitions:
                seeds, draws = plural(len(row.seeds), "seed"), plural(len(row.draws), "draw")
                numbers = f"{seeds} x {draws} of the images ({', '.join(map(str, row.draws))})"
                if len(row.seeds) * len(row.draws) != row.num_repetitions:
                    numbers = f"{row.num_repetitions} of {numbers}"
                found.setdefault(numbers, []).append(row.label)
        texts = list(found)
        if len(found) > 1:
            texts = [f"{numbers} in {', '.join(labels)}" for numbers, labels in found.items()]
        notes.append(f"{size_in_words(subset)}: means over {'; '.join(texts)}.")
    return notes


def common_notes(entries: Sequence[Entry], baseline: Entry | None) -> list[str]:
    """Returns notes on what differs between runs that are shown together.

    Covers everything that can change a score: seeds left out, the baseline's source, training
    data, precision, number of processes, and whether the data is called official.
    """
    notes = [note for entry in entries for note in (*_on_seeds(entry), *_on_missing_val(entry))]
    if baseline is not None:
        notes += _on_source_of_baseline(baseline, entries)
    used = [record for entry in entries for record in entry.used]
    for domain in dict.fromkeys(r.domain for r in used if r.trained):
        text = f"{domain}: not all were trained on the same data"
        notes += _if_mixed(text, entries, _training_data, domain)
    for key, text in (("precision", "precision"), ("world_size", "number of processes")):
        notes += _if_mixed(f"The runs differ in {text}", entries, partial(_environment, key))
    for domain in dict.fromkeys(r.domain for r in used):
        text = f"{domain}: records disagree on whether its data is official"
        notes += _if_mixed(text, entries, lambda r: "yes" if r.official else "no", domain)
        notes += _if_mixed(f"{domain}: images are cut from", entries, _crop, domain)
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
    for one, records in entry.by_repetition.items():
        lacking = [name for name in entry.domains if name not in entry.known[one]]
        if not lacking or not any(r.trained for r in records.values()):
            continue
        unknown = [name for name in lacking if name in records]
        why = f"lacks domains that others have ({', '.join(lacking)})"
        if len(unknown) == len(lacking):
            why = f"does not know the labels of {', '.join(unknown)}"
        notes.append(f"{entry.label}: {one} {why} and is left out of the means.")
    return notes


def _on_missing_val(entry: Entry) -> list[str]:
    """Names domains that have no val and were therefore trained on train alone."""
    short = sorted({r.domain for r in entry.used if r.split == "test" and r.trained_on == "train"})
    text = f"{entry.label}: {', '.join(short)} trained on train alone, since there is no val split."
    return [text] if short else []


def _on_source_of_baseline(baseline: Entry, entries: Sequence[Entry]) -> list[str]:
    groups = setups.source_groups([entry.setup for entry in (baseline, *entries)])
    sources = sources_of([baseline, *entries])
    others = [e.label for e in entries if groups[e.setup] != groups[baseline.setup]]
    text = (
        f"E_max rests on another source than these rows: it comes from {baseline.label}, with"
        f" {setups.source_in_words(baseline.setup, sources)}; they are"
        f" {', '.join(dict.fromkeys(others))}."
    )
    return [text] if others else []


def _environment(key: str, record: RunRecord) -> str:
    return str(record.environment.get(key, "not recorded"))


def _crop(record: RunRecord) -> str:
    return "their bounding boxes" if record.crop == "box" else "the whole image"


def _training_data(record: RunRecord) -> str | None:
    if not record.trained:
        return None
    used = record.trained_on.split("+")
    return " + ".join(f"{s} {record.data.get(s, 'unknown')[: setups.SHORT]}" for s in used)


def _if_mixed(
    text: str,
    entries: Sequence[Entry],
    value: Callable[[RunRecord], str | None],
    domain: str | None = None,
) -> list[str]:
    """Returns a note that lists the values of something, if the entries have several."""
    found: dict[str, dict[str, None]] = {}
    for entry in entries:
        for record in entry.used:
            if domain in (None, record.domain) and (one := value(record)) is not None:
                found.setdefault(one, {})[entry.label] = None
    values = "; ".join(f"{one} ({', '.join(labels)})" for one, labels in found.items())
    return [f"{text}: {values}."] if len(found) > 1 else []


def interval_note(rows: Sequence[Row], ranked: Collection[str] = ()) -> str | None:
    """Returns what the intervals of a board cover, or None where there are none.

    Args:
        rows: The rows that are shown.
        ranked: Labels of the runs with intervals of their ranks.
    """
    with_ci = [
        row for row in rows if row.ci or row.versus or (row.kind == "run" and row.label in ranked)
    ]
    few = [row.label for row in with_ci if row.num_repetitions < MIN_SEEDS]
    if not with_ci:
        return None
    text = "Intervals are 95 %."
    if few:
        who = "all" if len(few) == len(with_ci) else ", ".join(few)
        what = "seeds (or seeds x draws)" if any(row.subset for row in with_ci) else "seeds"
        text += f" Fewer than {MIN_SEEDS} {what} ({who}): they cover the choice of images only."
    return text


def rank_note(rows: Sequence[Row], ranked: Collection[str], suite: Suite) -> str | None:
    """Returns among which rows runs are ranked, or None where none is.

    Args:
        rows: The rows that are shown.
        ranked: Labels of the runs with intervals of their ranks.
        suite: The suite.
    """
    if not ranked:
        return None
    runs = [row for row in rows if row.kind == "run"]
    own = [row for row in runs if row.label in ranked]
    merit = suite.score.heading if suite.score else "mean accuracy"
    among = "the runs in the same group" if any(row.subset for row in own) else "the runs"
    text = f"Ranks are by {merit} among {among}, all drawn together on the same test images."
    subsets = {row.subset for row in own}
    lacking = [r.label for r in runs if r.label not in ranked and r.covered and r.subset in subsets]
    if lacking:
        text += f" {', '.join(lacking)}: no rank, for lack of domains that others have."
    if len(runs) < len(rows):
        text += " Published rows have no predictions to draw from, and no rank."
    return text


def cost_notes(rows: Sequence[Row], keys: Collection[str]) -> list[str]:
    """Returns what the columns of costs say, of those keys."""
    texts = {
        "flops": "GFLOPs: 10^9 operations by which a test image is classified, the mean over"
        " domains; a multiply-add counts as two (in `decathlon networks` as one). An image that is"
        " routed is counted on the path it takes, with its policy.",
        "memory": "peak MB: the highest memory of a trial, training and evaluation; allocated on a"
        " GPU, else resident in the process, with Python and torch.",
    }
    notes = [text for key, text in texts.items() if key in keys]
    if notes and any(row.kind == "run" and None in (row.flops, row.peak_memory) for row in rows):
        notes.append("Records of earlier versions do not tell what a trial cost.")
    return notes


def difference_note(rows: Sequence[Row]) -> str | None:
    """Returns what the differences of a board are to, or None where there are none."""
    compared = [row for row in rows if row.versus is not None]
    grouped = any(row.subset for row in compared)
    labels = dict.fromkeys(
        row.versus.name if grouped else row.versus.baseline for row in compared if row.versus
    )
    if not labels:
        return None
    base = f"{' or '.join(labels)}{' in the same group' if grouped else ''}"
    text = (
        f"vs. baseline: mean accuracy minus that of {base}, on the same test images, in accuracy"
        " points, over the domains that both have."
    )
    unlike: dict[str, list[str]] = {}
    for row in compared:
        for what in row.versus.unlike if row.versus else ():
            unlike.setdefault(what, []).append(row.label)
    if others := [f"another {what} than {', '.join(of)}" for what, of in unlike.items()]:
        text += f" The baseline has {' and '.join(others)}, so the difference may be due to that."
    return text
