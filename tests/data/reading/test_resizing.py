"""Random resized crops and bounding boxes: which rectangles, and how they are resized."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as V

from decathlon.common.world import World
from decathlon.data.keyed import generator
from decathlon.data.reading.batches import Batches, Cut
from decathlon.data.reading.rectangles import boxed, random_resized
from decathlon.data.reading.store import Images
from decathlon.data.shard import Columns, Header, create, open_shard
from decathlon.suites.base import View

SCALE = (0.2, 1.0)
VIEW = View(48, random=True, flip=True, scale=SCALE)
SIZES = ((64, 64), (64, 91), (110, 64), (50, 23), (64, 300))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """23 images: noise, which differs most from pixel to pixel."""
    heights, widths = np.array([SIZES[k % len(SIZES)] for k in range(23)]).T
    columns = Columns(heights, widths, *(np.arange(23) for _ in range(3)))
    path: Path = tmp_path_factory.mktemp("resizing") / "train.h5"
    names = tuple(map(str, range(23)))
    start = create(path, Header("a", "train", names, tuple(range(23)), "0" * 64), columns)
    noise = np.random.default_rng(0).integers(0, 256, columns.size.sum(), np.uint8)
    with path.open("r+b") as file:
        file.seek(start)
        file.write(noise.tobytes())
    found = Images([open_shard(path)], {})
    assert np.array_equal(found.maps[0], noise)
    return found


def batches(
    images: Images, view: View = VIEW, size: int = 8, world: World | None = None
) -> Batches:
    return Batches(images, view, size, domain="a", seed=0, world=world or World())


def by_image(cuts: list[Cut]) -> dict[int, tuple[int, ...]]:
    """Rectangle and mirroring of each image."""
    found = {}
    for cut in cuts:
        assert cut.extent is not None
        rows = np.concatenate([cut.corner, cut.extent, cut.flips[:, None]], axis=1)
        found.update(zip(cut.index.tolist(), map(tuple, rows.tolist()), strict=True))
    return found


@pytest.mark.parametrize(("height", "width"), [(256, 256), (256, 341), (500, 256)])
def test_rectangles_follow_torchvisions_law(height: int, width: int) -> None:
    """Means and deciles of 20,000 draws of either."""
    count = 20_000
    numbers = generator(0, "law")
    ours = random_resized(np.full(count, height), np.full(count, width), SCALE, numbers)
    torch.manual_seed(0)
    image = torch.empty(1, height, width)
    draw = RandomResizedCrop.get_params
    theirs = np.array([draw(image, list(SCALE), [3 / 4, 4 / 3]) for _ in range(count)])

    def features(found: np.ndarray) -> np.ndarray:
        top, left, high, wide = found.T.astype(float)
        spare = np.maximum(height - high, 1), np.maximum(width - wide, 1)
        share, ratio = high * wide / (height * width), np.log(wide / high)
        return np.stack([share, ratio, top / spare[0], left / spare[1]])

    deciles = [np.quantile(features(f), np.arange(1, 10) / 10, axis=1) for f in (ours, theirs)]
    np.testing.assert_allclose(*deciles, atol=0.025)


def test_rectangles_lie_inside_their_images() -> None:
    rng = np.random.default_rng(0)
    heights, widths = rng.integers(1, 40, (2, 5000))
    top, left, high, wide = random_resized(heights, widths, SCALE, generator(0, "inside")).T
    assert min(top.min(), left.min()) == 0
    assert min(high.min(), wide.min()) == 1
    assert (top + high <= heights).all()
    assert (left + wide <= widths).all()


@pytest.mark.parametrize(("height", "width"), [(60, 300), (300, 61), (10, 11), (60, 80), (1, 9)])
def test_where_nothing_fits_it_is_the_largest_at_the_centre(height: int, width: int) -> None:
    scale = (2.0, 3.0)  # of the image's area: no draw fits
    sizes = np.array([height]), np.array([width])
    expected = RandomResizedCrop.get_params(
        torch.empty(1, height, width), list(scale), [3 / 4, 4 / 3]
    )
    assert random_resized(*sizes, scale, generator(0, "none")).tolist() == [[*expected]]


def test_boxes_are_rounded_and_kept_inside() -> None:
    rows = {
        (3.4, 5.6, 10.2, 20.0): (6, 3, 20, 11),
        (90.0, 30.0, 10.0, 20.0): (30, 90, 20, 10),
        (89.7, 29.7, 10.2, 20.2): (30, 90, 20, 10),
        (7.0, 9.0, 0.2, 0.3): (9, 7, 1, 1),
        (7.4, 9.6, 1.0, 1.0): (10, 7, 1, 1),
        (99.9, 49.9, 0.1, 0.1): (49, 99, 1, 1),
        (0.0, 0.0, 100.0, 50.0): (0, 0, 50, 100),
    }
    sizes = np.full(len(rows), 50), np.full(len(rows), 100)
    found = boxed(np.array(list(rows), np.float32), *sizes)
    assert found.tolist() == [list(rectangle) for rectangle in rows.values()]
    assert boxed(None, *sizes).tolist() == [[0, 0, 50, 100]] * len(rows)


def test_an_images_rectangle_depends_on_it_and_the_epoch_alone(images: Images) -> None:
    one = by_image([*batches(images, size=23).cuts(1)])
    assert len(one) == 23
    assert one == by_image([*batches(images, size=5).cuts(1)])
    assert one != by_image([*batches(images, size=23).cuts(2)])
    parts = [by_image([*batches(images, world=World(rank, 2)).cuts(1)]) for rank in range(2)]
    assert one == parts[0] | parts[1]
    rest = by_image([*batches(images, size=5).cuts(1, 3)])
    assert rest.items() < one.items()


def test_plain_and_resized_crops_share_order_and_flips(images: Images) -> None:
    plain = [*batches(images, View(48, random=True, flip=True)).cuts(1)]
    for one, two in zip(plain, batches(images).cuts(1), strict=True):
        assert one.extent is None
        np.testing.assert_array_equal(one.index, two.index)
        np.testing.assert_array_equal(one.flips, two.flips)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("side", [16, 48, 224])
def test_crops_are_torchvisions_and_pillows(images: Images, side: int, threads: int) -> None:
    made = batches(images, View(side, random=True, flip=True, scale=SCALE), 23)
    (cut,) = made.cuts(0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        crops = made.gather(cut)
    finally:
        torch.set_num_threads(before)
    assert cut.extent is not None
    assert 0 < cut.flips.sum() < 23
    assert crops.flags.c_contiguous
    for index, place, extent, flip, crop in zip(
        cut.index, cut.corner.tolist(), cut.extent.tolist(), cut.flips, crops, strict=True
    ):
        whole = torch.from_numpy(images.pixels(index).copy()).permute(2, 0, 1)
        (top, left), (high, wide) = place, extent
        # On some processors torchvision resizes bytes as bytes, on others as floating point.
        theirs = V.resized_crop(whole, *place, *extent, [side, side], antialias=True)
        alone = V.crop(whole, *place, *extent).contiguous()[None]
        (kernels,) = F.interpolate(alone, (side, side), mode="bilinear", antialias=True)
        part = Image.fromarray(images.pixels(index)[top : top + high, left : left + wide])
        pillows = np.asarray(part.resize((side, side), Image.Resampling.BILINEAR))
        rows = (
            (kernels.permute(1, 2, 0).numpy(), 0.01),
            (theirs.permute(1, 2, 0).numpy(), 0.3),
            (pillows, 0.3),
        )
        for expected, mean in rows:
            difference = np.abs(crop - (expected[:, ::-1] if flip else expected).astype(int))
            assert difference.max() <= 1
            assert difference.mean() < mean


def test_images_are_resized_in_inference_mode(images: Images) -> None:
    made = batches(images, View(48, scale=SCALE), 23)
    (cut,) = made.cuts(0)
    with torch.inference_mode():
        crops = made.gather(cut)
    np.testing.assert_array_equal(crops, made.gather(cut))


def test_boxes_are_squeezed_to_the_side_of_the_crop(images: Images) -> None:
    boxes = np.tile(np.array([[5, 10, 20, 40]], np.float32), (23, 1))
    chosen = images.subset(np.arange(23))
    chosen.boxes = boxes
    for cut in batches(chosen, View(32, box=True)).cuts_in_order():
        assert not cut.flips.any()
        for index, crop in zip(cut.index, batches(chosen).gather(cut), strict=True):
            part = images.pixels(index)[10:50, 5:25]
            resized = Image.fromarray(part).resize((32, 32), Image.Resampling.BILINEAR)
            assert np.abs(crop - np.asarray(resized).astype(int)).max() <= 1
    (cut,) = batches(chosen, View(32, flip=True, box=True), 23).cuts(0)
    assert 0 < cut.flips.sum() < 23
    (whole,) = batches(images, View(32, box=True), 23).cuts_in_order()
    assert whole.extent is not None
    np.testing.assert_array_equal(whole.extent, np.stack([images.heights, images.widths], 1))


def test_evaluation_of_a_random_resized_crop_is_the_centre_as_stored(images: Images) -> None:
    one, two = (batches(images, view) for view in (VIEW, View(48)))
    for a, b in zip(one.cuts_in_order(), two.cuts_in_order(), strict=True):
        assert a.extent is None
        np.testing.assert_array_equal(one.gather(a), two.gather(b))


def test_packed_rectangles_follow_each_other(images: Images) -> None:
    cut = next(batches(images).cuts(0))
    assert cut.extent is not None
    expected = [
        images.pixels(index)[top : top + high, left : left + wide].reshape(-1, 3)
        for index, (top, left), (high, wide) in zip(cut.index, cut.corner, cut.extent, strict=True)
    ]
    np.testing.assert_array_equal(batches(images).packed(cut), np.concatenate(expected))
