"""What a drawer of one domain is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from PIL import Image

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Drawer:
    """Draws the images of one domain.

    Attributes:
        class_names: Names of the classes, sorted as strings.
        draw: ``draw(rng, class_index)`` returns an RGB image whose short side is
            ``decathlon.demo.light.SHORT`` pixels; everything that varies within a class
            comes from ``rng``.
        per_class: Images of a class in (train, val, test) at scale 1.
    """

    class_names: tuple[str, ...]
    draw: Callable[[np.random.Generator, int], Image.Image]
    per_class: tuple[int, int, int]


def by_name(*functions: F) -> dict[str, F]:
    """Returns functions by the name of the class that they draw, sorted."""
    return dict(sorted((f.__name__.replace("_", "-"), f) for f in functions))
