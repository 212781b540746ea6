"""Which domains of a run are cut to bounding boxes."""

from collections.abc import Sequence

from decathlon.common.errors import UsageError
from decathlon.data.reading.store import Store
from decathlon.suites.base import Crop

_WITHOUT = (
    "prepared without bounding boxes; folders of images have none: if their images are cropped"
    " already, leave --crop box out, else prepare the official archives"
)


def check_crop(store: Store, domains: Sequence[str], crop: Crop) -> None:
    """Checks that ``--crop box`` has a domain to work on.

    Args:
        store: The data.
        domains: Prepared domains.
        crop: What images are cut from.

    Raises:
        UsageError: None of the domains has bounding boxes.
    """
    if crop == "image" or any(map(store.has_boxes, domains)):
        return
    lines = [f"--crop box: no domain of this run has bounding boxes in {store.data}"]
    if lacking := _lacking(store, domains):
        lines.append(f"{', '.join(lacking)}: {_WITHOUT}")
    else:
        known = [name for name, domain in store.suite.domains.items() if domain.box_views]
        those = f"those of {', '.join(known)} have" if known else "no domain has"
        lines.append(f"suite '{store.suite.name}': {those} them")
    raise UsageError("\n".join(lines))


def notes_on_crop(store: Store, domains: Sequence[str], crop: Crop) -> list[str]:
    """Returns notes on the domains whose whole images are used although boxes are asked for."""
    if crop == "image":
        return []
    lacking = _lacking(store, domains)
    others = [d for d in domains if d not in lacking and not store.has_boxes(d)]
    notes = [f"{', '.join(others)}: no bounding boxes, so whole images are used"] if others else []
    return notes + ([f"{', '.join(lacking)}: {_WITHOUT}"] if lacking else [])


def _lacking(store: Store, domains: Sequence[str]) -> list[str]:
    """Returns the domains whose official sets have boxes, but not this data."""
    known = store.suite.domains
    return [d for d in domains if d in known and known[d].box_views and not store.has_boxes(d)]
