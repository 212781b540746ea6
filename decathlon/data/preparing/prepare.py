"""``prepare``: images in any form to shards. It does only what is not done yet.

The flow, one module each:

* :mod:`decathlon.data.sources` lists domains (annotations) and yields image files (supplies);
* :mod:`~decathlon.data.preparing.from_readers` and :mod:`~decathlon.data.preparing.offers` tell
  which domains of readers and of the user's own folders are out of date, and write them;
* :class:`~decathlon.data.preparing.folder_writer.FolderWriter` takes domains and supplies,
  makes one :class:`~decathlon.data.preparing.domain_job.DomainJob` per domain, and writes the
  manifest at the end;
* :class:`~decathlon.data.preparing.filling.Filling` sends image files to the processes of
  :mod:`~decathlon.data.preparing.decoding`, which write pixels to the files of
  :class:`~decathlon.data.preparing.shard_writer.ShardWriter`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from decathlon.common.errors import DataError, UsageError, nearest
from decathlon.common.locks import exclusive
from decathlon.common.oserrors import explained
from decathlon.data.manifest import Manifest, whole
from decathlon.data.preparing.domain_job import same_plan
from decathlon.data.preparing.folder_writer import FolderWriter
from decathlon.data.preparing.from_readers import write_read
from decathlon.data.preparing.labelling import SPLIT, add_labels
from decathlon.data.preparing.offers import damaged, is_current, write_offer
from decathlon.data.preparing.shard_writer import temporary_files
from decathlon.data.sources.class_folders import check_name, own_domain
from decathlon.data.sources.imagenet import from_originals, validation
from decathlon.data.sources.official import (
    has_annotations,
    images_of,
    known_domains,
    missing_archives,
    read_plans,
    supplies,
)
from decathlon.data.sources.stratified import Shares, parse_shares
from decathlon.suites.base import Suite
from decathlon.suites.registry import DEFAULT


@dataclass
class Prepared:
    """What :func:`prepare` found and did.

    Attributes:
        written: By domain and split, the number of images of shards that were written.
        present: By domain and split, the number of images that were there already.
        lacking: Domains that could not be prepared from what is there.
        messages: What the user should be told, one sentence or two each.
    """

    written: dict[str, dict[str, int]] = field(default_factory=dict)
    present: dict[str, dict[str, int]] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """True if nothing had to be done and nothing is lacking."""
        return not self.written and not self.lacking


def prepare(
    archives: Path | None,
    data: Path,
    *,
    suite: Suite = DEFAULT,
    domains: Sequence[str] | None = None,
    jobs: int | None = None,
    labels: Path | None = None,
    folders: Mapping[str, Path] | None = None,
    imagenet: Path | None = None,
    split_folders: str | None = None,
    skip_broken: bool = False,
) -> Prepared:
    """Converts images to shards in ``data``, as far as they are not there.

    The next call resumes an interrupted one. Of a damaged domain only the damaged shards are
    rebuilt. If no domains are named, those whose archives are there are prepared and missing
    archives are listed; prepared domains need no archive.

    Args:
        archives: Folder that holds the archives under their official names, or the tree
            that they unpack to (see :mod:`decathlon.data.sources.official` and
            :mod:`decathlon.data.sources.readers`); None if only ``folders`` are wanted.
        data: Folder of the shards and their manifest; made when missing.
        suite: The suite to prepare data for; a folder holds data of one suite.
        domains: Domains to prepare, or None for all that the annotations describe.
        jobs: Decoding processes, or None for one a core; 0 decodes in this process. There
            are never more than images, nor than four a core.
        labels: The official ``labels_test.zip``, to fill in the labels of the test
            splits.
        folders: Folders of photographs by the name of their domain (see
            :mod:`decathlon.data.sources.folder_scan`): the user's own domains, or those of a suite
            that has no annotations.
        imagenet: Folder of the original ILSVRC-2012 photographs, for the suite's domain that can
            be made of them if its archive is missing (see
            :mod:`decathlon.data.sources.imagenet`).
        split_folders: Shares ``TRAIN/VAL/TEST`` by which ``folders`` without splits are divided;
            None for the shares used before, else 0.8/0.1/0.1.
        skip_broken: Leave out images that cannot be read, and record which; not of archives that
            come with annotations.

    Returns:
        What was done.

    Raises:
        DataError: Nothing is prepared and nothing can be, or a domain that was named cannot;
            an archive is damaged or does not fit the annotations; the data folder cannot be
            written, or another call is at work on it; labels are of other images.
        UsageError: A domain that the annotations do not describe, a name that a domain cannot
            have, or a folder that holds data of another suite.
    """
    folders = folders or {}
    # The suite's own names too: some file systems do not tell apart names that differ by case.
    for name in folders:
        check_name(name, suite, [*folders, *suite.domains])
    shares = parse_shares(split_folders) if split_folders is not None else None
    if jobs is not None and jobs < 0:
        raise UsageError(f"jobs is {jobs}: give the number of decoding processes, 0 or more")
    with exclusive(data, "data folder", "--data"), _writing(data):
        folder = FolderWriter(archives, data, suite, jobs)
        preparation = _Preparation(folder, domains, imagenet, folders)
        preparation.from_folders(shares, skip_broken)
        if archives is not None:
            preparation.from_readers(archives, skip_broken)
            preparation.from_archives(archives)
        if labels is not None:
            preparation.label(labels)
        return preparation.result()


@contextmanager
def _writing(data: Path) -> Iterator[None]:
    """Explains why writing failed, and that nothing is lost."""
    try:
        yield
    except OSError as error:
        what = explained(error, data, "name another folder with --data")
        raise DataError(f"{what}; then run 'decathlon prepare' again, it continues") from None


class _Preparation:
    """One call of :func:`prepare`: decides what to write, and from which source."""

    def __init__(
        self,
        folder: FolderWriter,
        domains: Sequence[str] | None,
        imagenet: Path | None,
        folders: Mapping[str, Path],
    ) -> None:
        self.folder, self.data, self.suite = folder, folder.data, folder.suite
        self.imagenet, self.folders = imagenet, folders
        self.wanted = list(dict.fromkeys(domains)) if domains is not None else None
        self._reported: set[str] = set()

    @property
    def manifest(self) -> Manifest:
        """What the data folder holds."""
        return self.folder.manifest

    def result(self) -> Prepared:
        """Reports what is still damaged, removes temporary files, returns what was done."""
        found = Prepared(self.folder.written, messages=self.folder.messages)
        _remove_temporary(self.data)
        for name, domain in self.manifest.domains.items():
            if self.wanted is not None and name not in {*self.wanted, *self.folders}:
                continue
            if whole(self.data, domain):
                _remove_temporary(self.data / name)
            elif name not in self._reported:
                found.messages.append(damaged(name, domain))
                self._reported.add(name)
            for split, entry in domain.splits.items():
                if split not in found.written.get(name, {}):
                    found.present.setdefault(name, {})[split] = entry.num_images
        found.lacking += sorted(self._reported)
        return found

    def from_folders(self, shares: Shares | None, skip_broken: bool) -> None:
        """Writes domains from folders of photographs, if missing or out of date."""
        for name in self.folders:
            check_name(name, self.suite, self.manifest.domains)
        for name, folder in self.folders.items():
            entry = self.manifest.domains.get(name)
            rule = shares
            if rule is None and entry is not None and entry.split_folders:
                rule = parse_shares(entry.split_folders)
            known = entry.skipped if entry is not None and skip_broken else {}
            found = own_domain(name, folder, rule, known, self.suite.held_out)
            if entry is None or not is_current(self.folder, entry, found):
                offered = partial(own_domain, name, folder, rule, held_out=self.suite.held_out)
                write_offer(self.folder, offered, skip_broken)
            if shares is not None and not found.plan.split_folders:
                self.folder.messages.append(
                    f"{folder}: has splits of its own; --split-folders does not divide them"
                )

    def from_readers(self, archives: Path, skip_broken: bool) -> None:
        """Writes domains whose images their readers find, if missing or out of date.

        Raises:
            UsageError: The user named one that neither is the suite's nor is prepared.
        """
        found = [domain for domain in self.suite.domains.values() if domain.reader]
        if self.wanted is not None and found and self.suite.annotations is None:
            for name in self.wanted:
                if not self._is_own(name):
                    self.suite.check(name)
        names = [domain.name for domain in found] if self.wanted is None else self.wanted
        domains = [d for d in found if d.name in names and d.name not in self.folders]
        named = self.wanted is not None
        self._reported.update(write_read(self.folder, archives, domains, named, skip_broken))

    def from_archives(self, archives: Path) -> None:
        """Writes the missing domains whose images are in archives or the unpacked tree."""
        for name in self.wanted or ():
            entry = self.manifest.domains.get(name)
            if entry is not None and self._is_own(name) and not whole(self.data, entry):
                raise DataError(damaged(name, entry))
        all_ = [*self.suite.domains, *self.manifest.domains]
        names = self.wanted if self.wanted is not None else list(dict.fromkeys(all_))
        read = {domain.name for domain in self.suite.domains.values() if domain.reader}
        names = [name for name in names if not self._is_own(name) and name not in read]
        if all(self._complete(name) for name in names):
            return
        if self.suite.annotations is None:
            raise UsageError(
                f"suite '{self.suite.name}' has no archives: prepare {', '.join(names)} with"
                " --folder NAME=DIR"
            )
        annotated = has_annotations(archives, self.suite)
        known = known_domains(archives, self.suite) if annotated else list(self.suite.domains)
        if self.wanted is not None:
            self._check_known(names, known)
        else:
            names = [name for name in known if not self._is_own(name) and name not in read]
        there = [name for name in names if annotated and self._has_images(archives, name)]
        self._tell_missing(archives, names, there, annotated)
        paths = {self._images(archives, n) for n in there if not self._complete(n)}
        if paths:
            size = sum(path.stat().st_size for path in paths if path and path.is_file())
            with self.folder.starting(size):
                self._write_archives(archives, there)

    def _write_archives(self, archives: Path, names: Sequence[str]) -> None:
        """Writes the missing ones of domains whose annotations and images are there."""
        plans, annotations = read_plans(archives, self.suite, names)
        missing = [
            name
            for name, plan in plans.items()
            if not self._complete(name) or not same_plan(self.manifest.domains[name], plan)
        ]
        if missing:
            self.folder.tell(annotations)
        for name in missing:
            if not self._images(archives, name):
                assert self.imagenet is not None
                plan, found, messages = from_originals(plans[name], self.imagenet, self.suite.side)
                self.folder.messages += messages
                self.folder.write(found, [plan], [annotations])
        missing = [name for name in missing if self._images(archives, name)]
        for supply, domains in supplies(archives, self.suite, missing):
            self.folder.write([supply], [plans[name] for name in domains], [annotations])

    def label(self, labels: Path) -> None:
        """Fills in test labels."""
        folder, domains = self.folder, self.manifest.domains
        wanted = self.wanted if self.wanted is not None else list(domains)
        prepared = [name for name in wanted if name in domains and whole(self.data, domains[name])]
        folder.manifest, done, without = add_labels(
            self.data, self.manifest, labels, self.suite, prepared
        )
        for name in done:
            count = self.manifest.domains[name].splits[SPLIT].num_images
            folder.written.setdefault(name, {})[SPLIT] = count
        for name in without:
            if not self.manifest.domains[name].own:
                folder.messages.append(
                    f"{labels.name} has no {name}_test.json: its test labels stay as they were"
                )

    def _check_known(self, names: Sequence[str], known: Sequence[str]) -> None:
        """Checks that the domains that the user named are known.

        Raises:
            UsageError: One is not; the nearest name is suggested.
            DataError: One is prepared, damaged, and not among the annotations.
        """
        for name in names:
            if name in known or self._complete(name):
                continue
            if name in self.manifest.domains:
                raise DataError(damaged(name, self.manifest.domains[name]))
            raise UsageError(
                f"no annotations of a domain '{name}'{nearest(name, known)}"
                f" (there are those of {', '.join(known)})"
            )

    def _tell_missing(
        self, archives: Path, names: Sequence[str], there: Sequence[str], annotated: bool
    ) -> None:
        """Adds a message on domains that cannot be prepared as their archive is missing.

        Raises:
            DataError: Nothing is prepared and nothing can be, or the user named such a domain.
        """
        lacking = [name for name in names if name not in there and not self._complete(name)]
        if not lacking:
            return
        named = self.wanted is not None
        images = [name for name in lacking if not self._has_images(archives, name)]
        text = missing_archives(
            archives, self.suite, lacking, images, annotated, there if named else ()
        )
        if named or not (there or self.manifest.domains):
            raise DataError(text)
        self.folder.messages.append(text)
        self._reported.update(lacking)

    def _images(self, archives: Path, name: str) -> Path | None:
        """Returns the archive or the folder with a domain's images, None without one."""
        return images_of(archives, self.suite, name)

    def _has_images(self, archives: Path, name: str) -> bool:
        """Returns True if a domain's images, or photographs to make them of, are there."""
        photographs = name == self.suite.photographs and self.imagenet is not None
        return photographs or self._images(archives, name) is not None

    def _is_own(self, name: str) -> bool:
        """Returns True for a domain that comes from a folder, without annotations."""
        entry = self.manifest.domains.get(name)
        return name in self.folders or (entry is not None and entry.own)

    def _complete(self, name: str) -> bool:
        """Returns True if a domain is prepared, as far as can be told without reading archives."""
        entry = self.manifest.domains.get(name)
        if entry is None or not whole(self.data, entry):
            return False
        tried = entry.left_out.get(SPLIT)
        if tried and self.imagenet is not None and validation(self.imagenet) != tried:
            return False
        return self.folder.same_archives(entry.sources)


def _remove_temporary(folder: Path) -> None:
    """Removes what a call that was killed at its very end has left."""
    for path in temporary_files(folder):
        path.unlink()
