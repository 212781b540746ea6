"""Several results folders and bundles, read as one results folder."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from decathlon.common.errors import DecathlonError, ResultError
from decathlon.results.bundle_files import RESULTS, unpack
from decathlon.results.card import Card
from decathlon.results.published import FOLDER, own_folders
from decathlon.results.records import (
    LONGEST,
    RECORD,
    find_records,
    is_name,
    read_placed,
    write_record,
)


@dataclass(frozen=True)
class Bundle:
    """A bundle that was gathered.

    Attributes:
        path: The archive.
        card: Its card.
        name: The name that its records have in it.
    """

    path: Path
    card: Card
    name: str


@dataclass(frozen=True)
class Gathered:
    """What was gathered.

    Attributes:
        results: The results folder to read.
        bundles: The bundles, by the name that their records have in ``results``.
        origins: Where the trials come from, by their folder in ``results``; empty if ``results``
            is the one folder that was given.
        given: What was gathered, in words.
    """

    results: Path
    bundles: Mapping[str, Bundle] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    given: str = ""

    def told(self, text: str) -> str:
        """Returns a message about ``results`` as one about what was given.

        Folders of trials become the folder or bundle that they come from.
        """
        if not self.given:
            return text
        if named := [folder for folder in self.origins if folder in text]:
            # In one pass, the name that begins first: a name may end with another one.
            root, folders = re.escape(f"{self.results}/"), "|".join(map(re.escape, named))
            place = re.compile(rf"(?:{root}|(?<![\w/]))({folders})(?!\w)")
            text = place.sub(lambda found: self.origins[found[1]], text)
        return text.replace(str(self.results), self.given)

    def told_all(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Does the same for several messages."""
        return tuple(map(self.told, texts))


@contextmanager
def gathered(paths: Sequence[Path]) -> Iterator[Gathered]:
    """Yields one results folder with the records of several folders and bundles.

    One results folder is yielded as it is. Otherwise there is a temporary folder of links, which
    goes away with the block. A bundle's records have a name of their own there, after the label on
    its card. Records of one name in several folders stay together, unless two folders hold the
    same trial: then the name in the later folder gets a number. Rows of the literature in a
    folder's ``published`` stay in force.

    Errors that are raised in the block name the folders and bundles that were given, not the
    temporary folder.

    Args:
        paths: Results folders, bundles as ``decathlon bundle`` writes them, and folders of
            bundles.

    Raises:
        ResultError: One is none of these, or a bundle or a record is not valid.
    """
    if len(paths) == 1 and not paths[0].is_file() and not _bundles_in(paths[0]):
        yield Gathered(paths[0])
        return
    given = " and ".join(map(str, paths))
    with TemporaryDirectory(prefix="decathlon-") as folder:
        place = Path(folder)
        results = place / RESULTS
        results.mkdir()
        layout = _Layout(results)
        try:
            for path in (path for path in paths if path.is_dir()):
                layout.add_folder(path)
            bundles = [one for path in paths for one in _bundles_in(path) or [path]]
            for number, path in enumerate(path for path in bundles if not path.is_dir()):
                layout.add_bundle(path, place / str(number))
            yield Gathered(results, layout.bundles, layout.origins, given)
        except DecathlonError as error:
            told = Gathered(results, layout.bundles, layout.origins, given).told(str(error))
            for unpacked, path in layout.unpacked.items():
                told = told.replace(f"{unpacked}/", f"{path}: ")
            error.args = (told,)
            raise


def _bundles_in(folder: Path) -> list[Path]:
    """Returns the bundles in a folder without records; archives beside records are no input."""
    bundles = sorted(folder.glob("*.zip")) if folder.is_dir() else []
    return bundles if bundles and next(find_records(folder), None) is None else []


class _Layout:
    """A results folder of links to the files of others."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.bundles: dict[str, Bundle] = {}
        self.origins: dict[str, str] = {}
        self.unpacked: dict[Path, Path] = {}

    def add_folder(self, folder: Path) -> None:
        """Adds the records and the published rows of a results folder."""
        by_name: dict[str, list[Path]] = {}
        for record in find_records(folder):
            trial = record.parent.relative_to(folder)
            by_name.setdefault(trial.parts[0], []).append(trial)
        for name, trials in by_name.items():
            clash = any(str(trial) in self.origins for trial in trials)
            new = self._free(name) if clash else name
            for trial in trials:
                self._add(folder, trial, new, str(folder / trial))
        for suite, rows in own_folders(folder).items():
            target = self.results / FOLDER / suite
            target.mkdir(parents=True, exist_ok=True)
            for row in rows.glob("*.json"):
                _link(row, target / row.name)

    def add_bundle(self, path: Path, unpacked: Path) -> None:
        """Adds the records of a bundle under a name of their own."""
        if not path.exists():
            raise ResultError(
                f"{path}: no such results folder or bundle; `decathlon run` makes folders,"
                " `decathlon bundle` bundles"
            )
        unpacked.mkdir()
        self.unpacked[unpacked] = path
        card = unpack(path, unpacked)
        name = self._free(_folder_name(card.label))
        for record in find_records(unpacked / RESULTS):
            trial = record.parent.relative_to(unpacked / RESULTS)
            self._add(unpacked / RESULTS, trial, name, f"{path}: {RESULTS}/{trial}")
            self.bundles[name] = Bundle(path, card, trial.parts[0])

    def _add(self, folder: Path, trial: Path, name: str, origin: str) -> None:
        """Links one trial, whose record gets another name if it is to have one."""
        new = Path(name, *trial.parts[1:])
        target = self.results / new
        if name == trial.parts[0]:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to((folder / trial).absolute(), target_is_directory=True)
        else:
            record = read_placed(folder, folder / trial / RECORD)
            write_record(self.results, record.model_copy(update={"name": name}))
            for file in (folder / trial).iterdir():
                _link(file, target / file.name)
        self.origins[str(new)] = origin

    def _free(self, name: str) -> str:
        """Returns a name, numbered if another has it, on file systems without upper case too."""
        taken = {Path(folder).parts[0].casefold() for folder in self.origins}
        number, free = 1, name
        while free.casefold() in taken:
            number += 1
            free = f"{_cut(name)} ({number})"
        return free


def _link(file: Path, target: Path) -> None:
    if not target.exists():
        target.symlink_to(file.absolute())


def _folder_name(label: str) -> str:
    """Returns a label as a name in the results."""
    text = "".join(c if c.isprintable() and c != "/" else "_" for c in label).lstrip(".")
    name = _cut(text).strip()
    return name if is_name(name) else f"bundle {name}".strip()


def _cut(text: str) -> str:
    """Cuts a name so that a number fits behind it."""
    return text.encode()[: LONGEST - 10].decode(errors="ignore")
