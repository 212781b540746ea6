"""Low-data regimes: training on a fixed part of a domain's training images."""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from decathlon.common.errors import UsageError
from decathlon.common.text import plural

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Subset:
    """A part of the training images: as many per class, or the same share of every class.

    The images of a class are put in an order that follows from the draw and their ids alone, and
    the first are taken. So smaller subsets are parts of larger ones, and a run's seed does not
    change them.

    Attributes:
        shots: Images per class, at most; None for a share.
        fraction: Share of each class's images, rounded half up, at least one; in (0, 1]. It is
            rounded to the digits of the name, so that the name says which images are taken.
        draw: Number of the draw; another one gives other images.
    """

    shots: int | None = None
    fraction: float | None = None
    draw: int = 0

    def __post_init__(self) -> None:
        """Checks that exactly one of shots and fraction is given, in its range.

        Raises:
            UsageError: It is not.
        """
        if (self.shots is None) == (self.fraction is None):
            raise UsageError("give either --shots K or --fraction F")
        if self.shots is not None and self.shots < 1:
            raise UsageError(f"--shots {self.shots}: give at least 1 image per class")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise UsageError(f"--fraction {self.fraction:g}: give a share above 0, at most 1")
        if self.draw < 0:
            raise UsageError(f"--draw {self.draw}: give 0 or more")
        if self.fraction is not None:
            object.__setattr__(self, "fraction", float(_percent(self.fraction)) / 100)

    @classmethod
    def named(cls, name: str) -> "Subset":
        """Returns the subset of a name, such as ``10shot.d1``.

        Raises:
            UsageError: No subset has that name.
        """
        parts = re.fullmatch(r"(?:(\d+)shot|(\d[\d.e-]*)pct)(?:\.d(\d+))?", name)
        if parts is None:
            raise UsageError(f"'{name}' names no subset; names are like 10shot, 25pct, 10shot.d1")
        shots, percent, draw = parts.groups()
        try:
            fraction = None if percent is None else float(percent) / 100
        except ValueError:
            raise UsageError(f"'{name}': {percent} is no percentage") from None
        return cls(None if shots is None else int(shots), fraction, int(draw or 0))

    def __str__(self) -> str:
        """Returns its name in folders and tables: ``10shot``, ``25pct``, ``10shot.d1``."""
        return f"{self.size}.d{self.draw}" if self.draw else self.size

    @property
    def size(self) -> str:
        """Its name without the draw."""
        return f"{self.shots}shot" if self.shots else f"{_percent(self.fraction or 0)}pct"

    @property
    def rank(self) -> tuple[bool, float]:
        """What sizes are ordered by: shares before images per class, the largest first."""
        return self.fraction is None, -float(self.shots or self.fraction or 0)

    @property
    def in_words(self) -> str:
        """Its size in words: ``10 images per class``, ``25 % of the training images``."""
        if self.shots:
            return f"{plural(self.shots, 'image')} per class"
        return f"{_percent(self.fraction or 0)} % of the training images"

    def of(
        self, labels: "npt.NDArray[np.int64]", image_ids: "npt.NDArray[np.int64]"
    ) -> "npt.NDArray[np.int64]":
        """Returns the positions of the images that are taken, in ascending order.

        Args:
            labels: int64 (n,).
            image_ids: int64 (n,), each once.
        """
        import numpy as np

        ids = image_ids.tolist()
        keys = [sha256(f"{self.draw} {image}".encode()).digest() for image in ids]
        order = sorted(range(len(ids)), key=keys.__getitem__)
        by_class: dict[int, list[int]] = {}
        for position, label in zip(order, labels[order].tolist(), strict=True):
            by_class.setdefault(label, []).append(position)
        taken = [k for found in by_class.values() for k in found[: self._count(len(found))]]
        return np.array(sorted(taken), np.int64)

    def _count(self, images: int) -> int:
        if self.shots is not None:
            return min(self.shots, images)
        assert self.fraction is not None
        # 0.29 * 100 is 28.999999999999996.
        return max(1, int(round(self.fraction * images, 9) + 0.5))


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g}"


def size_in_words(name: str) -> str:
    """Returns the size of the subset of a name in words; ``all training images`` if empty."""
    return Subset.named(name).in_words if name else "all training images"
