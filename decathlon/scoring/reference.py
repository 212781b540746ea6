"""Which run the others are compared with, where a suite has no score."""

from collections.abc import Iterable, Mapping

from decathlon.scoring import setups
from decathlon.scoring.entries import Entry

REFERENCE = "fine-tuning"
"""The name compared with where no other is given."""


def references(entries: Mapping[str, Entry], base: Entry | None) -> dict[str, Entry]:
    """Returns what to compare each entry with, by the entry's label.

    That is the run of the baseline's name with the same subset of the training images. If there
    are several, it is the one with the same source, then the one with the same crop. If there is
    one only, its source and crop may be others; a note then says so
    (:func:`decathlon.scoring.notes.difference_note`). An entry that leaves a choice, or none, is
    not compared.

    Args:
        entries: All entries by label.
        base: The entry that was named, which its own subset is compared with; None for
            :data:`REFERENCE`.
    """
    named = [e for e in entries.values() if e.name == (base.name if base else REFERENCE)]
    groups = setups.source_groups([entry.setup for entry in entries.values()])
    found = {}
    for label, entry in entries.items():
        own = entry.setup
        fitting = [e for e in named if e.setup.subset == own.subset and e.domains]
        for alike in (
            [e for e in fitting if e is base],
            [e for e in fitting if groups[e.setup] == groups[own]],
            [e for e in fitting if e.setup.crop == own.crop],
        ):
            if len(fitting) > 1 and alike:
                fitting = [e for e in fitting if e in alike]
        if len(fitting) == 1 and fitting[0] is not entry:
            found[label] = fitting[0]
    return found


def ambiguous(entries: Iterable[Entry], found: Mapping[str, Entry]) -> list[str]:
    """Returns the labels of entries that several runs of :data:`REFERENCE` leave without one."""
    every = list(entries)
    names = [e for e in every if e.name == REFERENCE]
    return [
        e.label
        for e in every
        if e.label not in found
        and e.name != REFERENCE
        and sum(one.setup.subset == e.setup.subset for one in names) > 1
    ]
