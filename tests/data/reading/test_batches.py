"""Batches: every image once, the same under every interruption, cropped as the view says."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from decathlon.common.errors import UsageError
from decathlon.common.world import World
from decathlon.data.keyed import generator, key_of
from decathlon.data.preparing.prepare import prepare
from decathlon.data.reading.batches import Batches, Cut
from decathlon.data.reading.store import Images, open_store
from decathlon.data.sources import plan
from decathlon.suites.base import View
from tests.data.official import Official

VIEW = View(64, random=True, flip=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """37 images of several sizes, in more than one shard."""
    folder = tmp_path_factory.mktemp("batches")
    made = Official(folder / "archives")
    made.add("dtd", (30, 7, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "SHARD_BYTES", 200_000)
        prepare(made.write(), folder / "data", jobs=0)
    found = open_store(folder / "data").images("dtd", ["train", "val"])
    assert len(found.maps) == 4
    return found


def batches(images: Images, view: View = VIEW, size: int = 8, seed: int = 0) -> Batches:
    return Batches(images, view, size, domain="dtd", seed=seed)


@dataclass(frozen=True)
class Read:
    """A batch as it was read."""

    images: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    step: int
    share: float


def read(made: Batches, cuts: Iterator[Cut]) -> Iterator[Read]:
    for cut in cuts:
        labels = made.images.labels[cut.index]
        yield Read(made.gather(cut), labels, cut.index, cut.step, cut.share)


def epoch(made: Batches, number: int, first: int = 0) -> Iterator[Read]:
    return read(made, made.cuts(number, first))


def in_order(made: Batches, size: int | None = None) -> Iterator[Read]:
    return read(made, made.cuts_in_order(size))


def by_image(made: Batches, number: int) -> dict[int, np.ndarray]:
    return {
        int(index): image
        for batch in epoch(made, number)
        for index, image in zip(batch.index, batch.images, strict=True)
    }


@pytest.mark.parametrize("size", [1, 2, 8, 12, 36, 37, 100])
def test_an_epoch_has_every_image_once_in_equal_batches(images: Images, size: int) -> None:
    made = batches(images, size=size)
    found = list(epoch(made, 3))
    assert len(found) == made.steps_per_epoch == -(-37 // size)
    assert [batch.step for batch in found] == list(range(len(found)))
    assert sorted(np.concatenate([batch.index for batch in found])) == list(range(37))
    lengths = {len(batch.index) for batch in found}
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    for batch in found:
        np.testing.assert_array_equal(batch.labels, images.labels[batch.index])
        assert batch.labels.dtype == np.int64
        assert batch.images.flags.c_contiguous
        assert batch.images.dtype == np.uint8


def test_no_batch_of_one_comes_of_more(images: Images) -> None:
    assert min(len(batch.index) for batch in epoch(batches(images, size=12), 0)) == 9


def test_an_epoch_can_be_entered_anywhere(images: Images) -> None:
    whole = list(epoch(batches(images), 2))
    for first in range(len(whole) + 1):
        rest = list(epoch(batches(images), 2, first))
        assert len(rest) == len(whole) - first
        for a, b in zip(rest, whole[first:], strict=True):
            assert a.step == b.step
            np.testing.assert_array_equal(a.index, b.index)
            np.testing.assert_array_equal(a.images, b.images)


def test_an_image_is_cut_alike_in_batches_of_any_size(images: Images) -> None:
    one, two = by_image(batches(images, size=3), 1), by_image(batches(images, size=37), 1)
    assert sorted(one) == list(range(37))
    for index, image in one.items():
        np.testing.assert_array_equal(image, two[index])


def test_seeds_epochs_and_domains_differ(images: Images) -> None:
    def order(made: Batches, number: int) -> list[int]:
        return np.concatenate([batch.index for batch in epoch(made, number)]).tolist()

    other = Batches(images, VIEW, 8, domain="svhn", seed=0)
    orders = [order(batches(images), 0), order(batches(images), 1), order(other, 0)]
    orders.append(order(batches(images, seed=1), 0))
    assert len({tuple(found) for found in orders}) == 4
    assert order(batches(images), 0) == orders[0]


@pytest.mark.parametrize(
    "view", [VIEW, View(64, scale=(0.3, 1.0), flip=True), View(64, flip=True)], ids=str
)
def test_epochs_take_the_crops_in_turn(images: Images, view: View) -> None:
    made = Batches(images, view, 8, domain="dtd", seed=0, crops=3)
    free = batches(images, view)
    for number in (0, 2, 3, 7):
        now, again = by_image(made, number), by_image(made, number + 3)
        once, other = by_image(free, number % 3), by_image(made, number + 1)
        for index, image in now.items():
            np.testing.assert_array_equal(image, again[index])
            np.testing.assert_array_equal(image, once[index])
        assert any((image != other[index]).any() for index, image in now.items())
        orders = [np.concatenate([b.index for b in epoch(made, n)]) for n in (number, number + 3)]
        assert (orders[0] != orders[1]).any()
        np.testing.assert_array_equal(
            orders[1], np.concatenate([b.index for b in epoch(free, number + 3)])
        )


def test_all_images_of_a_draw_in_order(images: Images) -> None:
    made = Batches(images, VIEW, 8, domain="dtd", seed=0, crops=2)
    cuts = list(read(made, made.cuts_of(1, 10)))
    assert np.concatenate([batch.index for batch in cuts]).tolist() == list(range(37))
    of_epoch = by_image(made, 5)
    for batch in cuts:
        for index, image in zip(batch.index, batch.images, strict=True):
            np.testing.assert_array_equal(image, of_epoch[int(index)])


def windows(image: np.ndarray, side: int) -> dict[bytes, tuple[int, int, bool]]:
    found = {}
    for top in range(image.shape[0] - side + 1):
        for left in range(image.shape[1] - side + 1):
            cut = image[top : top + side, left : left + side]
            found[cut.tobytes()] = (top, left, False)
            found[cut[:, ::-1].tobytes()] = (top, left, True)
    return found


def test_crops_and_flips_are_windows_of_the_image(images: Images) -> None:
    small = [k for k in range(37) if images.heights[k] * images.widths[k] <= 73 * 80]
    places = []
    for number in range(4):
        cuts = by_image(batches(images), number)
        places += [windows(images.pixels(k), 64)[cuts[k].tobytes()] for k in small]
    tops, lefts, flips = zip(*places, strict=True)
    assert min(tops) == 0
    assert max(tops) >= 8
    assert min(lefts) == 0
    assert 0.3 < np.mean(flips) < 0.7


def test_flips_alone_and_crops_alone(images: Images) -> None:
    for index, image in by_image(batches(images, View(64, random=True)), 0).items():
        if images.widths[index] <= 80 and images.heights[index] <= 80:
            assert not windows(images.pixels(index), 64)[image.tobytes()][2]
    places = set()
    for index, image in by_image(batches(images, View(64, flip=True)), 0).items():
        whole = images.pixels(index)
        if whole.shape == (72, 72, 3):
            places.add(windows(whole, 64)[image.tobytes()])
    assert places == {(4, 4, False), (4, 4, True)}


def test_sequential_is_in_order_with_centre_crops(images: Images) -> None:
    found = list(in_order(batches(images, View(64)), 10))
    assert [len(batch.index) for batch in found] == [10, 10, 10, 7]
    assert np.concatenate([batch.index for batch in found]).tolist() == list(range(37))
    cuts = np.concatenate([batch.images for batch in found])
    for k in range(37):
        whole = images.pixels(k)
        top, left = round((whole.shape[0] - 64) / 2), round((whole.shape[1] - 64) / 2)
        np.testing.assert_array_equal(cuts[k], whole[top : top + 64, left : left + 64])


def test_centre_crops_equal_torchvision(images: Images) -> None:
    import torch
    from torchvision.transforms.functional import center_crop

    for side in (63, 64, 72):
        for batch in in_order(batches(images, View(side))):
            for index, cut in zip(batch.index, batch.images, strict=True):
                whole = torch.from_numpy(images.pixels(int(index)).copy()).permute(2, 0, 1)
                expected = center_crop(whole, [side, side]).permute(1, 2, 0).numpy()
                np.testing.assert_array_equal(cut, expected)


def test_small_images_are_padded_with_their_edges(images: Images) -> None:
    cuts = np.concatenate([batch.images for batch in in_order(batches(images, View(90)))])
    for k in range(37):
        whole = images.pixels(k)
        spare = [90 - side for side in whole.shape[:2]]
        before = [-round(-s / 2) if s > 0 else 0 for s in spare]
        pads = [(b, max(s, 0) - b) for b, s in zip(before, spare, strict=True)]
        padded = np.pad(whole, [*pads, (0, 0)], mode="edge")
        top, left = (round((side - 90) / 2) for side in padded.shape[:2])
        np.testing.assert_array_equal(cuts[k], padded[top : top + 90, left : left + 90])


def test_padding_happens_while_training_too(images: Images) -> None:
    for batch in epoch(batches(images, View(90, random=True, flip=True)), 0):
        assert batch.images.shape[1:] == (90, 90, 3)


def test_whole_images_share_the_smallest_size_of_their_batch(images: Images) -> None:
    for batch in in_order(batches(images, View(None)), 5):
        high, wide = images.heights[batch.index].min(), images.widths[batch.index].min()
        assert batch.images.shape == (len(batch.index), high, wide, 3)
    square = np.flatnonzero((images.heights == 72) & (images.widths == 72))
    alone = list(in_order(batches(images, View(None)), 1))
    for k in square:
        np.testing.assert_array_equal(alone[k].images[0], images.pixels(k))


def test_a_batch_needs_an_image(images: Images) -> None:
    with pytest.raises(ValueError, match="batch_size is 0"):
        batches(images, size=0)


def test_keyed_numbers_are_these_for_ever() -> None:
    # Computed once from SHA-256 and Philox; another value would change every result.
    assert key_of(0, "dtd", 3, "order") == 0x70815440EB18E7DA631BB4F0DF710260
    assert generator(0, "dtd", 3, "order").integers(0, 1000, 4).tolist() == [578, 962, 580, 294]


def test_keys_tell_words_apart() -> None:
    keys = [key_of(1, "a", "b"), key_of(1, "ab"), key_of(1, "b", "a"), key_of(11), key_of(1, 1)]
    keys += [key_of(1, "1"), key_of(-1, 1), key_of(1, 'a","b')]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 1 << 128 for key in keys)


@pytest.mark.parametrize("view", [VIEW, View(None)])
def test_processes_have_parts_of_the_same_batches(images: Images, view: View) -> None:
    def of(world: World) -> list[Read]:
        made = Batches(images, view, 8, domain="dtd", seed=0, world=world)
        return list(epoch(made, 2, 1))

    parts = [of(World(rank, 3)) for rank in range(3)]
    for whole, *shares in zip(of(World()), *parts, strict=True):
        np.testing.assert_array_equal(np.concatenate([s.images for s in shares]), whole.images)
        np.testing.assert_array_equal(np.concatenate([s.labels for s in shares]), whole.labels)
        np.testing.assert_array_equal(np.concatenate([s.index for s in shares]), whole.index)
        assert [s.share for s in shares] == [len(s.index) / len(whole.index) for s in shares]
        assert whole.share == 1


@pytest.mark.parametrize("size", [4, 10, 37])
def test_processes_go_through_a_sequence_in_turn(images: Images, size: int) -> None:
    def of(world: World) -> list[list[int]]:
        made = Batches(images, View(64), 8, domain="dtd", seed=0, world=world)
        return [batch.index.tolist() for batch in in_order(made, size)]

    found = sorted(batch for rank in range(3) for batch in of(World(rank, 3)))
    assert found == of(World())


def test_no_process_is_left_without_images(images: Images) -> None:
    """37 images in batches of at most 8 are batches of 7 and 8."""
    made = Batches(images, VIEW, 8, domain="dtd", seed=0, world=World(1, 8))
    with pytest.raises(UsageError, match=r"batch of 7 images .* 8 processes"):
        next(epoch(made, 0))
    next(epoch(Batches(images, VIEW, 8, domain="dtd", seed=0, world=World(6, 7)), 0))
