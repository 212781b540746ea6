"""TU-Berlin sketches: ``sketches_png.zip``, or the folder ``png/`` that it unpacks to.

There is no official split. Train has 80 % of each class, rounded down, by the names of the files.
``filelist.txt`` lists the sketches, and is followed if it is there.
"""

from decathlon.common.errors import DataError, listed
from decathlon.data.sources.class_folders import prepared_folders
from decathlon.data.sources.file_names import last_two
from decathlon.data.sources.image_tree import find_tree
from decathlon.data.sources.readers import Offer, Place, Sample, plan_of
from decathlon.data.sources.stratified import a_fifth, drawn

ARCHIVE, LIST = "sketches_png.zip", "filelist.txt"
_TREES = ("png", "sketches_png/png", "sketches_png", "sketches")


def read(place: Place) -> Offer | None:
    """Finds the images; see :class:`decathlon.data.sources.readers.Reader`."""
    tree = find_tree(place, ARCHIVE, _TREES)
    folders = prepared_folders(place) if tree is None or not tree.archive else None
    if folders is not None or tree is None:
        return folders
    names, messages = tree.names, []
    if (text := tree.text(LIST)) is not None:
        lines = (line.strip().replace("\\", "/") for line in text.splitlines())
        wanted = {last_two(line).lower() for line in lines if line}
        lacking = sorted(wanted.difference(name.lower() for name in names))
        if lacking:
            raise DataError(
                f"{tree.path}: lacks {len(lacking):,} sketches that {LIST} names:"
                f" {listed(lacking, most=5)}; fetch {ARCHIVE} again"
            )
        others = len(names) - len(wanted)
        if others:
            messages.append(f"{place.domain}: {LIST} does not name {others:,} images: left out")
        names = [name for name in names if name.lower() in wanted]
    classes = sorted({name.split("/")[0] for name in names}, key=str.encode)
    category = {text: number for number, text in enumerate(classes, start=1)}
    samples = [
        Sample(name, category[name.split("/")[0]], number)
        for number, name in enumerate(names, start=1)
    ]
    test = drawn([s.category for s in samples], [s.name for s in samples], a_fifth)
    splits = {
        split: [s for s, out in zip(samples, test, strict=True) if out == (split == "test")]
        for split in ("train", "test")
    }
    plan = plan_of(place, str(tree.path), splits, {k: text for text, k in category.items()})
    return Offer(plan, [tree.supply], [], messages)
