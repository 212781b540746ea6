"""A contact sheet: stored images of a prepared split with their class names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from decathlon.common.errors import UsageError, nearest
from decathlon.common.files import replacing
from decathlon.data.reading.store import Images, Store
from decathlon.data.shard import UNKNOWN
from decathlon.suites.base import SPLITS

MOST = 2000
"""Images on one sheet."""
WIDTH = 1200
"""Pixels across a sheet, unless one image is wider."""
SHORT = 128
"""Short side in pixels at which larger images are shown."""
_GAP = 10
_TEXT = 10
_LINES = 2
_LINE = 14
_PAPER, _INK, _FRAME = (255, 255, 255), (40, 40, 40), (230, 30, 30)
_FRAME_WIDTH = 2
"""Pixels of the line around a bounding box."""
_WITHHELD = "(withheld)"

_LACKING = "\uffff"
"""A character that no font has: it is drawn as the sign for missing characters."""

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Tile:
    """One image and its position on the sheet.

    Attributes:
        index: Position of the image in its split.
        left: In pixels from the sheet's left edge.
        top: In pixels from the sheet's upper edge.
        width: Of the image as it is shown, in pixels.
        height: Of the image as it is shown, in pixels.
    """

    index: int
    left: int
    top: int
    width: int
    height: int


def chosen(images: Images, count: int) -> list[int]:
    """Returns the positions of up to ``count`` images, spread evenly over the classes."""
    by_class = np.argsort(images.labels, kind="stable")
    spread = np.linspace(0, len(images) - 1, min(count, len(images)))
    return [int(index) for index in by_class[np.rint(spread).astype(np.int64)]]


def laid_out(images: Images, indices: Sequence[int]) -> tuple[list[Tile], int, int]:
    """Arranges images in rows, each in its own size, large ones made smaller.

    Returns:
        (tiles, width and height of the sheet in pixels).
    """
    sizes = np.stack([images.widths[list(indices)], images.heights[list(indices)]], axis=1)
    scale = np.minimum(1, SHORT / sizes.min(axis=1, keepdims=True))
    shown = np.rint(sizes * scale).astype(int).tolist()
    wide = max(WIDTH, max(width for width, _ in shown) + 2 * _GAP)
    tiles: list[Tile] = []
    left, top, row = _GAP, _GAP, 0
    for index, (width, height) in zip(indices, shown, strict=True):
        if left + width + _GAP > wide and left > _GAP:
            left, top, row = _GAP, top + row + _LINES * _LINE + _GAP, 0
        tiles.append(Tile(index, left, top, width, height))
        left, row = left + width + _GAP, max(row, height)
    used = max(tile.left + tile.width for tile in tiles) + _GAP
    return tiles, used, top + row + _LINES * _LINE + _GAP


def thumbnail(images: Images, index: int) -> bytes:
    """Returns one image as a JPEG, as small as it is on a sheet."""
    ((tile,), _, _) = laid_out(images, [index])
    buffer = BytesIO()
    shown = Image.fromarray(images.pixels(index)).resize((tile.width, tile.height))
    shown.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _font() -> _Font:
    """Returns a font with Latin, Greek and Cyrillic letters, which Pillow's own lacks."""
    import matplotlib  # for its folder of fonts

    try:
        path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
        return ImageFont.truetype(path, _TEXT)
    except OSError:  # some systems keep fonts elsewhere
        return ImageFont.load_default(_TEXT)


def written(text: str, font: _Font) -> str:
    """Escapes the characters of a text that a font lacks."""
    if text.isascii():
        return text
    if not isinstance(font, ImageFont.FreeTypeFont):
        return text.encode("ascii", "backslashreplace").decode()
    box = bytes(font.getmask(_LACKING))

    def shown(character: str) -> str:
        if bytes(font.getmask(character)) != box:
            return character
        return character.encode("ascii", "backslashreplace").decode()

    return "".join(map(shown, text))


def _cut(text: str, width: int, font: _Font) -> str:
    """Shortens a text to so many pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _lines(text: str, width: int, font: _Font) -> Iterator[str]:
    """Breaks a class name, whose words are joined by spaces, ``_`` or ``-``, into lines."""
    words, line = text.replace("_", " ").split(), ""
    for number, word in enumerate(words):
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            yield _cut(line, width, font)
            yield _cut(" ".join(words[number:]), width, font)
            return
        line = longer
    yield _cut(line, width, font)


def draw(
    images: Images, class_names: Sequence[str], count: int, boxes: bool = False
) -> Image.Image:
    """Draws a contact sheet.

    Args:
        images: The images.
        class_names: Name by label.
        count: Images on the sheet, at most.
        boxes: True to draw the bounding boxes, which the images need to have.
    """
    tiles, width, height = laid_out(images, chosen(images, count))
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen, font = ImageDraw.Draw(sheet), _font()
    for tile in tiles:
        pixels = images.pixels(tile.index)
        sheet.paste(
            Image.fromarray(pixels).resize((tile.width, tile.height)), (tile.left, tile.top)
        )
        if boxes and images.boxes is not None:
            scale = tile.width / pixels.shape[1]
            left, top, wide, high = (scale * float(x) for x in images.boxes[tile.index])
            left, top = left + tile.left, top + tile.top
            # A pen draws on whole pixels, both ends included.
            frame = (round(left), round(top), round(left + wide) - 1, round(top + high) - 1)
            pen.rectangle(frame, outline=_FRAME, width=_FRAME_WIDTH)
        label = int(images.labels[tile.index])
        name = _WITHHELD if label == UNKNOWN else written(class_names[label], font)
        for number, line in enumerate(_lines(name, tile.width + _GAP // 2, font)):
            corner = (tile.left, tile.top + tile.height + 1 + _LINE * number)
            pen.text(corner, line, _INK, font)
    return sheet


def show(store: Store, domain: str, split: str, count: int, out: Path, boxes: bool = False) -> int:
    """Writes a contact sheet of a prepared split.

    Args:
        store: The prepared data.
        domain: The domain.
        split: ``"train"``, ``"val"`` or ``"test"``.
        count: Images on the sheet, 1 to 2000; fewer if the split has fewer.
        out: A file ending in ``.png``, written whole or not at all.
        boxes: True to draw the bounding boxes.

    Returns:
        Number of images drawn.

    Raises:
        UsageError: The domain is not prepared or has no boxes, or another argument is out of its
            range.
        DataError: The split is missing or damaged.
        OSError: The file cannot be written.
    """
    if split not in SPLITS:
        raise UsageError(f"unknown split '{split}'{nearest(split, SPLITS)} (train, val or test)")
    if not 1 <= count <= MOST:
        raise UsageError(f"{count} images on a sheet: give a number from 1 to {MOST}")
    if out.suffix.lower() != ".png":
        raise UsageError(f"{out}: a contact sheet is a PNG file; name it {out.stem}.png")
    entry = store.domain(domain)
    if boxes and not entry.boxes:
        raise UsageError(f"--boxes: {domain} has no bounding boxes in {store.data}; leave it out")
    images = store.images(domain, [split])
    sheet = draw(images, entry.class_names, count, boxes)
    with replacing(out) as part:
        sheet.save(part, "PNG")
    return min(count, len(images))
