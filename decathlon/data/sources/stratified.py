"""Splits for a folder that has none: a fixed, stratified rule.

Each class is divided by itself. Its images are put in the order of the SHA-256 of their
names (``CLASS/IMAGE``, Unicode NFC); the first go to test, the last to val, the rest to train.
So the rule needs no seed, gives the same splits on every machine, and a new image moves at
most one other image at either end. Every split gets its share, rounded, and at least one
image; a class of fewer than three images is all for training.

Suites whose official sets have no val hold out a share of train, and sets without official splits
are divided 80/20, by the same rule (:func:`drawn`).
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from decathlon.common.errors import UsageError
from decathlon.data.sources.file_names import last_part, mend
from decathlon.suites.base import SPLITS

FEWEST = 3
"""Images of a class from which on it has some in every split."""


@dataclass(frozen=True)
class Shares:
    """Parts of the images of each class.

    Attributes:
        train: In (0, 1].
        val: In [0, 1).
        test: In [0, 1).
    """

    train: float = 0.8
    val: float = 0.1
    test: float = 0.1

    def __str__(self) -> str:
        return f"{self.train:g}/{self.val:g}/{self.test:g}"

    def divide(self, names: Sequence[bytes]) -> dict[str, list[bytes]]:
        """Divides the images of one class.

        Args:
            names: ``CLASS/IMAGE``, each once.

        Returns:
            Names by split, in the order given.
        """
        count = len(names)
        ordered = sorted(names, key=_key)
        tested, validated = (self._part(share, count) for share in (self.test, self.val))
        # Rounding up leaves train at least one: only its own share may be smaller than that.
        while tested + validated >= count > 0:
            tested, validated = (
                (tested - 1, validated) if tested > validated else (tested, validated - 1)
            )
        split = dict.fromkeys(ordered, "train")
        split.update(dict.fromkeys(ordered[:tested], "test"))
        split.update(dict.fromkeys(ordered[count - validated :], "val"))
        return {wanted: [name for name in names if split[name] == wanted] for wanted in SPLITS}

    def _part(self, share: float, count: int) -> int:
        return part_of(share, count)


def part_of(share: float, count: int) -> int:
    """Returns how many of a class's images are a share of them: one at least, unless too few."""
    if share == 0 or count < FEWEST:
        return 0
    return max(1, int(share * count + 0.5))


def a_fifth(count: int) -> int:
    """Returns how many of a class's images test holds where train has 80 %, rounded down."""
    return count - max(1, 4 * count // 5) if count else 0


def drawn(
    classes: Sequence[Hashable], names: Sequence[str], part: Callable[[int], int]
) -> list[bool]:
    """Draws images of each class in the order of the SHA-256 of their files' names.

    Names are mended (:func:`~decathlon.data.sources.file_names.mend`), so that the same images are
    drawn wherever they come from. Images of one class and name stay together: they show the same.
    As long as there are names of single images, their numbers are exact.

    Args:
        classes: Of each image.
        names: Of each image; folders in them do not count.
        part: How many are drawn of so many images of a class.

    Returns:
        For each image, True if it is drawn.
    """
    members: dict[Hashable, Counter[str]] = defaultdict(Counter)
    names = [mend(last_part(name)) for name in names]
    for label, name in zip(classes, names, strict=True):
        members[label][name] += 1
    chosen: set[tuple[Hashable, str]] = set()
    for label, counts in members.items():
        left = part(counts.total())
        for name in sorted(counts, key=lambda name: _key(name.encode(errors="surrogateescape"))):
            if counts[name] <= left:
                left -= counts[name]
                chosen.add((label, name))
    return [pair in chosen for pair in zip(classes, names, strict=True)]


def parse_shares(text: str) -> Shares:
    """Reads ``TRAIN/VAL/TEST``.

    Raises:
        UsageError: It is not of that form.
    """
    parts = text.split("/")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    # An infinite or undefined sum is not near 1 either.
    if len(values) == len(SPLITS) and abs(sum(values) - 1) < 1e-6:
        shares = Shares(*values)
        if shares.train > 0 and min(values) >= 0:
            return shares
    raise UsageError(
        f"--split-folders '{text}': give the shares of train, val and test, which add up to 1,"
        " e.g. 0.8/0.1/0.1"
    )


def _key(name: bytes) -> tuple[bytes, bytes]:
    normal = unicodedata.normalize("NFC", name.decode(errors="surrogateescape"))
    return sha256(normal.encode(errors="surrogateescape")).digest(), name
