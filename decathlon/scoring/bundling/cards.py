"""The card that belongs to the records of one row."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from decathlon import __version__
from decathlon.results.card import Card
from decathlon.results.records import RunRecord
from decathlon.scoring.setups import Setup
from decathlon.suites.base import Suite


def card_of(
    setup: Setup,
    records: Sequence[RunRecord],
    suite: Suite,
    *,
    label: str,
    authors: Sequence[str] = (),
    links: Mapping[str, str] | None = None,
    bibtex: str = "",
) -> Card:
    """Returns the card of a row.

    Args:
        setup: How its records were made.
        records: The records, of one suite and split.
        suite: Their suite.
        label: What the row is called.
        authors: Names, as given.
        links: Web addresses by what they lead to.
        bibtex: An entry to cite.

    Raises:
        ValidationError: What the authors say does not fit on a card.
    """
    return Card(
        label=label,
        authors=tuple(authors),
        links=dict(links or {}),
        bibtex=bibtex,
        suite=suite.name,
        split=records[0].split,  # type: ignore[arg-type]
        method=setup.method,
        code=setup.code,
        settings=setup.recipe,
        chosen={trial_of(r): r.selection.chosen for r in records if r.selection},
        selection=setup.selection,
        subset=setup.subset,
        crop=setup.crop,  # type: ignore[arg-type]
        routing=setup.routing,
        network=setup.network,
        source=setup.source,
        decathlon=__version__,
    )


def trial_of(record: RunRecord) -> str:
    """Returns which trial of its row a record is: ``dtd/test/seed0``."""
    return PurePath(*record.folder.parts[1:]).as_posix()
