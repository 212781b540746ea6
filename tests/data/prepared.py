"""A folder of the fine-grained sets' archives, and what was made of it."""

from decathlon.data.manifest import DomainEntry
from decathlon.data.preparing.prepare import Prepared
from decathlon.data.preparing.prepare import prepare as prepare_any
from decathlon.data.reading.store import Images, open_store
from decathlon.suites.fine_grained import SUITE
from tests.data.fine_grained import Fine


def prepare(fine: Fine, name: str = "data", **options: object) -> Prepared:
    data = fine.folder.parent / name
    return prepare_any(fine.folder, data, suite=SUITE, jobs=0, **options)  # type: ignore[arg-type]


def entry(fine: Fine, domain: str, name: str = "data") -> DomainEntry:
    return open_store(fine.folder.parent / name).domains[domain]


def images(fine: Fine, domain: str, split: str, name: str = "data") -> Images:
    return open_store(fine.folder.parent / name).images(domain, [split])


def counts(fine: Fine, domain: str, name: str = "data") -> dict[str, int]:
    return {split: e.num_images for split, e in entry(fine, domain, name).splits.items()}


def pixels(fine: Fine, domain: str, split: str, name: str = "data") -> dict[bytes, int]:
    """Labels by the images' pixels: what the split holds, whatever its order."""
    found = images(fine, domain, split, name)
    return {found.pixels(k).tobytes(): int(found.labels[k]) for k in range(len(found))}


def same(fine: Fine, domain: str, other: str) -> None:
    for split in ("train", "val", "test"):
        assert pixels(fine, domain, split) == pixels(fine, domain, split, other)
