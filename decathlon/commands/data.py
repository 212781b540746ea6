"""Commands about images: prepare, verify, show, domains.

Our readers report unreadable files themselves, with exit code 3. Typer would report wrong usage,
so its own check is off (``readable=False``).
"""

from pathlib import Path
from typing import Annotated

import typer

from decathlon.commands.options import Data, Domains, Out, check_out
from decathlon.common.errors import UsageError
from decathlon.common.progress import say, say_next
from decathlon.common.text import visible, visible_lines
from decathlon.suites.base import Suite
from decathlon.suites.registry import DEFAULT

_FREE = sum(archive.size for archive in DEFAULT.official if not archive.note)


def prepare(
    archives: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the official archives, or with what they unpack to"
            " (default: archives).",
            show_default=False,
            readable=False,
        ),
    ] = None,
    data: Data = None,
    suite: Annotated[
        str | None,
        typer.Option(
            help="Suite to prepare data for (default: the suite of the data folder, else"
            f" {DEFAULT.name}).",
            show_default=False,
        ),
    ] = None,
    domain: Domains = None,
    folder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIR",
            help="Your own domain, or one of a suite that takes such folders:"
            " DIR/train|val|test/CLASS/IMAGE, DIR/CLASS/IMAGE, or Hugging Face's imagefolder."
            " Repeat for several.",
        ),
    ] = None,
    split_folders: Annotated[
        str | None,
        typer.Option(
            metavar="TRAIN/VAL/TEST",
            help="Shares of train, val and test in each class, for a --folder without splits. The"
            " same images every time (default: 0.8/0.1/0.1).",
            show_default=False,
        ),
    ] = None,
    skip_broken: Annotated[
        bool,
        typer.Option(
            "--skip-broken",
            help="Skip unreadable images of a --folder, or of archives without annotations in the"
            " decathlon's layout; the manifest lists them.",
        ),
    ] = False,
    imagenet: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the original ILSVRC-2012 photographs (train and val, tar files or"
            f" folders), in place of the archive of {DEFAULT.photographs}.",
            readable=False,
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=0, help="Decoding processes (default: all cores).")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="labels_test.zip: the public labels of the test split.", readable=False),
    ] = None,
    download: Annotated[
        bool,
        typer.Option(
            "--download",
            help=f"First download the free archives (of {DEFAULT.title}: {_FREE / 1e6:.0f} MB, all"
            f" but {DEFAULT.photographs}) into --archives.",
        ),
    ] = False,
) -> None:
    """Prepare data: turn official archives or your own image folders into HDF5 shards.

    Archives are streamed, never extracted. Finished work is skipped, and an interrupted call
    resumes. Your own images need no official archive:

        decathlon prepare --folder birds=photos/birds --data data
    """
    from decathlon.data.manifest import read_manifest, suite_of
    from decathlon.data.preparing.prepare import prepare as run
    from decathlon.data.reading.store import data_folder
    from decathlon.suites.registry import find

    target = data_folder(data)
    folders = _named(folder or [])
    if not folders and split_folders is not None:
        raise UsageError("--split-folders needs a folder: add --folder NAME=DIR")
    if archives is None and (download or domain or labels or imagenet or not folders):
        archives = Path("archives")
    chosen = find(suite) if suite is not None else suite_of(target, read_manifest(target))
    if skip_broken and not folders and chosen.annotations is not None:
        raise UsageError(f"--skip-broken needs a folder in suite '{chosen.name}': add --folder")
    if archives is not None and download:
        domain = _downloaded(archives, chosen, domain, imagenet is not None)
    prepared = run(
        archives,
        target,
        suite=chosen,
        domains=domain,
        jobs=jobs,
        labels=labels,
        folders=folders,
        imagenet=imagenet,
        split_folders=split_folders,
        skip_broken=skip_broken,
    )
    for message in prepared.messages:
        say(visible_lines(message))
    state = "nothing to do, all is prepared" if prepared.done else "prepared"
    print(f"{visible(str(target))}: {state}")
    manifest = read_manifest(target)
    if manifest is not None and chosen.source in manifest.domains:
        say_next("pretrain", "--data", target, "--out", "source.safetensors")
    elif manifest is not None and chosen.source is None and chosen.network:
        # The source network is imported: its authors publish its weights.
        say_next("import-weights", f"{chosen.network}.pth", "source.safetensors")
    elif manifest is not None:
        # The source network cannot be trained here: start with a method that needs none.
        say_next("run", "--method", "scratch", "--data", target)


def _downloaded(
    archives: Path, suite: Suite, domains: list[str] | None, photographs: bool
) -> list[str] | None:
    """Downloads the free archives; returns the domains to prepare, None for all.

    Raises:
        UsageError: The suite has no archives.
    """
    from decathlon.data.sources.download import fetch, free_archives, how_to_get
    from decathlon.data.sources.official import archive_of, images_of

    if not suite.official:
        raise UsageError(f"suite '{suite.name}' has no archives that --download can fetch")
    fetch(archives, suite, domains)
    source = suite.photographs
    if photographs or source is None or images_of(archives, suite, source):
        return domains
    if domains and source not in domains:
        return domains
    archive = archive_of(suite, source)
    if archive is not None:
        say(visible_lines(how_to_get(archive, archives, suite)))
    free = [name for archive in free_archives(suite) for name in archive.domains]
    return free if domains is None else domains


def _named(values: list[str]) -> dict[str, Path]:
    """Parses NAME=DIR.

    Raises:
        UsageError: One is not of that form, or a name is given to two folders.
    """
    found: dict[str, Path] = {}
    for value in values:
        name, sign, place = value.partition("=")
        if not (name and sign and place):
            raise UsageError(
                f"--folder '{value}': give a name and a folder, e.g. birds=photos/birds"
            )
        if name in found and found[name].resolve() != Path(place).expanduser().resolve():
            raise UsageError(
                f"--folder {name} is given to two folders; give each folder its own name"
            )
        found[name] = Path(place).expanduser()
    return found


def verify(data: Data = None) -> None:
    """Check prepared data: read every shard and compare it with the manifest."""
    from decathlon.data.preparing.verify import verify as run
    from decathlon.data.reading.store import data_folder

    target = data_folder(data)
    found = run(target)
    print(
        f"{visible(str(target))}: {found.shards} shards, {found.images} images,"
        f" {found.size / 1e6:.0f} MB, all match the manifest"
    )
    _print_remarks(found.remarks)


def _print_remarks(remarks: list[str]) -> None:
    for remark in remarks:
        print(visible_lines(remark))


def show(
    domain: Annotated[
        str, typer.Argument(help="A prepared domain; 'decathlon domains' lists them.")
    ],
    out: Annotated[Path, typer.Option(help="Image file to write (.png).")],
    data: Data = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    n: Annotated[int, typer.Option("--n", help="Number of images, spread over the classes.")] = 60,
    boxes: Annotated[
        bool, typer.Option("--boxes", help="Draw the bounding boxes, in domains that have them.")
    ] = False,
) -> None:
    """Draw a contact sheet: images of a domain with their class names.

    It shows the pixels that networks train on.
    """
    from decathlon.data.reading.sheet import show as run
    from decathlon.data.reading.store import data_folder, open_store

    folder = data_folder(data)
    check_out(out, folder)
    drawn = run(open_store(folder), domain, split, n, out, boxes)
    print(f"{visible(str(out))}: {drawn} images of {domain} {split}")


def domains(
    data: Data = None,
    suite: Annotated[
        str | None,
        typer.Option(help="List the domains of this suite.", show_default=False),
    ] = None,
    croissant: Annotated[
        bool,
        typer.Option(
            "--croissant",
            help="Describe the prepared data in the metadata format Croissant, as JSON-LD.",
        ),
    ] = False,
    out: Out = None,
) -> None:
    """List the domains and what is prepared."""
    from rich.console import Console

    from decathlon.commands.listing import domains_table
    from decathlon.data.manifest import read_manifest
    from decathlon.data.reading.store import data_folder
    from decathlon.suites.registry import find

    target = data_folder(data)
    if croissant:
        _describe(target, suite, out)
        return
    if out is not None:
        raise UsageError(f"--out {out}: only --croissant writes a file; add it")
    console = Console()
    chosen = find(suite) if suite is not None else None
    console.print(domains_table(target, console.width, chosen))
    manifest = read_manifest(target)
    if manifest is not None and suite in (None, manifest.suite):
        _print_remarks(manifest.remarks)


def _describe(data: Path, suite: str | None, out: Path | None) -> None:
    """Writes the description of a data folder in Croissant.

    Raises:
        UsageError: A suite is named.
        DataError: The folder holds no data, or damaged data.
    """
    from decathlon.common.output import write_utf8
    from decathlon.data.reading.croissant import croissant

    if suite is not None:
        raise UsageError(
            "--croissant describes what is prepared, whose suite is known; leave out --suite"
        )
    check_out(out, data)
    write_utf8(croissant(data), out)


def suites() -> None:
    """List the installed benchmark suites, including those from other packages."""
    from rich.console import Console

    from decathlon.commands.listing import suites_table

    Console().print(suites_table())
