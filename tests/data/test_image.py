"""Pixels equal Pillow's plain decode, and sizes follow one rule."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decathlon.data.image import (
    ARCHIVE_PIXELS,
    ImageError,
    ImageFile,
    Pixels,
    stored_size,
    stored_sizes,
    too_large,
)
from tests.data.official import decoded, encoded, picture


def declared_size(data: bytes, limit: int) -> tuple[int, int]:
    return ImageFile(data, limit).shape


def decode(data: bytes, limit: int) -> Pixels:
    """Decodes to new memory, and once more to memory that is given."""
    image = ImageFile(data, limit)
    found = image.pixels()
    room = np.full(found.size, 99, np.uint8)
    image.decode_into(room.data, image.shape)
    np.testing.assert_array_equal(room, found.reshape(-1))
    return found


MODES = ["RGB", "L", "CMYK"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(72, 72), (73, 101), (200, 9)])
def test_jpegs_equal_pillow(
    mode: str, subsampling: int, progressive: bool, size: tuple[int, int]
) -> None:
    image = picture(np.random.default_rng(1), *size).convert(mode)
    options = {} if mode == "L" else {"subsampling": subsampling}
    data = encoded(image, quality=80, progressive=progressive, **options)
    np.testing.assert_array_equal(decode(data, ARCHIVE_PIXELS), decoded(data))
    assert declared_size(data, ARCHIVE_PIXELS) == size


@pytest.mark.parametrize(
    ("kind", "modes"),
    [
        ("PNG", ["RGB", "L", "P", "1", "RGBA", "LA"]),
        ("BMP", ["RGB", "L", "P", "1"]),
        ("GIF", ["RGB", "L", "P", "1"]),
        ("PPM", ["RGB", "L", "1"]),
        ("WEBP", ["RGB", "L", "RGBA"]),
    ],
)
def test_other_formats_equal_pillow(kind: str, modes: list[str]) -> None:
    for mode in modes:
        data = encoded(picture(np.random.default_rng(2), 72, 80).convert(mode), kind)
        np.testing.assert_array_equal(decode(data, ARCHIVE_PIXELS), decoded(data))


def test_a_jpeg_stored_as_rgb_equals_pillow() -> None:
    image = picture(np.random.default_rng(3), 72, 72)
    data = encoded(image, keep_rgb=True)
    np.testing.assert_array_equal(decode(data, ARCHIVE_PIXELS), decoded(data))


def test_a_truncated_jpeg_is_refused_at_every_cut() -> None:
    data = encoded(picture(np.random.default_rng(4), 72, 72))
    for cut in range(0, len(data) - 2, 37):
        with pytest.raises(ImageError):
            decode(data[:cut], ARCHIVE_PIXELS)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_image_or_refused(data: bytes) -> None:
    for prefix in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"P6 "):
        with suppress(ImageError):
            assert decode(prefix + data, 10_000).ndim == 3


def test_the_limit_counts_before_decoding() -> None:
    data = encoded(picture(np.random.default_rng(5), 72, 72))
    assert declared_size(data, 72 * 72) == (72, 72)
    for look in (declared_size, decode):
        with pytest.raises(ImageError, match="declares 72 x 72 pixels"):
            look(data, 72 * 72 - 1)


@pytest.mark.parametrize(
    ("size", "tolerance", "stored"),
    [
        ((72, 200), 1, (72, 200)),
        ((200, 73), 1, (200, 73)),
        ((71, 90), 1, (71, 90)),
        ((73, 146), 0, (72, 144)),
        ((144, 288), 1, (72, 144)),
        ((500, 375), 1, (96, 72)),
        ((36, 36), 1, (72, 72)),
        ((1, 100), 0, (72, 7200)),
    ],
)
def test_stored_sizes(size: tuple[int, int], tolerance: int, stored: tuple[int, int]) -> None:
    assert stored_size(*size, 72, tolerance) == stored


@pytest.mark.parametrize("size", [(1, 1000), (65535, 1), (20000, 1), (15000, 19), (60000, 72)])
def test_what_is_too_long_when_stored_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=rf"its {size[1]} x {size[0]} pixels would be .* stored"):
        stored_size(*size, 72, 0)


@given(
    st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), min_size=1), st.integers(0, 1)
)
def test_many_sizes_follow_the_rule_for_one(sizes: list[tuple[int, int]], tolerance: int) -> None:
    heights, widths = stored_sizes(*np.array(sizes, np.int64).T, 72, tolerance)
    rows = zip(sizes, heights.tolist(), widths.tolist(), strict=True)
    for size, height, width in rows:
        try:
            expected = stored_size(*size, 72, tolerance)
        except ImageError:
            assert too_large(height, width)
        else:
            assert (height, width) == expected
            assert not too_large(height, width)
