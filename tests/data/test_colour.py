"""What becomes of each image mode: the table of ``decathlon.data.colour``, row by row."""

import io
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image, ImageOps

from decathlon.data import colour
from decathlon.data.image import PHOTOGRAPH_PIXELS, ImageError, ImageFile, bicubic
from decathlon.data.preparing.prepare import prepare
from decathlon.data.reading.store import open_store
from tests.data.official import decoded, encoded, picture

COLOURS = np.asarray(picture(np.random.default_rng(1), 72, 90))
GREY = COLOURS[:, :, 0]
ALPHA = COLOURS[:, :, 1]


def taken(data: bytes) -> np.ndarray:
    return ImageFile(data, PHOTOGRAPH_PIXELS, photograph=True).pixels()


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        taken(data)
    return str(caught.value)


def thrice(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[:, :, None] / 255.0
    return colours * share + 255 * (1 - share)


def png(depth: int, kind: int, rows: np.ndarray, trns: bytes = b"") -> bytes:
    """A PNG of any depth, which Pillow writes only in part; rows are bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    width = rows.shape[1] * 8 // (depth * {0: 1, 2: 3, 4: 2, 6: 4}[kind])
    header = struct.pack(">IIBBBBB", width, rows.shape[0], depth, kind, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = chunk(b"IHDR", header) + (chunk(b"tRNS", trns) if trns else b"")
    return b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def wide(values: np.ndarray) -> np.ndarray:
    """16-bit samples as the bytes of a PNG's rows; their low byte says nothing of the high."""
    low = (np.arange(values.size).reshape(values.shape) * 37 % 256).astype(np.uint16)
    samples = (values.astype(np.uint16) << 8 | low).astype(">u2")
    return samples.reshape(len(values), -1).view(np.uint8)


def sixteen(factor: int = 257) -> Image.Image:
    return Image.fromarray(GREY.astype(np.uint16) * factor)


def big_endian() -> Image.Image:
    return Image.frombytes("I;16B", (90, 72), (GREY.astype(">u2") * 257).astype(">u2").tobytes())


def tiff(tag: int, value: int) -> bytes:
    """A grey TIFF of 16 bits one of whose tags says something else than Pillow wrote."""
    data = bytearray(encoded(sixteen(), "TIFF"))
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry) == (tag,):
            struct.pack_into("<H", data, entry + 8, value)
    return bytes(data)


def pgm(maximum: int) -> bytes:
    values = (GREY.astype(np.uint32) * maximum // 255).astype(">u2")
    return b"P5 90 72 %d\n" % maximum + values.tobytes()


def premultiplied(mode: str) -> Image.Image:
    whole = Image.fromarray(np.dstack([COLOURS, ALPHA]), "RGBA")
    return whole.convert("RGBa") if mode == "RGBa" else whole.convert("LA").convert("La")


def with_alpha(image: Image.Image) -> Image.Image:
    image.putalpha(Image.fromarray(ALPHA))
    return image


def palette(alpha: bytes | int | None) -> bytes:
    image = Image.fromarray(COLOURS).quantize(16)
    options = {} if alpha is None else {"transparency": alpha}
    return encoded(image, "PNG", **options)


def ycck() -> bytes:
    """A JPEG of luminance, chrominance and black, as Photoshop writes them."""
    shades = np.full_like(GREY, 200)
    planes = Image.fromarray(255 - COLOURS).convert("YCbCr").split()
    # Pillow inverts what it writes.
    stored = [ImageOps.invert(plane) for plane in (*planes, Image.fromarray(shades))]
    data = bytearray(encoded(Image.merge("CMYK", stored), quality=98, subsampling=0))
    at = data.index(b"Adobe")
    assert data[at + 11] == 0
    data[at + 11] = 2
    return bytes(data)


def cmyk(kind: str) -> bytes:
    return encoded(Image.fromarray(np.dstack([COLOURS, ALPHA]), "CMYK"), kind)


def of_cmyk() -> np.ndarray:
    return (255.0 - COLOURS) * (255.0 - ALPHA[:, :, None]) / 255


# By mode: a file of that mode, what is to be stored, and by how much that may be off.
TAKEN: dict[str, list[tuple[Callable[[], bytes], Callable[[], np.ndarray], int]]] = {
    "RGB": [
        (lambda: encoded(Image.fromarray(COLOURS), "PNG"), lambda: COLOURS, 0),
        (lambda: png(16, 2, wide(COLOURS)), lambda: COLOURS, 0),
        (
            lambda: encoded(
                Image.fromarray(np.where(COLOURS < 9, 9, COLOURS)), "PNG", transparency=(9, 9, 9)
            ),
            lambda: np.where(
                (COLOURS <= 9).all(2)[:, :, None], 255, np.where(COLOURS < 9, 9, COLOURS)
            ),
            0,
        ),
    ],
    "L": [
        (lambda: encoded(Image.fromarray(GREY), "PNG"), lambda: thrice(GREY), 0),
        (
            lambda: encoded(Image.fromarray(GREY), "PNG", transparency=int(GREY[3, 3])),
            lambda: thrice(np.where(GREY[3, 3] == GREY, 255, GREY)),
            0,
        ),
        # Grey of 4 bits whose value 2, which is 34 of 255, is transparent.
        (
            lambda: png(4, 0, np.full((72, 36), 0x21, np.uint8), b"\0\2"),
            lambda: thrice(np.tile(np.array([255, 17], np.uint8), (72, 36))),
            0,
        ),
    ],
    "1": [
        (
            lambda: encoded(Image.fromarray(GREY > 127), "PNG"),
            lambda: thrice(np.where(GREY > 127, 255, 0)),
            0,
        ),
        (
            lambda: png(1, 0, np.full((72, 9), 0x0F, np.uint8), b"\0\0"),
            lambda: np.full((72, 72, 3), 255),
            0,
        ),
    ],
    "P": [
        (lambda: palette(None), lambda: decoded(palette(None)), 0),
        (
            lambda: palette(bytes(range(0, 256, 16))),
            lambda: on_white(
                decoded(palette(None)),
                np.asarray(Image.open(io.BytesIO(palette(None)))) * np.uint8(16),
            ),
            1,
        ),
        (
            lambda: palette(3),
            lambda: on_white(
                decoded(palette(None)),
                np.where(np.asarray(Image.open(io.BytesIO(palette(None)))) == 3, 0, 255),
            ),
            0,
        ),
    ],
    "RGBA": [
        (
            lambda: encoded(Image.fromarray(np.dstack([COLOURS, ALPHA])), "PNG"),
            lambda: on_white(COLOURS, ALPHA),
            1,
        ),
        (
            lambda: png(16, 6, wide(np.dstack([COLOURS, ALPHA]))),
            lambda: on_white(COLOURS, ALPHA),
            1,
        ),
    ],
    "LA": [
        (
            lambda: encoded(Image.fromarray(np.dstack([GREY, ALPHA]), "LA"), "PNG"),
            lambda: on_white(thrice(GREY), ALPHA),
            1,
        )
    ],
    "I;16": [
        (lambda: encoded(sixteen(), "PNG"), lambda: thrice(GREY), 0),
        (lambda: encoded(sixteen(), "TIFF"), lambda: thrice(GREY), 0),
        (lambda: png(16, 0, wide(GREY)), lambda: thrice(GREY), 0),
        (
            lambda: encoded(sixteen(), "PNG", transparency=257 * int(GREY[3, 3])),
            lambda: thrice(np.where(GREY[3, 3] == GREY, 255, GREY)),
            0,
        ),
    ],
    "I;16B": [
        (
            lambda: encoded(big_endian(), "TIFF", big_endian=True),
            lambda: thrice(GREY),
            0,
        )
    ],
    "I": [
        (lambda: pgm(65535), lambda: thrice(GREY), 0),
        (lambda: pgm(1020), lambda: thrice(GREY), 1),
    ],
    "CMYK": [
        (lambda: cmyk("TIFF"), of_cmyk, 1),
        (lambda: cmyk("JPEG"), of_cmyk, 40),
        (ycck, lambda: COLOURS * 200.0 / 255, 12),
    ],
    # Pillow before 13 takes its own file for RGB, and finds it truncated.
    "YCbCr": [
        (lambda: encoded(Image.fromarray(COLOURS).convert("YCbCr"), "TIFF"), lambda: COLOURS, 3)
    ][: PIL.__version__ >= "13"],
}

# By mode: images that no file of the formats that are taken opens as.
MADE: dict[str, tuple[Callable[[], Image.Image], Callable[[], np.ndarray], int]] = {
    "RGBX": (lambda: Image.fromarray(COLOURS).convert("RGBX"), lambda: COLOURS, 0),
    "PA": (
        lambda: with_alpha(Image.fromarray(COLOURS).quantize(16).convert("PA")),
        lambda: on_white(np.asarray(Image.fromarray(COLOURS).quantize(16).convert("RGB")), ALPHA),
        1,
    ),
    "RGBa": (lambda: premultiplied("RGBa"), lambda: on_white(COLOURS, ALPHA), 2),
    "La": (
        lambda: premultiplied("La"),
        lambda: on_white(thrice(np.asarray(Image.fromarray(COLOURS).convert("L"))), ALPHA),
        2,
    ),
    "I;16L": (
        lambda: Image.frombytes("I;16L", (90, 72), sixteen().tobytes()),
        lambda: thrice(GREY),
        0,
    ),
    "I;16N": (
        lambda: Image.frombytes("I;16N", (90, 72), sixteen().tobytes()),
        lambda: thrice(GREY),
        0,
    ),
    "HSV": (lambda: Image.fromarray(COLOURS).convert("HSV"), lambda: COLOURS, 12),
}

REFUSED: dict[str, list[tuple[Callable[[], bytes], str]]] = {
    "F": [
        (lambda: encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF"), "floating-point"),
        (lambda: encoded(Image.fromarray(GREY.astype(np.float32)), "PPM"), "floating-point"),
    ],
    "LAB": [(lambda: encoded(Image.new("LAB", (72, 72)), "TIFF"), "L\\*a\\*b\\*")],
    "I": [(lambda: encoded(Image.fromarray(GREY.astype(np.int32)), "TIFF"), "32-bit integers")],
}


def close(found: np.ndarray, wanted: np.ndarray, error: int) -> None:
    difference = np.abs(found.astype(float) - wanted)
    assert found.shape == wanted.shape
    assert difference.max() <= error


@pytest.mark.parametrize(
    ("mode", "k"), [(m, k) for m, rows in TAKEN.items() for k in range(len(rows))]
)
def test_a_mode_is_stored_as_the_table_says(mode: str, k: int) -> None:
    make, wanted, error = TAKEN[mode][k]
    data = make()
    assert Image.open(io.BytesIO(data)).mode == mode
    close(taken(data), wanted(), error)


@pytest.mark.parametrize("mode", MADE)
def test_a_mode_of_no_file_is_converted_too(mode: str) -> None:
    make, wanted, error = MADE[mode]
    image = make()
    assert image.mode == mode
    close(colour.rgb(image, b""), wanted(), error)


@pytest.mark.parametrize(
    ("mode", "k"), [(m, k) for m, rows in REFUSED.items() for k in range(len(rows))]
)
def test_a_mode_is_refused_by_name(mode: str, k: int) -> None:
    make, words = REFUSED[mode][k]
    data = make()
    assert Image.open(io.BytesIO(data)).mode == mode
    assert re.search(rf"{words}.*\(mode {mode}\); save it as an 8-bit RGB", refusal(data))


def test_the_table_lists_every_mode_and_each_is_tested() -> None:
    rows = re.findall(r"^\| (`.*?) \|.*\| (.*?) \|$", colour.__doc__ or "", re.MULTILINE)
    listed = {
        mode: said == "refused" for modes, said in rows for mode in re.findall("`(.*?)`", modes)
    }
    assert listed == {mode: rule is None for mode, rule in colour.MODES.items()}
    assert listed.keys() == TAKEN.keys() | MADE.keys() | REFUSED.keys()


def test_a_mode_that_is_not_in_the_table_is_refused() -> None:
    image = Image.new("RGB", (9, 9))
    image._mode = "XYZ"
    with pytest.raises(colour.ModeError, match=r"not known \(mode XYZ\)"):
        colour.rgb(image, b"")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (lambda: tiff(262, 0), "16 bits have 0 for white"),
        (lambda: tiff(258, 12), "12 bits"),
        (lambda: encoded(Image.fromarray(GREY), "TIFF", tiffinfo={339: 2}), "not unsigned"),
        (lambda: png(16, 2, wide(COLOURS), b"\0\1\0\2\0\3"), "a transparent colour"),
    ],
)
def test_what_the_mode_does_not_tell_is_refused_too(data: Any, told: str) -> None:
    assert told in refusal(data())


def test_a_large_image_is_converted_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colour, "_STRIP", 900)
    for rows in TAKEN.values():
        for make, wanted, error in rows:
            close(taken(make()), wanted(), error)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_of_several_frames_is_taken(kind: str) -> None:
    first, second = Image.new("RGB", (72, 72), "red"), Image.new("RGB", (72, 72), "blue")
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(first, kind, save_all=True, append_images=[second], **options)
    image = ImageFile(data, PHOTOGRAPH_PIXELS, photograph=True)
    assert (image.pixels() == (255, 0, 0)).all()
    assert image.remarks == ["images of several frames, of which the first was taken"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_upright_and_official_images_are_not(
    kind: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    data = encoded(Image.fromarray(COLOURS), kind, exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    image = ImageFile(data, PHOTOGRAPH_PIXELS, photograph=True)
    assert image.shape == upright.shape[:2] == ((72, 90) if orientation < 5 else (90, 72))
    np.testing.assert_array_equal(image.pixels(), upright)
    for size in (image.shape, (100, 100)):
        room = np.empty((*size, 3), np.uint8)
        image.decode_into(room.data.cast("B"), size)
        np.testing.assert_array_equal(room, bicubic(upright, *size))
    if kind == "TIFF":
        with pytest.raises(ImageError, match="no image that can be read"):
            ImageFile(data, PHOTOGRAPH_PIXELS)
    else:
        np.testing.assert_array_equal(ImageFile(data, PHOTOGRAPH_PIXELS).pixels(), decoded(data))


@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM" * 9]
)
def test_a_damaged_orientation_is_none(exif: bytes) -> None:
    plain = encoded(Image.fromarray(COLOURS))
    data = encoded(Image.fromarray(COLOURS), exif=exif)
    np.testing.assert_array_equal(taken(data), decoded(plain))


def test_what_was_decided_is_told(tmp_path: Any) -> None:
    folder = tmp_path / "photos" / "train" / "crow"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(encoded(sixteen(), "PNG"))
    (folder / "b.png").write_bytes(encoded(Image.fromarray(np.dstack([COLOURS, ALPHA])), "PNG"))
    (folder / "c.png").write_bytes(encoded(Image.fromarray(COLOURS).convert("RGBA"), "PNG"))
    told = prepare(None, tmp_path / "data", folders={"birds": tmp_path / "photos"}, jobs=0).messages
    assert "birds: grey images of 16 bits, reduced to the high byte: 1" in told
    assert "birds: images with transparent parts, composed on white: 1" in told
    np.testing.assert_array_equal(
        open_store(tmp_path / "data").images("birds", ["train"]).pixels(0), thrice(GREY)
    )
