"""Which images the demo has, and their annotations in the official (COCO) form.

Ids follow the official scheme: domains are numbered from 1 in alphabetical order,
categories of domain i from i * 10**7 + 1, images from i * 10**7 + 200001 through train,
val and test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from decathlon.demo.pictures.drawer import Drawer
from decathlon.suites.base import SPLITS

STEP, FIRST_IMAGE = 10**7, 200_001
INFO = {"year": 2017, "version": 1, "description": "Drawn in the layout of the Decathlon"}


@dataclass(frozen=True)
class Drawn:
    """One domain to be drawn.

    Attributes:
        name: Its name.
        number: Its number in ids, from 1.
        drawer: What draws it.
    """

    name: str
    number: int
    drawer: Drawer


@dataclass(frozen=True)
class Item:
    """One image that is to be drawn.

    Attributes:
        image_id: Official-style id.
        class_index: Class, from 0.
        name: Path inside the domain's tar, e.g. ``dtd/train/0003/000012.jpg``.
    """

    image_id: int
    class_index: int
    name: str


def plan(drawn: Drawn, *, seed: int, scale: float) -> dict[str, list[Item]]:
    """Plans the images of a domain: shuffled, each class with at least one image a split.

    Args:
        drawn: The domain.
        seed: Seed of the order.
        scale: Factor on the number of images of a class.

    Returns:
        Items of train, val and test, in the order of their ids.
    """
    rng = np.random.default_rng([seed, drawn.number])
    image_id = drawn.number * STEP + FIRST_IMAGE
    splits: dict[str, list[Item]] = {}
    for split, per_class in zip(SPLITS, drawn.drawer.per_class, strict=True):
        num = max(1, round(per_class * scale))
        classes = rng.permutation(np.repeat(np.arange(len(drawn.drawer.class_names)), num)).tolist()
        seen = [0] * len(drawn.drawer.class_names)
        items = []
        for position, class_index in enumerate(classes):
            seen[class_index] += 1
            folder = f"{class_index + 1:04d}/{seen[class_index]:06d}"
            place = f"{position + 1:06d}" if split == "test" else folder
            items.append(Item(image_id, class_index, f"{drawn.name}/{split}/{place}.jpg"))
            image_id += 1
        splits[split] = items
    return splits


def document(
    drawn: Drawn,
    items: Sequence[Item],
    sizes: Sequence[tuple[int, int]],
) -> dict[str, Any]:
    """Returns one annotation file's content.

    Args:
        drawn: The domain.
        items: The split's images.
        sizes: (width, height) of each.
    """
    base = drawn.number * STEP
    images = [
        {"id": item.image_id, "width": w, "height": h, "file_name": f"data/{item.name}"}
        for item, (w, h) in zip(items, sizes, strict=True)
    ]
    annotations = [
        {
            "id": item.image_id,
            "image_id": item.image_id,
            "category_id": base + item.class_index + 1,
            "segmentation": [],
            "area": 0,
            "bbox": [],
            "iscrowd": 0,
        }
        for item in items
    ]
    categories = [
        {"id": base + k + 1, "name": name, "supercategory": drawn.name}
        for k, name in enumerate(drawn.drawer.class_names)
    ]
    return {
        "info": INFO,
        "images": images,
        "annotations": annotations,
        "categories": categories,
        "licenses": [{"id": 1, "name": "generated", "url": ""}],
    }
