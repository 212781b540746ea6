"""A data folder described in Croissant, the metadata format of MLCommons, version 1.0.

The description lists every shard with its size and digest, and holds what Croissant can hold
itself: the splits, the number of images in each, and the classes. Croissant has no way to say
where in an HDF5 file a value lies (mlcommons/croissant, issue 697), so the records of the images
are described in words only; a consumer would fail to read them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from decathlon.common.errors import DataError
from decathlon.common.files import digest_of
from decathlon.data.manifest import DomainEntry, Manifest, SourceEntry, intact
from decathlon.data.reading.store import Store, open_store
from decathlon.data.shard import FORMAT
from decathlon.suites.base import Suite

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context of the specification, as it is: consumers warn about any other."""
_TERMS = "The images belong to their owners; each data set has its own terms."
_LAYOUT = (
    "A file holds all or some images of one domain and split, in HDF5: 'pixels' (uint8, RGB, row by"
    " row, one image after the other) and, for each image, 'offset', 'height', 'width', 'label',"
    " 'image_id' and 'crc32'. A label of -1 is unknown. Croissant cannot describe what is inside"
    " HDF5 files: read them with h5py, or with decathlon.load."
)
_ROLES = {"train": "TrainingSplit", "val": "ValidationSplit", "test": "TestSplit"}
"""The splits in the words of Croissant."""


def croissant(data: Path) -> str:
    """Returns the description of a data folder, as JSON-LD.

    Equal data gives equal text. Paths are relative to the folder: that is where the description
    belongs.

    Args:
        data: The data folder.

    Raises:
        DataError: Nothing is prepared there, or what is prepared is damaged.
    """
    store = open_store(data)
    for listed in store.manifest.shards():
        if listed.shard.coming or not intact(data, listed.shard):
            raise DataError(
                f"{data / listed.shard.file}: is damaged, or its labels are half written, so it is"
                " not the file that the manifest lists; run 'decathlon prepare' again"
            )
    return json.dumps(_described(store), indent=2, ensure_ascii=False) + "\n"


def _described(store: Store) -> dict[str, Any]:
    suite, manifest = store.suite, store.manifest
    digests = [listed.shard.sha256 for listed in manifest.shards()]
    domains = suite.in_order(store.domains)
    known = [name for name in domains if name in suite.domains]
    cited = _citations(suite, known)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": suite.name if known else ", ".join(domains),
        "description": " ".join(_words(suite, domains, known)),
        "license": _TERMS,
        **({"citeAs": cited} if cited else {}),
        "version": f"{FORMAT}.0.0+{digest_of(digests)[:16]}",
        "isBasedOn": _sources(suite, manifest),
        "distribution": _files(manifest),
        "recordSet": [
            _splits(),
            _contents(suite, store.domains),
            *(_classes(name, store.domains[name]) for name in domains),
        ],
    }


def _words(suite: Suite, domains: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    """Yields the sentences of the description; ``known`` are the suite's own domains."""
    if known:
        yield f"{suite.title}: {suite.text}. Domains here: {', '.join(known)}."
    if own := [name for name in domains if name not in known]:
        yield f"Other images in the same format: {', '.join(own)}."
    yield f"The short side of all images is {suite.side} pixels."
    yield _LAYOUT


def _citations(suite: Suite, known: Sequence[str]) -> str:
    """Returns what to cite for a suite and these domains of it as BibTeX, each text once."""
    texts = (suite.bibtex, *(suite.domains[name].bibtex for name in known)) if known else ()
    return "\n\n".join(dict.fromkeys(text.strip() for text in texts if text))


def _sources(suite: Suite, manifest: Manifest) -> list[dict[str, Any]]:
    """Describes the archives and folders that the data was prepared from, without local paths."""
    official = {archive.sha256: archive.url for archive in suite.official if archive.url}
    found: dict[str, SourceEntry] = {}
    for entry in manifest.domains.values():
        found.update({source.sha256: source for source in entry.sources})
    works = []
    for digest, source in sorted(found.items(), key=lambda pair: (pair[1].file, pair[0])):
        work = {"@type": "sc:CreativeWork", "name": source.file, "identifier": f"sha256:{digest}"}
        works.append(work | ({"url": official[digest]} if digest in official else {}))
    return works


def _files(manifest: Manifest) -> list[dict[str, Any]]:
    files = []
    for listed in manifest.shards():
        shard, split = listed.shard, listed.domain.splits[listed.split]
        labels = "with labels" if split.labelled else "without labels"
        files.append(
            {
                "@type": "cr:FileObject",
                "@id": shard.file,
                "name": shard.file,
                "description": f"{shard.num_images} images of {listed.name}, {listed.split},"
                f" {labels}",
                "contentUrl": shard.file,
                "contentSize": f"{shard.size} B",
                "encodingFormat": "application/x-hdf5",
                "sha256": shard.sha256,
            }
        )
    return files


def _splits() -> dict[str, Any]:
    return _records(
        "splits",
        "The splits, and what they are for.",
        {"name": "sc:Text", "url": "sc:URL"},
        [(split, f"{_CONTEXT['cr']}{role}") for split, role in _ROLES.items()],
        keys=("name",),
        kind="cr:Split",
    )


def _contents(suite: Suite, domains: Mapping[str, DomainEntry]) -> dict[str, Any]:
    return _records(
        "contents",
        "The number of images in each split; whether their labels are known, and whether classes,"
        " counts and images are the official ones of the suite.",
        {
            "domain": "sc:Text",
            "split": "sc:Text",
            "images": "sc:Integer",
            "labelled": "sc:Boolean",
            "official": "sc:Boolean",
        },
        [
            (name, split, found.num_images, found.labelled, domains[name].official)
            for name in suite.in_order(domains)
            for split, found in domains[name].splits.items()
        ],
        keys=("domain", "split"),
    )


def _classes(name: str, entry: DomainEntry) -> dict[str, Any]:
    return _records(
        f"{name}/classes",
        f"The classes of {name}: label in the files, name, and category id in the annotations.",
        {"label": "sc:Integer", "name": "sc:Text", "category_id": "sc:Integer"},
        [
            (label, *facts)
            for label, facts in enumerate(zip(entry.class_names, entry.category_ids, strict=True))
        ],
        keys=("label",),
        kind="sc:Enumeration",
    )


def _records(
    name: str,
    text: str,
    fields: Mapping[str, str],
    rows: Sequence[tuple[Any, ...]],
    *,
    keys: Sequence[str],
    kind: str = "",
) -> dict[str, Any]:
    """Describes a table that the description holds itself.

    Args:
        name: Its name.
        text: What it holds.
        fields: Data type by field.
        rows: The values, in the order of the fields.
        keys: The fields that identify a row.
        kind: Data type of the whole; empty for a plain table.
    """
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": text,
        **({"dataType": kind} if kind else {}),
        "key": [{"@id": f"{name}/{key}"} for key in keys],
        "field": [
            {"@type": "cr:Field", "@id": f"{name}/{field}", "name": field, "dataType": of}
            for field, of in fields.items()
        ],
        "data": [
            {f"{name}/{field}": value for field, value in zip(fields, row, strict=True)}
            for row in rows
        ],
    }
