"""Writing a bundle: the records of one row, their predictions and logs, and a card."""

import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from decathlon.common.errors import ResultError, UsageError, fault_lines
from decathlon.common.files import replacing
from decathlon.results.bundle_files import LIMITS, RESULTS, SOURCES, is_network
from decathlon.results.card import CARD, Card
from decathlon.results.records import PREDICTIONS, RECORD, WEIGHTS, RunRecord
from decathlon.scoring.bundling.cards import card_of
from decathlon.scoring.entries import Entry, find_entry, read_entries, suite_of
from decathlon.suites.base import Suite

_DATE = (1980, 1, 1, 0, 0, 0)
"""Fixed, so that equal records give equal bytes."""


@dataclass(frozen=True)
class Authorship:
    """What the authors of a row say of it.

    Attributes:
        label: What it is to be called; empty for its name.
        authors: Their names.
        paper: Web address of the paper; empty if there is none.
        bibtex: An entry to cite; empty if there is none.
    """

    label: str = ""
    authors: tuple[str, ...] = ()
    paper: str = ""
    bibtex: str = ""


@dataclass(frozen=True)
class Bundled:
    """What was written.

    Attributes:
        path: The bundle.
        card: Its card.
        records: Its records.
        left_out: Records of seeds that lack domains which others have.
        without_weights: Records whose network is not there, if networks were asked for.
    """

    path: Path
    card: Card
    records: tuple[RunRecord, ...]
    left_out: tuple[RunRecord, ...] = ()
    without_weights: tuple[RunRecord, ...] = ()


def write_bundle(
    results: Path,
    name: str,
    out: Path,
    authorship: Authorship | None = None,
    *,
    split: str = "test",
    suite: Suite | None = None,
    weights: bool = False,
) -> Bundled:
    """Writes the records of one row as a bundle; equal input gives equal bytes.

    Args:
        results: The folder of records.
        name: The method's or variant's name, or a row's label.
        out: The zip archive to write.
        authorship: What the card says of the authors.
        split: Split of the records.
        suite: The suite; by default, that of the records.
        weights: Also pack the networks, and the source network.

    Raises:
        UsageError: There is no such row, the name was run with several setups, or what the
            authors say does not fit on a card.
        ResultError: A record or its predictions are missing or not valid.
    """
    suite = suite or suite_of(results)
    entry = find_entry(read_entries(results, split, suite), name, results, split)
    records = sorted(entry.used, key=lambda record: record.folder)
    card = _card(entry, records, suite, authorship or Authorship())
    files = [file for record in records for file in _files(results, record, weights)]
    if weights:
        networks = [results / file for file in files if is_network(file)]
        if not networks:
            raise UsageError(
                f"{results}: there is no {WEIGHTS} of '{entry.label}'; leave out --weights"
            )
        files += _sources(results, networks)
    with replacing(out) as part:
        _write(part, card, results, files)
    return Bundled(
        out,
        card,
        tuple(records),
        tuple(record for record in entry.records if record not in records),
        tuple(r for r in records if weights and f"{r.folder}/{WEIGHTS}" not in files),
    )


def _card(entry: Entry, records: Sequence[RunRecord], suite: Suite, said: Authorship) -> Card:
    try:
        return card_of(
            entry.setup,
            records,
            suite,
            label=said.label or entry.name,
            authors=said.authors,
            links={"paper": said.paper} if said.paper else {},
            bibtex=said.bibtex,
        )
    except ValidationError as error:
        problems = fault_lines(error.errors(include_url=False), "card")
        raise UsageError(f"this does not fit on the card of a bundle:\n{problems}") from None


def _files(results: Path, record: RunRecord, weights: bool) -> Iterator[str]:
    """Yields the files of one trial, relative to the results folder."""
    for name in (*LIMITS, *([WEIGHTS] if weights else ())):
        path = results / record.folder / name
        if path.is_file():
            limit = LIMITS.get(name)
            if limit is not None and path.stat().st_size > limit:
                raise ResultError(f"{path}: has more than the {limit:,} bytes a bundle can hold")
            yield f"{record.folder}/{name}"
        elif name in (RECORD, PREDICTIONS):
            raise ResultError(f"{path}: missing; run the trial again with --force")


def _sources(results: Path, networks: Sequence[Path]) -> list[str]:
    """Returns the files of the networks and trunks that some networks share tensors with."""
    found: dict[str, None] = {}
    for path in networks:
        header = _header(path)
        for key in ("source", "trunk"):
            if digest := header.get(key):
                found[f"{SOURCES}/{digest}.safetensors"] = None
    for file in found:
        if not (results / file).is_file():
            raise ResultError(
                f"{results / file}: missing, and the networks of this row rest on it; put it back,"
                " or leave out --weights"
            )
    return list(found)


def _header(path: Path) -> Mapping[str, str]:
    """Returns what a trial's weights say of themselves, without torch."""
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(json.loads(file.metadata()["decathlon"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ResultError(
            f"{path}: not the weights of a trial ({error}); run the trial again with --force"
        ) from None


def _write(path: Path, card: Card, results: Path, files: Sequence[str]) -> None:
    text = json.dumps(card.as_json(), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(_member(CARD), text)
        for file in files:
            member = _member(f"{RESULTS}/{file}")
            member.file_size = (results / file).stat().st_size  # large ones need another format
            with (results / file).open("rb") as source, archive.open(member, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _DATE)
    member.compress_type = zipfile.ZIP_STORED if is_network(name) else zipfile.ZIP_DEFLATED
    member.create_system = 3
    member.external_attr = 0o100644 << 16
    return member
