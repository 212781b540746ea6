"""Splits for a folder that has none: a fixed, stratified rule.

Each class is divided by itself. Its images are put in the order of the SHA-256 of their
names (``CLASS/IMAGE``, Unicode NFC); the first go to test, the last to val, the rest to train.
So the rule needs no seed, gives the same splits on every machine, and a new image moves at
most one other image at either end. Every split gets its share, rounded, and at least one
image; a class of fewer than three images is all for training.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from decathlon.common.errors import UsageError
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
        if share == 0 or count < FEWEST:
            return 0
        return max(1, int(share * count + 0.5))


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
