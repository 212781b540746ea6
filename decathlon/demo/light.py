"""Colours, grounds, smooth noise, and what a camera does to a picture.

Pictures are float arrays of shape H x W x 3 with values in [0, 1].
"""

import colorsys

import numpy as np
from PIL import Image, ImageColor, ImageFilter

from decathlon.demo.shapes import Array
from decathlon.suites.registry import DEFAULT

SHORT = DEFAULT.side
"""The short side of every picture, in pixels."""


def hsv(hue: float, saturation: float, value: float) -> Array:
    """Returns a colour of shape (3,); hue is cyclic, the others are cut to [0, 1]."""
    s, v = np.clip((saturation, value), 0, 1)
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, s, v))


def named(name: str) -> Array:
    """Returns a colour of shape (3,) by its name in CSS."""
    return np.array(ImageColor.getrgb(name)) / 255


BLACK, WHITE, STEEL = hsv(0, 0, 0.09), hsv(0, 0, 0.94), hsv(0.6, 0.1, 0.6)
WOOD, GLASS = hsv(0.07, 0.55, 0.38), hsv(0.55, 0.3, 0.82)


def any_colour(rng: np.random.Generator, low: float = 0.3, high: float = 0.9) -> Array:
    """Returns a random bright colour with a saturation in [``low``, ``high``]."""
    return hsv(rng.random(), rng.uniform(low, high), rng.uniform(0.45, 1.0))


def frame(rng: np.random.Generator) -> tuple[int, int]:
    """Returns a random (height, width) whose short side is :data:`SHORT` pixels."""
    long = int(rng.integers(SHORT, 109))
    return (long, SHORT) if rng.random() < 0.3 else (SHORT, long)


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: float) -> Array:
    """Returns H x W smooth noise of mean 1/2, mostly in [0, 1].

    Args:
        rng: Source of randomness.
        height: H.
        width: W.
        cells: Number of bumps along the short side.
    """
    short = min(height, width)
    rows, columns = (max(2, round(cells * side / short)) for side in (height, width))
    grid = Image.fromarray(rng.random((rows, columns), dtype=np.float32))
    return np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC), dtype=float)


def ramp(height: int, width: int, degrees: float) -> Array:
    """Returns H x W values that rise from -1 to 1 in a direction (0: right, 90: down)."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    across = cos * np.linspace(-1, 1, width) + sin * np.linspace(-1, 1, height)[:, None]
    return np.asarray(across / (abs(cos) + abs(sin)))


def mix(low: Array, high: Array, amount: Array) -> Array:
    """Blends two colours by an H x W amount, cut to [0, 1], into an H x W x 3 picture."""
    return np.asarray(low + (high - low) * np.clip(amount, 0, 1)[..., None])


def sky(rng: np.random.Generator, height: int, width: int) -> Array:
    """Returns a blue or grey sky with clouds, H x W x 3."""
    top = hsv(rng.uniform(0.54, 0.64), rng.choice([0.05, 0.3, 0.6]), rng.uniform(0.55, 0.95))
    air = mix(top, 0.5 * top + 0.5, (ramp(height, width, 90.0) + 1) / 2)
    puffs = smooth_noise(rng, height, width, 5) + 0.5 * smooth_noise(rng, height, width, 11)
    return mix(air, WHITE, np.clip(2.5 * (puffs - rng.uniform(0.75, 1.1)), 0, 0.7))


def scene(rng: np.random.Generator, height: int, width: int) -> Array:
    """Returns an indefinite ground to put an object on, H x W x 3."""
    low = hsv(rng.random(), rng.uniform(0.05, 0.45), rng.uniform(0.2, 0.7))
    high = hsv(rng.random(), rng.uniform(0.05, 0.45), rng.uniform(0.5, 0.95))
    slope = ramp(height, width, rng.uniform(0, 360)) * rng.choice([0.0, 0.5, 10.0])
    return mix(low, high, slope + smooth_noise(rng, height, width, rng.uniform(2, 20)))


def digital(pixels: Array) -> Image.Image:
    """Returns a picture as an RGB image."""
    return Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))


def photograph(
    pixels: Array,
    rng: np.random.Generator,
    light: float = 0.25,
    noise: float = 0.02,
    blur: float = 0.0,
) -> Image.Image:
    """Lights, digitises and blurs a picture.

    Args:
        pixels: H x W x 3 in [0, 1].
        rng: Source of randomness.
        light: How much brightness varies, over the picture and between pictures.
        noise: Standard deviation of the sensor's noise.
        blur: Largest radius of the blur in pixels.

    Returns:
        An RGB image.
    """
    slope = ramp(pixels.shape[0], pixels.shape[1], rng.uniform(0, 360)) * rng.uniform(0, light)
    lit = pixels * (rng.uniform(1 - light, 1 + light / 2) * (1 + slope))[..., None]
    image = digital(lit + noise * rng.standard_normal(pixels.shape, dtype=np.float32))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0, blur)))
