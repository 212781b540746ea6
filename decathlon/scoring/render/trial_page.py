"""The report of one trial as one self-contained page without scripts.

Jinja2 escapes all names; see :mod:`decathlon.scoring.render.page`.
"""

import base64
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from decathlon.common.text import visible, visible_lines
from decathlon.data.reading.sheet import thumbnail
from decathlon.data.reading.store import open_store
from decathlon.scoring.predictions import lookup
from decathlon.scoring.render.page import image, page
from decathlon.scoring.render.trial_tables import (
    Table,
    class_table,
    confusion_table,
    control_table,
    facts_of,
    notes_of,
    provenance_of,
    routing_table,
)
from decathlon.scoring.report import TrialReport

EXAMPLES = 4
"""Images that are shown of a pair of confused classes."""
MOST_DRAWN = 200
"""Classes whose routing is drawn."""


def to_html(report: TrialReport) -> str:
    """Returns the report of a trial as a page of HTML.

    Raises:
        DataError: The images cannot be read.
    """
    record = report.record
    blocks = [("Record", json.dumps(provenance_of(report), indent=2, ensure_ascii=False))]
    if report.command:
        blocks.insert(0, ("The same trial again", report.command))
    return page(
        "trial.html",
        "board.css trial.css",
        title=visible(record.name),
        conditions=visible(f"{record.domain}, {record.split} split, seed {record.seed}"),
        facts=[(term, visible(value)) for term, value in facts_of(report).items() if value],
        notes=[visible(note) for note in notes_of(report)],
        sections=list(_sections(report)),
        blocks=[(heading, visible_lines(text)) for heading, text in blocks],
    )


def _sections(report: TrialReport) -> Iterable[dict[str, Any]]:
    """Yields title, text, table, pictures and figures of the page's parts."""
    # Imported here, as in :mod:`decathlon.scoring.render.page`: it needs matplotlib.
    from decathlon.scoring.figures import trials as figures

    if report.curve:
        yield {
            "title": "Training",
            "figures": [image(figures.curve(report.curve), "Training loss")],
        }
    if report.calibration is not None:
        text = "Accuracy over confidence, in 15 bins; larger points stand for more images"
        drawn = figures.reliability(report.calibration.bins)
        yield {"title": "Calibration", "figures": [image(drawn, text)]}
    if report.classes:
        yield {"title": "Classes", "table": _shown(class_table(report.classes))}
    if report.confusions:
        yield {
            "title": "Confusions",
            "text": f"The pairs of classes with most errors, and up to {EXAMPLES} images of each.",
            "table": _shown(confusion_table(report.confusions), (1,)),
            "pictures": _pictures(report),
        }
    if report.routing:
        several = report.routing[:MOST_DRAWN]
        text = "Share of images that took the fine-tuned path, by class and block"
        text += f", of the {MOST_DRAWN} first classes" * (len(report.routing) > MOST_DRAWN)
        yield {
            "title": "Routing of classes",
            "text": "The classes that differ most from all images come first.",
            "table": _shown(routing_table(report.routing), (2,)),
            "figures": [image(figures.routing(several, report.entry), text)],
        }
    if report.controls:
        yield {
            "title": "Controls of routing",
            "table": _shown(control_table(report.controls), (5,)),
        }


def _shown(table: Table, words: Iterable[int] = ()) -> dict[str, Any]:
    """Returns a table as the template takes it; columns of words are to the left."""
    rows = [tuple(map(visible, row)) for row in table.rows]
    return {"headings": table.headings, "rows": rows, "words": list(words)}


def _pictures(report: TrialReport) -> list[list[dict[str, str]]]:
    """Returns a few images of each confusion."""
    assert report.data is not None
    record = report.record
    images = open_store(report.data).images(record.domain, [record.split])
    order = np.argsort(images.image_ids)
    found = []
    for one in report.confusions:
        ids = np.array(one.image_ids[:EXAMPLES], dtype=np.int64)
        positions = order[lookup(images.image_ids[order], ids)[0]]
        found.append(
            [
                {
                    "source": "data:image/jpeg;base64,"
                    + base64.b64encode(thumbnail(images, int(position))).decode(),
                    "text": visible(f"{one.true}, image {number}"),
                }
                for position, number in zip(positions, ids.tolist(), strict=True)
            ]
        )
    return found
