"""``prepare``: images in any form to shards, doing only what is not done yet."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from decathlon.common.errors import DataError, UsageError, nearest
from decathlon.common.locks import exclusive
from decathlon.common.oserrors import explained
from decathlon.common.text import printable_name
from decathlon.data.manifest import FILE, DomainEntry, Manifest, read_manifest, write_manifest
from decathlon.data.preparing.builder import Builder, same_source
from decathlon.data.preparing.convert import BrokenError
from decathlon.data.preparing.leftovers import parts
from decathlon.data.preparing.verify import examine, noted
from decathlon.data.preparing.work import intact, same_plan
from decathlon.data.sources.folder import OwnDomain, check_name, own_domain
from decathlon.data.sources.imagenet import from_originals, validation
from decathlon.data.sources.labels import SPLIT, add_labels
from decathlon.data.sources.missing import told_missing
from decathlon.data.sources.official import (
    has_annotations,
    images_of,
    known_domains,
    read_plans,
    supplies,
    tree_place,
)
from decathlon.data.sources.shares import Shares, parse_shares
from decathlon.suites.visual_decathlon import DOMAINS
from decathlon.suites.visual_decathlon import SOURCE as SOURCE_DOMAIN

MOST_SKIPPED = 10_000
"""Broken images of a domain that are left out at most."""


@dataclass
class Prepared:
    """What :func:`prepare` found and did.

    Attributes:
        written: By domain and split, the number of images of shards that were written.
        present: By domain and split, the number of images that were there already.
        lacking: Domains that could not be prepared of what is there.
        messages: What the user should be told, one sentence or two each.
    """

    written: dict[str, dict[str, int]] = field(default_factory=dict)
    present: dict[str, dict[str, int]] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether nothing had to be done and nothing is lacking."""
        return not self.written and not self.lacking


def prepare(
    archives: Path | None,
    data: Path,
    *,
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
            that they unpack to (see :mod:`decathlon.data.sources.official`); None where only
            ``folders`` are wanted.
        data: Folder of the shards and their manifest; made when missing.
        domains: Domains to prepare, or None for all that the annotations describe.
        jobs: Decoding processes, or None for one a core; 0 decodes in this process. There
            are never more than images, nor than four a core.
        labels: The official ``labels_test.zip``, to fill in the labels of the test
            splits.
        folders: The user's own domains by name: folders of photographs (see
            :mod:`decathlon.data.sources.classes`).
        imagenet: Folder of the original ILSVRC-2012 photographs, for imagenet12 where the
            archive of 72-pixel images is missing (see :mod:`decathlon.data.sources.imagenet`).
        split_folders: Shares ``TRAIN/VAL/TEST`` by which those of ``folders`` that have no
            splits are divided; None for what they were divided by before, else 0.8/0.1/0.1.
        skip_broken: Leave out images of ``folders`` that cannot be read, and record which.

    Returns:
        What was done.

    Raises:
        DataError: Nothing is prepared and nothing can be, or a domain that was named cannot;
            an archive is damaged or does not fit the annotations; the data folder cannot be
            written, or another call is at work on it; labels are of other images.
        UsageError: A domain that the annotations do not describe, or a name that a
            domain cannot have.
    """
    for name in folders or {}:
        check_name(name, folders or {})
    shares = parse_shares(split_folders) if split_folders is not None else None
    if jobs is not None and jobs < 0:
        raise UsageError(f"jobs is {jobs}: give the number of decoding processes, 0 or more")
    with exclusive(data, "data folder", "--data"), _writing(data):
        preparation = _Preparation(archives, data, domains, jobs, imagenet, folders or {})
        preparation.own(shares, skip_broken)
        if archives is not None:
            preparation.convert()
        if labels is not None:
            preparation.label(labels)
        return preparation.result()


@contextmanager
def _writing(data: Path) -> Iterator[None]:
    """Tells why writing failed, and that nothing is lost."""
    try:
        yield
    except OSError as error:
        what = explained(error, data, "name another folder with --data")
        raise DataError(f"{what}; then run 'decathlon prepare' again, it continues") from None


class _Preparation:
    """One call of :func:`prepare`."""

    def __init__(
        self,
        archives: Path | None,
        data: Path,
        domains: Sequence[str] | None,
        jobs: int | None,
        imagenet: Path | None,
        folders: Mapping[str, Path],
    ) -> None:
        self.archives, self.data = archives, data
        self.imagenet, self.folders = imagenet, folders
        self.wanted = list(dict.fromkeys(domains)) if domains is not None else None
        self.builder = Builder(archives, data, self._rechecked(), jobs)
        self.told: set[str] = set()

    @property
    def manifest(self) -> Manifest:
        """What the data folder holds."""
        return self.builder.manifest

    def result(self) -> Prepared:
        """Tells what is still damaged, removes what is left over, returns what was done."""
        found = Prepared(self.builder.written, messages=self.builder.messages)
        self._sweep(self.data)
        for name, domain in self.manifest.domains.items():
            if not self._meant(name):
                continue
            if self._whole(domain):
                self._sweep(self.data / name)
            elif name not in self.told:
                found.messages.append(self._damaged(name, domain))
                self.told.add(name)
            for split, entry in domain.splits.items():
                if split not in found.written.get(name, {}):
                    found.present.setdefault(name, {})[split] = entry.num_images
        found.lacking += sorted(self.told)
        return found

    def own(self, shares: Shares | None, skip_broken: bool) -> None:
        """Builds the shards of a user's own domains that are not there or out of date."""
        for name in self.folders:
            check_name(name, self.manifest.domains)
        for name, folder in self.folders.items():
            entry = self.manifest.domains.get(name)
            rule = shares
            if rule is None and entry is not None and entry.split_folders:
                rule = parse_shares(entry.split_folders)
            known = entry.skipped if entry is not None and skip_broken else {}
            found = own_domain(name, folder, rule, known)
            if entry is None or not self._is_current(entry, found):
                self._build_own(name, folder, rule, skip_broken)
            if shares is not None and not found.plan.split_folders:
                self.builder.messages.append(
                    f"{folder}: has splits of its own; --split-folders does not divide them"
                )

    def _build_own(self, name: str, folder: Path, rule: Shares | None, skip_broken: bool) -> None:
        """Builds the shards of a user's own domain, without broken images if that is wanted.

        Raises:
            BrokenError: Images are broken and not to be left out, or there are too many.
        """
        skipped: dict[str, str] = {}
        while True:  # once more if images turn out to be broken
            found = own_domain(name, folder, rule, skipped)
            try:
                self.builder.build([found.supply], [found.plan], [])
            except BrokenError as error:
                skipped |= {printable_name(image): reason for image, reason in error.images.items()}
                if not skip_broken or len(skipped) > MOST_SKIPPED:
                    raise
            else:
                break
        told = [f"{name}: {remark}" for remark in self.manifest.domains[name].remarks]
        self.builder.messages += [*found.messages, *told]

    def _is_current(self, entry: DomainEntry, found: OwnDomain) -> bool:
        """Whether a user's own domain is prepared from what its folder holds now."""
        source = entry.sources[0]
        return (
            self._whole(entry)
            and same_plan(entry, found.plan)
            and found.supply.is_at(source.folder)
            and source.state == found.supply.state(list(found.plan.splits.values()))
        )

    def convert(self) -> None:
        """Builds the shards of the official domains that are not there."""
        assert self.archives is not None
        for name in self.wanted or ():
            entry = self.manifest.domains.get(name)
            if entry is not None and self._is_own(name) and not self._whole(entry):
                raise DataError(self._damaged(name, entry))
        names = self.wanted if self.wanted is not None else [*DOMAINS, *self.manifest.domains]
        official = [name for name in dict.fromkeys(names) if not self._is_own(name)]
        if all(self._complete(name) for name in official):
            return
        annotated = has_annotations(self.archives)
        known = known_domains(self.archives) if annotated else list(DOMAINS)
        if self.wanted is not None:
            self._check_known(official, known)
        needed = official if self.wanted is not None else known
        needed = [name for name in needed if not self._is_own(name)]
        there = [
            name
            for name in needed
            if annotated and (images_of(self.archives, name) or self._photographs(name))
        ]
        self._tell_missing(needed, there, annotated)
        places = {images_of(self.archives, n) for n in there if not self._complete(n)}
        if places:
            size = sum(place.stat().st_size for place in places if place and place.is_file())
            with self.builder.starting(size):
                self._convert(there)

    def _convert(self, names: Sequence[str]) -> None:
        """Builds the shards of domains whose annotations and images are there."""
        assert self.archives is not None
        plans, notes = read_plans(self.archives, names)
        missing = [
            name
            for name, plan in plans.items()
            if not self._complete(name) or not same_plan(self.manifest.domains[name], plan)
        ]
        if missing:
            self.builder.tell(notes)
        if (
            SOURCE_DOMAIN in missing
            and self.imagenet is not None
            and not images_of(self.archives, SOURCE_DOMAIN)
        ):
            missing.remove(SOURCE_DOMAIN)
            plan, found, messages = from_originals(plans[SOURCE_DOMAIN], self.imagenet)
            self.builder.messages += messages
            self.builder.build(found, [plan], [notes])
        for supply, domains in supplies(self.archives, missing):
            self.builder.build([supply], [plans[name] for name in domains], [notes])

    def label(self, labels: Path) -> None:
        """Fills in test labels."""
        wanted = self.wanted if self.wanted is not None else list(self.manifest.domains)
        builder, domains = self.builder, self.manifest.domains
        whole = [name for name in wanted if name in domains and self._whole(domains[name])]
        builder.manifest, done, without = add_labels(self.data, self.manifest, labels, whole)
        for name in done:
            count = self.manifest.domains[name].splits[SPLIT].num_images
            builder.written.setdefault(name, {})[SPLIT] = count
        for name in without:
            if not self.manifest.domains[name].own:
                builder.messages.append(
                    f"{labels.name} has no {name}_test.json: its test labels stay as they were"
                )

    def _check_known(self, names: Sequence[str], known: Sequence[str]) -> None:
        """Checks that the domains that were named are known.

        Raises:
            UsageError: One is not; the nearest name is suggested.
            DataError: One is prepared, damaged, and not among the annotations.
        """
        for name in names:
            if name in known or self._complete(name):
                continue
            if name in self.manifest.domains:
                raise DataError(self._damaged(name, self.manifest.domains[name]))
            raise UsageError(
                f"no annotations of a domain '{name}'{nearest(name, known)}"
                f" (there are those of {', '.join(known)})"
            )

    def _tell_missing(self, needed: Sequence[str], there: Sequence[str], annotated: bool) -> None:
        """Says what cannot be prepared because its archive is missing.

        Raises:
            DataError: Nothing is prepared and nothing can be, or a domain that was named
                cannot.
        """
        assert self.archives is not None
        lacking = [name for name in needed if name not in there and not self._complete(name)]
        if not lacking:
            return
        named = self.wanted is not None
        images = {
            name: tree_place(self.archives, name)
            for name in lacking
            if not (images_of(self.archives, name) or self._photographs(name))
        }
        text = told_missing(self.archives, lacking, images, annotated, there if named else ())
        if named or not (there or self.manifest.domains):
            raise DataError(text)
        self.builder.messages.append(text)
        self.told.update(lacking)

    def _photographs(self, name: str) -> bool:
        """Whether a domain can be made of original photographs."""
        return name == SOURCE_DOMAIN and self.imagenet is not None

    def _damaged(self, name: str, entry: DomainEntry) -> str:
        """Says how to get a domain's shards again if its source is not at hand."""
        source = entry.sources[0] if entry.own else None
        how = f" --folder {name}={source.folder or 'DIR'}" if source else " --archives DIR"
        how += " --skip-broken" * bool(entry.skipped)
        return (
            f"{name}: shards are missing or damaged; run 'decathlon prepare{how}' with what they"
            " were made of"
        )

    def _is_own(self, name: str) -> bool:
        """Whether a domain is the user's own, which annotations have nothing to do with."""
        entry = self.manifest.domains.get(name)
        return name in self.folders or (entry is not None and entry.own)

    def _meant(self, name: str) -> bool:
        """Whether a call is about a domain."""
        return self.wanted is None or name in {*self.wanted, *self.folders}

    def _sweep(self, folder: Path) -> None:
        """Removes what a call that was killed at its very end has left."""
        for path in parts(folder):
            path.unlink()

    def _rechecked(self) -> Manifest:
        """Reads the manifest, and the shards that were touched after it was written."""
        manifest = read_manifest(self.data)
        if manifest is None:
            return Manifest(domains={})
        written = (self.data / FILE).stat().st_mtime_ns
        found = {
            listed.shard.file: examine(self.data, listed)
            for listed in manifest.shards()
            if intact(self.data, listed.shard)
            and (self.data / listed.shard.file).stat().st_mtime_ns > written
        }
        if found:
            manifest = noted(manifest, found)
            write_manifest(self.data, manifest)
        return manifest

    def _complete(self, name: str) -> bool:
        """Whether a domain is prepared, as far as can be seen without reading archives."""
        entry = self.manifest.domains.get(name)
        if entry is None or not self._whole(entry):
            return False
        tried = entry.left_out.get(SPLIT)
        if tried and self.imagenet is not None and validation(self.imagenet) != tried:
            return False
        return same_source(self.archives, entry.sources)

    def _whole(self, entry: DomainEntry) -> bool:
        """Whether all shards of a domain are there."""
        return all(intact(self.data, s) for split in entry.splits.values() for s in split.shards)
