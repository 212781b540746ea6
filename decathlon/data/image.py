"""One image file to pixels.

simplejpeg decodes a small JPEG in a third of Pillow's time with the same result, as both
use libjpeg-turbo with its default settings. What it cannot decode without a warning (CMYK,
PNG, odd files) goes to Pillow; :mod:`decathlon.data.colour` converts each image mode to RGB.

Images of official archives are stored exactly as they decode. Photographs (class folders and
the ILSVRC-2012 originals) are turned upright by their EXIF orientation, and may be TIFF.
"""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import simplejpeg
from PIL import ExifTags, Image

from decathlon.data.colour import ModeError, Pixels, remarks, rgb

Sizes = npt.NDArray[np.int64]

TOLERANCE = 1
"""Pixels by which the short side of an official image may differ: a few have 73."""
ARCHIVE_PIXELS = 4_000_000
"""Largest image taken from official archives, whose images are small already."""
PHOTOGRAPH_PIXELS = 100_000_000
"""Largest original photograph taken."""
PILLOW_PIXELS = 40_000_000
"""Largest image that Pillow decodes, which takes up to 23 bytes a pixel (WebP with alpha).

libjpeg-turbo takes 9 at most, so that 1 GB of memory suffices for each.
"""
STORED_PIXELS = 4_000_000
"""Largest image that is stored."""
LARGEST_SIDE = 65535
"""Pixels of a side: shards hold them in 16 bits."""
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP")
"""Formats of images in official archives."""
PHOTOGRAPHS = (*FORMATS, "TIFF")
"""Formats of photographs."""
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError)
"""What Pillow raises for damaged files."""
LIBRARIES = f"simplejpeg {simplejpeg.__version__}, Pillow {PIL.__version__}, modes 1"
"""What pixels depend on besides the file: libraries, and the version of the table of modes."""
RESIZE = f"Pillow {PIL.__version__} bicubic"


class ImageError(ValueError):
    """An image that cannot be used; the message says why, but does not name the image."""


def _open(data: bytes | memoryview, limit: int, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    limit = min(limit, PILLOW_PIXELS)
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise ImageError(f"its header declares too many pixels ({error})") from None
    except _DAMAGED as error:
        raise ImageError(f"no image that can be read ({type(error).__name__})") from None
    _check(image.height, image.width, limit)
    return image


@contextmanager
def _silence() -> Iterator[None]:
    """Silences Pillow's warnings: of large images, which are checked here, and of odd metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check(height: int, width: int, limit: int) -> None:
    sides = 0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE
    if not sides or height * width > limit:
        raise ImageError(
            f"its header declares {width} x {height} pixels (limit {limit / 1e6:.0f} megapixels)"
        )


def recognised(path: Path) -> bool:
    """Returns True if a file holds a photograph, judging by its first bytes."""
    with _silence():
        try:
            with Image.open(path, formats=PHOTOGRAPHS):
                return True
        except Image.DecompressionBombError:
            return True
        except Exception:  # noqa: BLE001  (parsers of headers may raise anything)
            return False


def _orientation(image: Image.Image) -> int:
    """Returns an image's EXIF orientation, 1 (upright) without a valid one."""
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        found = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001  (a damaged EXIF block does no harm to the pixels)
        return 1
    return found if found in _TURNS else 1


_TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: pixels[::-1].transpose(1, 0, 2),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: pixels[:, ::-1].transpose(1, 0, 2),
}
"""Turns pixels upright, by EXIF orientation."""


class ImageFile:
    """An image file whose header has been read.

    Attributes:
        height: In pixels, of the upright image.
        width: In pixels, of the upright image.
        orientation: EXIF orientation of the file, by which the image was turned upright.
        remarks: Decisions made in decoding it; see :func:`decathlon.data.colour.remarks`.
    """

    def __init__(self, data: bytes | memoryview, limit: int, photograph: bool = False) -> None:
        """Reads the header.

        Args:
            data: The file's bytes.
            limit: Largest number of pixels allowed.
            photograph: Turn it upright by its EXIF orientation, and accept TIFF.

        Raises:
            ImageError: The header cannot be read or declares more.
        """
        self._data, self._limit = data, limit
        self._formats: tuple[str, ...] = PHOTOGRAPHS if photograph else FORMATS
        self.orientation = 1
        self.height = self.width = 0
        self.remarks: list[str] = []
        self._plain = self._is_plain()
        if photograph or not self._plain:
            with _silence():
                self._read_header()

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels, of the upright image."""
        return self.height, self.width

    def pixels(self) -> Pixels:
        """Decodes the image.

        Returns:
            uint8 array (height, width, 3).

        Raises:
            ImageError: The file is damaged or truncated, or its mode is refused.
        """
        found = self._turbo(None) if self._plain else self._pillow()
        found = _TURNS[self.orientation](found)
        if found.shape[:2] != self.shape:
            raise ImageError(f"decodes to another size than its header says ({found.shape[:2]})")
        return found

    def decode_into(self, memory: memoryview, size: tuple[int, int]) -> None:
        """Decodes the image, resizes it if it has another size, and stores its pixels.

        Args:
            memory: Writable, 3 * height * width bytes of ``size``.
            size: (height, width).

        Raises:
            ImageError: The file is damaged or truncated, its mode is refused, or there is not
                enough memory.
        """
        try:
            if self._plain and self.orientation == 1 and size == self.shape:
                pixels = self._turbo(memory)
                if self._plain:
                    return  # they are there already
            else:
                pixels = bicubic(self.pixels(), *size)
            memory[:] = np.ascontiguousarray(pixels).data.cast("B")
        except MemoryError:
            raise ImageError(
                f"there is not enough memory for its {self.width} x {self.height} pixels"
            ) from None

    def _is_plain(self) -> bool:
        """Reads the header of a JPEG that simplejpeg can decode."""
        if self._data[:2] != b"\xff\xd8":
            return False
        try:
            self.height, self.width, space, _ = simplejpeg.decode_jpeg_header(self._data)
        except ValueError:
            return False  # Pillow decides
        _check(self.height, self.width, self._limit)
        return space in ("Gray", "YCbCr")

    def _read_header(self) -> None:
        try:
            image = _open(self._data, self._limit, self._formats)
        except ImageError:
            if self._plain:  # simplejpeg accepts more
                return
            raise
        self.height, self.width = image.height, image.width
        if self._formats is PHOTOGRAPHS and image.format != "TIFF":  # Pillow turns TIFF itself
            self.orientation = _orientation(image)
            if self.orientation >= 5:
                self.height, self.width = self.width, self.height

    def _turbo(self, memory: memoryview | None) -> Pixels:
        """Decodes a plain JPEG, into ``memory`` if given."""
        try:
            pixels: Pixels = simplejpeg.decode_jpeg(
                self._data, colorspace="RGB", strict=True, buffer=memory
            )
        except ValueError:
            self._plain = False  # Pillow decides
            return self._pillow()
        return pixels

    def _pillow(self) -> Pixels:
        with _silence():
            image = _open(self._data, self._limit, self._formats)
            try:
                pixels = rgb(image, self._data)
                self.remarks = remarks(image)
            except ModeError as error:
                raise ImageError(str(error)) from None
            except _DAMAGED as error:
                raise ImageError(f"damaged or truncated ({error})") from None
        return pixels


def upright(image: Image.Image) -> Pixels:
    """Returns the pixels of an image that Pillow has opened, as those of a photograph.

    Args:
        image: Any image; its first frame is taken, and it is turned by its EXIF orientation.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        ImageError: It is damaged or truncated, or its mode is refused.
    """
    with _silence():
        turn = 1 if image.format == "TIFF" else _orientation(image)  # Pillow turns TIFF itself
        try:
            return _TURNS[turn](rgb(image.copy(), b""))  # a copy has no format: no file's bytes
        except ModeError as error:
            raise ImageError(str(error)) from None
        except _DAMAGED as error:
            raise ImageError(f"damaged or truncated ({error})") from None


def stored_size(height: int, width: int, side: int, tolerance: int) -> tuple[int, int]:
    """Returns the (height, width) at which an image is stored.

    Args:
        height: As decoded.
        width: As decoded.
        side: Short side of stored images.
        tolerance: Pixels by which the short side may differ from ``side`` and the image be
            stored as it is.

    Raises:
        ImageError: It would be too large, as it is so long and narrow.
    """
    sizes = stored_sizes(np.array(height), np.array(width), side, tolerance)
    high, wide = map(int, sizes)
    if too_large(high, wide):
        raise ImageError(
            f"its {width} x {height} pixels would be {wide} x {high} when stored, which"
            f" is too long (limit {STORED_PIXELS / 1e6:.0f} megapixels)"
        )
    return high, wide


def too_large(height: int | Sizes, width: int | Sizes) -> Any:
    """Returns True if an image, or each of many, is too large to be stored at a size."""
    return (height * width > STORED_PIXELS) | (height > LARGEST_SIDE) | (width > LARGEST_SIDE)


def wanted_size(
    shape: tuple[int, int], planned: tuple[int, int], side: int, tolerance: int, originals: bool
) -> tuple[int, int]:
    """Returns the (height, width) at which an image is stored whose size is annotated.

    Args:
        shape: (height, width) as decoded.
        planned: (height, width) as annotated.
        side: See :func:`stored_size`.
        tolerance: See :func:`stored_size`.
        originals: True if the annotated size is that of a downscaled copy of this photograph.
            Then it is taken if it differs from the photograph's own by rounding only.
    """
    if shape == planned and abs(min(shape) - side) <= tolerance:
        return planned
    size = stored_size(*shape, side, tolerance)
    near = originals and all(abs(a - b) <= 1 for a, b in zip(size, planned, strict=True))
    return planned if near else size


def stored_sizes(heights: Sizes, widths: Sizes, side: int, tolerance: int) -> tuple[Sizes, Sizes]:
    """Returns what :func:`stored_size` does for many images; an unknown size (0) is a square.

    Images that are too large are not refused; see :func:`too_large`.
    """
    short = np.minimum(heights, widths)
    unknown = short <= 0
    scale = side / np.where(unknown, side, short)
    kept = np.abs(short - side) <= tolerance

    def stored(values: Sizes) -> Sizes:
        scaled = np.maximum(side, np.rint(values * scale)).astype(np.int64)
        return np.where(unknown, side, np.where(kept, values, scaled))

    return stored(heights), stored(widths)


def bicubic(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resizes an image to (height, width) with Pillow's bicubic filter, unless it has that size."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
