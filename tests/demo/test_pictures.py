import numpy as np
import pytest
from PIL import Image

from decathlon.demo.pictures import drawers
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.pictures.glyphs import character
from decathlon.demo.strokes import DIGITS
from decathlon.suites.visual_decathlon import DOMAINS, SUITE

DRAWERS = drawers(SUITE)
SQUARE = ("cifar100", "omniglot", "svhn", "ucf101")


def test_every_official_domain_has_a_drawer():
    assert list(DRAWERS) == list(DOMAINS)


@pytest.fixture(params=DRAWERS)
def domain(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def drawer(domain: str) -> Drawer:
    return DRAWERS[domain]


def _pixels(drawer: Drawer, seed: int, class_index: int) -> np.ndarray:
    return np.asarray(drawer.draw(np.random.default_rng(seed), class_index), dtype=float)


def test_class_names_are_sorted_and_differ(drawer: Drawer):
    assert list(drawer.class_names) == sorted(set(drawer.class_names))
    assert len(drawer.class_names) >= 2


def test_every_class_is_drawn_at_the_official_size(domain: str, drawer: Drawer):
    for class_index in range(len(drawer.class_names)):
        for seed in range(3):
            image = drawer.draw(np.random.default_rng(seed), class_index)
            assert isinstance(image, Image.Image)
            assert image.mode == "RGB"
            if domain == "daimlerpedcls":
                assert image.size == (72, 144)
            elif domain in SQUARE:
                assert image.size == (72, 72)
            else:
                assert min(image.size) == 72
                assert max(image.size) <= 112


def test_a_drawing_is_a_function_of_its_generator(drawer: Drawer):
    assert np.array_equal(_pixels(drawer, 5, 0), _pixels(drawer, 5, 0))
    assert not np.array_equal(_pixels(drawer, 5, 0), _pixels(drawer, 6, 0))


def test_the_class_shows_when_all_else_is_equal(drawer: Drawer):
    first = _pixels(drawer, 7, 0)
    for class_index in range(1, len(drawer.class_names)):
        other = _pixels(drawer, 7, class_index)
        assert first.shape == other.shape
        assert (np.abs(first - other).max(axis=2) > 40).sum() > 50


def test_no_drawing_is_empty(drawer: Drawer):
    for class_index in range(len(drawer.class_names)):
        for seed in range(4):
            assert _pixels(drawer, seed, class_index).std() > 4


def test_pedestrians_and_clutter_are_grey():
    pixels = _pixels(DRAWERS["daimlerpedcls"], 1, 1)
    assert np.array_equal(pixels[..., 0], pixels[..., 1])
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


def test_glyphs_are_black_on_white():
    for class_index in range(len(DRAWERS["omniglot"].class_names)):
        pixels = _pixels(DRAWERS["omniglot"], 2, class_index)
        assert (pixels == 255).mean() > 0.6
        assert (pixels < 30).mean() > 0.01


def test_dynamic_images_lie_about_grey():
    for class_index in range(len(DRAWERS["ucf101"].class_names)):
        assert abs(_pixels(DRAWERS["ucf101"], 3, class_index).mean() - 127.5) < 15


def test_characters_fit_the_unit_box_and_differ():
    outlines = []
    for class_index in range(len(DRAWERS["omniglot"].class_names)):
        points = np.concatenate(character(class_index))
        assert np.abs(points).max() == pytest.approx(1.0)
        outlines.append(points.round(6).tobytes())
    assert len(set(outlines)) == len(outlines)


def test_digits_stand_in_their_box():
    assert len(DIGITS) == 10
    for strokes in DIGITS:
        points = np.concatenate(strokes)
        assert np.abs(points[:, 0]).max() < 0.65
        assert np.abs(points[:, 1]).max() < 1.05
