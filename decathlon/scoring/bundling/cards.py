"""What the card of a bundle repeats of the records of its row."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from decathlon.results.records import RunRecord
from decathlon.scoring.setups import Setup
from decathlon.suites.base import Suite


def facts_of(setup: Setup, records: Sequence[RunRecord], suite: Suite) -> dict[str, Any]:
    """Returns the fields of a card that the records of a row decide, as JSON values.

    Args:
        setup: How the records were made.
        records: The records, of one suite and split.
        suite: Their suite.
    """
    models = {"code": setup.code, "selection": setup.selection, "routing": setup.routing}
    return {
        "suite": suite.name,
        "split": records[0].split,
        "method": setup.method,
        "settings": setup.recipe,
        "chosen": {trial_of(r): r.selection.chosen for r in records if r.selection},
        "subset": setup.subset,
        "crop": setup.crop,
        "network": setup.network,
        "source": setup.source,
    } | {name: model and model.model_dump(mode="json") for name, model in models.items()}


def trial_of(record: RunRecord) -> str:
    """Returns which trial of its row a record is: ``dtd/test/seed0``."""
    return PurePath(*record.folder.parts[1:]).as_posix()
