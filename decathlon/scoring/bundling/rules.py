"""The protocol's rules, of the records of one row."""

from collections.abc import Iterator, Sequence

from decathlon.common.errors import first_difference
from decathlon.results.card import Card
from decathlon.results.records import RunRecord
from decathlon.scoring.bundling.cards import facts_of, trial_of
from decathlon.scoring.bundling.points import Point
from decathlon.scoring.integrity import official_problem
from decathlon.scoring.setups import Setup, all_differing, by_setup
from decathlon.suites.base import SPLITS, Suite


def check_rules(card: Card, records: Sequence[RunRecord], suite: Suite) -> list[Point]:
    """Checks everything that records and card say by themselves.

    Args:
        card: The card.
        records: The records beside it, of one suite and split; at least one.
        suite: Their suite.
    """
    setups = by_setup(records, suite)
    return [
        Point.of("card", "says what the records say", _on_card(card, setups[0][0], records, suite)),
        Point.of("setup", "one for all records", _on_setups(setups)),
        Point.of("training", _training(records), _on_training(records, suite)),
        Point.of("selection", _selection(records), _on_selection(records)),
        Point.of("domains", _domains(records, suite), ()),
        Point.of("seeds", _seeds(records), _on_seeds(records)),
        Point.of("data", _data(records), _on_data(records, suite)),
    ]


def _on_card(card: Card, setup: Setup, records: Sequence[RunRecord], suite: Suite) -> Iterator[str]:
    said = card.as_json()
    for field, value in facts_of(setup, records, suite).items():
        if said[field] != value:
            wording = "is {} on the card, {} in the records"
            yield first_difference(said[field], value, field, wording)


def _on_setups(setups: Sequence[tuple[Setup, list[RunRecord]]]) -> Iterator[str]:
    if len(setups) < 2:
        return
    texts = all_differing([setup for setup, _ in setups], [setup.source for setup, _ in setups])
    for (_, records), text in zip(setups, texts, strict=True):
        more = f" and {len(records) - 1} more" if len(records) > 1 else ""
        yield f"{trial_of(records[0])}{more}: {text}"


def _training(records: Sequence[RunRecord]) -> str:
    found = dict.fromkeys(record.trained_on for record in records if record.trained)
    return f"on {' or '.join(found)}" if found else "nothing was trained"


def _on_training(records: Sequence[RunRecord], suite: Suite) -> Iterator[str]:
    for record in records:
        expected: tuple[str, ...] = suite.trained_on.get(record.split, ()) if record.trained else ()
        # Data without val is trained on train alone.
        if "val" not in record.data and not _has_val(record, suite):
            expected = tuple(split for split in expected if split != "val")
        if record.trained_on != "+".join(expected):
            yield (
                f"{trial_of(record)}: trained_on is '{record.trained_on}', has to be"
                f" '{'+'.join(expected)}' for results on {record.split}"
            )
        if not record.trained and record.domain != suite.source:
            yield (
                f"{trial_of(record)}: says that nothing was trained, which a record can say of the"
                f" suite's source domain only ({suite.source or 'it has none'})"
            )
        splits = {*filter(None, record.trained_on.split("+")), record.split}
        if record.data.keys() != splits:
            listed = ", ".join(sorted(record.data)) or "no split"
            yield (
                f"{trial_of(record)}: data has digests of {listed}, has to have those of"
                f" {', '.join(sorted(splits))}"
            )


def _has_val(record: RunRecord, suite: Suite) -> bool:
    """Returns whether a record is of official data that has a val split."""
    if not record.official or record.domain not in suite.domains:
        return False
    return bool(suite.held_out or suite.domains[record.domain].sizes[SPLITS.index("val")])


def _selection(records: Sequence[RunRecord]) -> str:
    found = [record.selection for record in records if record.selection]
    if not found:
        return "all settings were given"
    return f"{found[0]}, chosen on {found[0].split}"


def _on_selection(records: Sequence[RunRecord]) -> Iterator[str]:
    for record in records:
        if record.selection is None:
            continue
        if record.selection.split == record.split:
            yield f"{trial_of(record)}: settings were chosen on {record.split}, which is reported"
        for name, value in record.selection.chosen.items():
            setting, _, domain = name.partition(".")
            used = record.recipe.get(setting)
            used = used.get(domain) if domain and isinstance(used, dict) else used
            if used != value:
                wording = "was chosen as {}, and the recipe has {}"
                yield f"{trial_of(record)}: {first_difference(value, used, name, wording)}"


def _domains(records: Sequence[RunRecord], suite: Suite) -> str:
    found = {record.domain for record in records}
    missing = [name for name in suite.domains if name not in found]
    other = sorted(found - suite.domains.keys())
    parts = [f"{len(suite.domains) - len(missing)} of {len(suite.domains)}"]
    parts += [f"missing: {', '.join(missing)}"] if missing else []
    parts += [f"not of the suite: {', '.join(other)}"] if other else []
    return "; ".join(parts)


def _repetitions(records: Sequence[RunRecord]) -> dict[tuple[int, str], set[str]]:
    """Returns the domains that were trained for, by seed and subset of the training images."""
    found: dict[tuple[int, str], set[str]] = {}
    for record in records:
        if record.trained:
            found.setdefault((record.seed, record.subset), set()).add(record.domain)
    return found


def _seeds(records: Sequence[RunRecord]) -> str:
    found = sorted({record.seed for record in records})
    return ", ".join(map(str, found))


def _on_seeds(records: Sequence[RunRecord]) -> Iterator[str]:
    found = _repetitions(records)
    every = set().union(*found.values())
    for (seed, subset), domains in sorted(found.items()):
        if missing := sorted(every - domains):
            which = f"seed {seed}" + (f" of {subset}" if subset else "")
            yield f"{which}: has no record of {', '.join(missing)}, which others have"


def _data(records: Sequence[RunRecord]) -> str:
    official = {record.official for record in records}
    if len(official) == 2:
        return "partly official"
    return "official" if official == {True} else "not the official data"


def _on_data(records: Sequence[RunRecord], suite: Suite) -> Iterator[str]:
    first: dict[tuple[str, str], RunRecord] = {}
    for record in records:
        if record.official and (problem := official_problem(record, suite)):
            yield problem.replace(f"{record.folder}: ", f"{trial_of(record)}: ")
        if record.official and record.num_trained is not None and not record.subset:
            yield from _on_amount(record, suite)
        for split, digest in record.data.items():
            other = first.setdefault((record.domain, split), record)
            if other.data[split] != digest:
                yield (
                    f"{trial_of(record)}: data.{split} is {digest[:12]}..., that of"
                    f" {trial_of(other)} {other.data[split][:12]}..."
                )
        other = first.setdefault((record.domain, ""), record)
        for field in ("num_classes", "total", "official"):
            ours, theirs = getattr(record, field), getattr(other, field)
            if ours != theirs and None not in (ours, theirs):
                yield f"{trial_of(record)}: {field} is {ours}, that of {trial_of(other)} {theirs}"


def _on_amount(record: RunRecord, suite: Suite) -> Iterator[str]:
    """Says if another number of images was trained on than the official splits have."""
    if record.domain not in suite.domains or suite.held_out:
        return
    sizes = dict(zip(SPLITS, suite.domains[record.domain].sizes, strict=True))
    trained = sum(sizes.get(split, 0) for split in record.trained_on.split("+"))
    if record.num_trained != trained:
        yield (
            f"{trial_of(record)}: num_trained is {record.num_trained}, the official"
            f" {record.trained_on} {'have' if '+' in record.trained_on else 'has'} {trained} images"
        )
