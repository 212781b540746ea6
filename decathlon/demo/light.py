"""Colours, grounds, smooth noise, and what a camera does to a picture.

Pictures are float arrays of shape H x W x 3 with values in [0, 1].
"""

import colorsys

import numpy as np
from PIL import Image, ImageFilter

from decathlon.demo.shapes import Array
from decathlon.suites.registry import DEFAULT

SHORT = DEFAULT.side
"""The short side of every picture, in pixels."""


def hsv(hue: float, saturation: float, value: float) -> Array:
    """Returns a colour of shape (3,); hue is cyclic, the others are cut to [0, 1]."""
    s, v = min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0)
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, s, v))


def any_colour(rng: np.random.Generator, saturation: tuple[float, float] = (0.3, 0.9)) -> Array:
    """Returns a random colour, neither black nor faint."""
    return hsv(rng.random(), rng.uniform(*saturation), rng.uniform(0.45, 1.0))


def frame(rng: np.random.Generator, longest: int = 112, portrait: float = 0.3) -> tuple[int, int]:
    """Returns a random (height, width) whose short side is :data:`SHORT` pixels.

    Args:
        rng: Source of randomness.
        longest: Largest long side.
        portrait: Probability of an upright format.
    """
    long = int(rng.integers(SHORT, longest + 1))
    return (long, SHORT) if rng.random() < portrait else (SHORT, long)


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
    y = np.linspace(-1, 1, height)[:, None]
    x = np.linspace(-1, 1, width)[None, :]
    angle = np.radians(degrees)
    across = np.cos(angle) * x + np.sin(angle) * y
    return np.asarray(across / (abs(np.cos(angle)) + abs(np.sin(angle))))


def mix(low: Array, high: Array, amount: Array) -> Array:
    """Blends two colours by an H x W amount in [0, 1] into an H x W x 3 picture."""
    return np.asarray(low + (high - low) * amount[..., None])


def sky(rng: np.random.Generator, height: int, width: int) -> Array:
    """Returns a sky with clouds, H x W x 3: blue, grey or at dusk."""
    kind = rng.random()
    if kind < 0.6:
        top, low = hsv(rng.uniform(0.54, 0.62), rng.uniform(0.3, 0.7), rng.uniform(0.6, 0.95)), None
    elif kind < 0.85:
        top, low = hsv(0.6, rng.uniform(0.0, 0.12), rng.uniform(0.55, 0.9)), None
    else:
        top, low = hsv(0.68, 0.35, rng.uniform(0.4, 0.7)), hsv(rng.uniform(0.03, 0.12), 0.45, 0.95)
    low = low if low is not None else 0.5 * top + 0.5
    air = mix(top, low, (ramp(height, width, 90.0) + 1) / 2)
    puffs = smooth_noise(rng, height, width, 5) + 0.5 * smooth_noise(rng, height, width, 11)
    cloud = np.clip(2.5 * (puffs - rng.uniform(0.75, 1.1)), 0, 1)
    return mix(air, np.full(3, 0.95), 0.7 * cloud)


def scene(rng: np.random.Generator, height: int, width: int) -> Array:
    """Returns an indefinite ground to put an object on, H x W x 3."""
    low = hsv(rng.random(), rng.uniform(0.05, 0.45), rng.uniform(0.2, 0.7))
    high = hsv(rng.random(), rng.uniform(0.05, 0.45), rng.uniform(0.5, 0.95))
    kind = rng.random()
    if kind < 0.4:
        amount = smooth_noise(rng, height, width, rng.uniform(2, 8))
    elif kind < 0.75:
        amount = (ramp(height, width, rng.uniform(0, 360)) + 1) / 2
    else:
        horizon = rng.uniform(0.0, 0.5)
        amount = np.clip((ramp(height, width, 90.0) - horizon) * 20, 0, 1)
    ground = mix(low, high, np.clip(amount, 0, 1))
    grain = smooth_noise(rng, height, width, rng.uniform(8, 30)) - 0.5
    return ground + rng.uniform(0.03, 0.12) * grain[..., None]


def photograph(
    pixels: Array,
    rng: np.random.Generator,
    *,
    light: float = 0.25,
    noise: float = 0.02,
    blur: float = 0.0,
) -> Image.Image:
    """Lights, blurs and digitises a picture.

    Args:
        pixels: H x W x 3 in [0, 1].
        rng: Source of randomness.
        light: How much brightness varies, over the picture and between pictures.
        noise: Standard deviation of the sensor's noise.
        blur: Largest radius of the blur in pixels.

    Returns:
        An RGB image.
    """
    height, width = pixels.shape[:2]
    slope = ramp(height, width, rng.uniform(0, 360)) * rng.uniform(0, light)
    lit = pixels * (rng.uniform(1 - light, 1 + light / 2) * (1 + slope))[..., None]
    lit = lit + noise * rng.standard_normal(pixels.shape, dtype=np.float32)
    image = Image.fromarray((np.clip(lit, 0, 1) * 255 + 0.5).astype(np.uint8))
    if blur:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, blur)))
    return image
