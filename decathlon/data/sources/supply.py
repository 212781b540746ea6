"""What preparing needs of a source: a :class:`Supply` of image files.

A new source of images is a module that makes a :class:`~decathlon.data.sources.plan.DomainPlan`
and a supply: most often of :mod:`~decathlon.data.sources.image_archive` or
:mod:`~decathlon.data.sources.image_folder`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from decathlon.data.image import ARCHIVE_PIXELS, PHOTOGRAPH_PIXELS, TOLERANCE
from decathlon.data.manifest import SourceEntry
from decathlon.data.sources.annotations import Annotations
from decathlon.data.sources.name_index import NameIndex

LARGEST_IMAGE = 32 << 20
"""Bytes of an image file; an official one takes under 100 kB."""


@dataclass(slots=True)
class Supplied:
    """One image that is wanted.

    Attributes:
        image: Its position in the index.
        where: Where it was found, for messages.
        read: Returns its bytes; valid until the next image is asked for. Raises
            :class:`ImageError` where a file of a folder cannot be read.
    """

    image: int
    where: str
    read: Callable[[], bytes]


class Rule(NamedTuple):
    """How images are decoded.

    Attributes:
        limit: Largest number of pixels of an image.
        tolerance: See :func:`decathlon.data.image.stored_size`.
        originals: True if the annotated sizes are of these images made smaller.
        photographs: True for photographs, see :class:`decathlon.data.image.ImageFile`.
    """

    limit: int = ARCHIVE_PIXELS
    tolerance: int = TOLERANCE
    originals: bool = False
    photographs: bool = False


SMALL = Rule()
PHOTOGRAPHS = Rule(PHOTOGRAPH_PIXELS, 0, photographs=True)
ORIGINALS = PHOTOGRAPHS._replace(originals=True)


class Supply(Protocol):
    """Images from one place.

    Attributes:
        name: What the place is called in messages and in the manifest.
        mend: What to do about a damaged image.
        rule: How its images are decoded.
        apart: True if each image is a file of its own, which can be replaced alone.
    """

    name: str
    mend: str
    rule: Rule
    apart: bool

    def identity(self, splits: Sequence[Annotations]) -> list[str | int]:
        """Returns what tells this place from another, without reading it.

        Args:
            splits: Name the images that are wanted.
        """

    def unchanged(self, source: SourceEntry, splits: Sequence[Annotations]) -> bool:
        """Returns True if this place can be what data was made of, without reading images.

        Args:
            source: What it was made of.
            splits: Name the images that are wanted.
        """

    def images(self, index: NameIndex) -> Iterator[Supplied]:
        """Yields the images that are named, each once.

        Raises:
            DataError: The place is damaged, or an image is too large or no regular file.
        """

    def source(self) -> SourceEntry:
        """Returns what the place was, once all images have been read."""
