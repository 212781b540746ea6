"""What was checked of a row, and what the checks found, in sentences."""

from decathlon.common.text import plural
from decathlon.scoring.entries import Entry
from decathlon.scoring.integrity import official_problem
from decathlon.scoring.notes import audit_note
from decathlon.scoring.rows import Row
from decathlon.scoring.site.contents import Site
from decathlon.scoring.site.places import Places


def checks_of(site: Site, places: Places, row: Row) -> list[str]:
    """Returns what was checked of a row, and what its board says of it."""
    entry = places.board.behind(row)
    if entry is None:
        return _of_published(row)
    own = f"{row.label}: "
    said = [note.removeprefix(own) for note in places.board.notes if note.startswith(own)]
    return _of_run(site, places, entry) + said


def _of_published(row: Row) -> list[str]:
    """Returns whether a printed score can follow from the printed accuracies."""
    if row.consistent is None or row.score_range is None:
        return ["Transcribed from the paper; nothing beside the printed numbers could be checked."]
    if row.consistent is False:
        return [audit_note(row).removeprefix(f"{row.label}: ")]
    low, high = row.score_range
    text = f"The printed score {row.score_printed:.0f} follows from the printed accuracies:"
    return [f"{text} rounded as they are, they allow {low:.1f} to {high:.1f}."]


def _of_run(site: Site, places: Places, entry: Entry) -> list[str]:
    records = entry.used
    without = sum(record.predictions is None for record in records)
    found = []
    if with_digest := len(records) - without:
        found.append(
            f"The predictions of {plural(with_digest, 'trial')} are those that the records were"
            " written with, by their SHA-256."
        )
    if without:
        found.append(f"{plural(without, 'record')} carry no digest of their predictions.")
    suite = places.board.suite
    unofficial = [record.domain for record in records if official_problem(record, suite)]
    found.append(
        f"Not on the official data: {', '.join(dict.fromkeys(unofficial))}."
        if unofficial
        else "All trials are on the official data, by their numbers of classes and images."
    )
    if (answers := site.answers.get(suite.name)) is None:
        found.append("No count was computed again: the labels were not at hand.")
        return found
    # Imported here: only a site with labels pays for numpy.
    from decathlon.scoring.audit import coverage

    return found + coverage(records, answers)
