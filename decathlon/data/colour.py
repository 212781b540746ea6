"""Any image mode to 8-bit RGB, or a refusal that names it.

The modes are Pillow's. A plain ``convert("RGB")`` clips 16 bits to white and shows the
colours hidden below transparent pixels, so modes are converted by this table:

| mode | occurs in | stored as |
| --- | --- | --- |
| `RGB`, `RGBX` | most files | its samples; the high byte where a sample has 16 bits |
| `L` | grey images | its samples, three times |
| `1` | black and white images | 0 or 255, three times |
| `P` | palette images, first frame of a GIF | the palette's colours |
| `RGBA`, `LA`, `PA`, `RGBa`, `La` | images with alpha | composed on white |
| `I;16`, `I;16L`, `I;16B`, `I;16N` | grey PNG and TIFF of 16 bits | the high byte, three times |
| `I` | grey PGM of 16 bits | the high byte, three times; refused from any other file |
| `CMYK` | JPEG (also YCCK), TIFF | (255 - C)(255 - K) / 255 and so on |
| `YCbCr` | TIFF, with Pillow 13 or later | RGB by the JPEG standard |
| `HSV` | no file format | Pillow's conversion |
| `F` | floating-point TIFF, PFM | refused |
| `LAB` | TIFF | refused |

The high byte is Pillow's own rule for colour images of 16 bits, and gives ``k`` for
``257 * k``. A transparent colour of a mode without alpha (PNG, GIF) is composed on white too.
A CMYK JPEG holds inverted values, as Adobe writes them and browsers read them. Colour
profiles are not applied. Also refused: TIFF of signed samples, grey TIFF of 12
bits or of 16 bits with 0 for white, and a PNG of three times 16 bits with a transparent colour.

Of an animation (GIF, WebP, PNG) or a TIFF of several pages the first frame is taken.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

PAPER = "white"
"""Background on which transparent images are composed."""
_STRIP = 1 << 20
"""Pixels converted at a time, so that a large image is not in memory three times."""
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_UNSIGNED = 1
_PNG_DEPTH = 24
"""Offset of the bits per sample in a PNG file."""


class ModeError(ValueError):
    """Pixels whose meaning as 8-bit RGB is not certain."""


def _refused(what: str) -> ModeError:
    return ModeError(f"{what}; save it as an 8-bit RGB or grey image")


def _plain(strip: Image.Image, _: Any) -> Pixels:
    return np.asarray(strip.convert("RGB"))


def _on_paper(strip: Image.Image, _: Any) -> Pixels:
    if strip.mode == "La":
        strip = strip.convert("LA")
    paper = Image.new("RGBA", strip.size, PAPER)
    return np.asarray(Image.alpha_composite(paper, strip.convert("RGBA")).convert("RGB"))


def _high_byte(strip: Image.Image, transparent: Any) -> Pixels:
    values = np.asarray(strip)
    grey = (values >> 8).astype(np.uint8)
    if transparent is not None:
        grey[values == transparent] = 255
    return np.repeat(grey[:, :, None], 3, axis=2)


_Conversion = Callable[[Image.Image, Any], Pixels]
_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_WORDS = {"F": "floating-point numbers", "LAB": "CIE L*a*b* colours", "I": "32-bit integers"}
MODES: dict[str, _Conversion | None] = {
    **dict.fromkeys(("RGB", "RGBX", "L", "1", "P", "CMYK", "YCbCr", "HSV"), _plain),
    **dict.fromkeys(("RGBA", "LA", "PA", "RGBa", "La"), _on_paper),
    **dict.fromkeys(_SIXTEEN, _high_byte),
    **dict.fromkeys(("F", "LAB")),
}
"""How each mode is converted; None for those that are refused."""


def _check_tiff(image: Any) -> None:
    """Checks properties of TIFF samples that Pillow's mode does not show.

    Raises:
        ModeError: Pillow would misread them.
    """
    tags = image.tag_v2
    kinds = {*tags.get(_SAMPLE_FORMAT, ())}
    if image.mode not in ("F", "I") and kinds - {_UNSIGNED}:
        raise _refused("its TIFF samples are not unsigned integers")
    if image.mode in _SIXTEEN and {*tags.get(_BITS, ())} == {12}:
        raise _refused("its TIFF samples have 12 bits")
    if image.mode in _SIXTEEN and tags.get(_PHOTOMETRIC) == 0:
        raise _refused("its TIFF samples of 16 bits have 0 for white")


def _transparent(image: Image.Image, data: bytes | memoryview) -> Any:
    """Returns the transparent colour of a mode without alpha, None if there is none.

    Raises:
        ModeError: It cannot be told from other colours.
    """
    value = image.info.get("transparency")
    if value is None or image.format != "PNG":
        return value
    depth = data[_PNG_DEPTH]
    if image.mode == "RGB" and depth == 16:
        raise _refused("it has 16 bits a sample and a transparent colour")
    if image.mode == "L" and depth < 8:  # Pillow scales the pixels but not this
        value = value * 255 // ((1 << depth) - 1)
    return value


def rgb(image: Image.Image, data: bytes | memoryview) -> Pixels:
    """Decodes an image that has been opened.

    Args:
        image: The image, whose first frame is taken.
        data: The file's bytes.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        ModeError: Its mode is one of those that are refused, or none of the table.
        OSError: The file is damaged; Pillow also raises ValueError, SyntaxError and EOFError.
    """
    if image.format == "TIFF":
        _check_tiff(image)
    convert = MODES.get(image.mode)
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        convert = None
    if convert is None:
        words = _WORDS.get(image.mode, "in a colour mode that is not known")
        raise _refused(f"its pixels are {words} (mode {image.mode})")
    transparent = _transparent(image, data)
    if transparent is not None:
        image.info["transparency"] = transparent
    image.load()
    if convert is _plain and image.has_transparency_data:
        convert = _on_paper
    width, height = image.size
    found = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        end = min(top + rows, height)
        found[top:end] = convert(image.crop((0, top, width, end)), transparent)
    return found


def remarks(image: Image.Image) -> list[str]:
    """Returns decisions made in decoding an image that its user may want to know."""
    told = []
    if _is_transparent(image):
        told.append("images with transparent parts, composed on white")
    if image.mode in _SIXTEEN:
        told.append("grey images of 16 bits, reduced to the high byte")
    if _has_frames(image):
        told.append("images of several frames, of which the first was taken")
    return told


def _is_transparent(image: Image.Image) -> bool:
    if image.mode[-1] in "Aa":
        lowest = image.getchannel(len(image.getbands()) - 1).getextrema()[0]
        return isinstance(lowest, int) and lowest < 255
    return image.has_transparency_data


def _has_frames(image: Image.Image) -> bool:
    if image.format == "MPO":  # a photograph and its previews
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001  (what follows the first frame may be damaged in any way)
        return True
