"""Small archives in the official layouts of the fine-grained sets, with ways to get them wrong."""

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from tests.data.official import encoded, member, picture, tar_bytes

Files = dict[str, bytes]
"""Contents by path in an archive."""
BOX = (10, 5, 30, 20)
"""Left, top, width and height of every bounding box, in pixels of a file of 60 x 45."""


def photo(number: int, width: int = 60, height: int = 45, **options: Any) -> bytes:
    """A photograph that no other number gives."""
    return encoded(picture(np.random.default_rng(number), height, width), quality=90, **options)


def sketch(number: int) -> bytes:
    """A grey drawing."""
    image = Image.new("L", (61, 61), 255)
    image.paste(0, (number % 50, 5, number % 50 + 8, 50))
    return encoded(image, "PNG")


def mat(**variables: Any) -> bytes:
    file = io.BytesIO()
    savemat(file, variables)
    return file.getvalue()


def structure(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """A MATLAB structure array."""
    fields = list(rows[0])
    array = np.zeros((1, len(rows)), [(name, object) for name in fields])
    for k, row in enumerate(rows):
        array[0, k] = tuple(row[name] for name in fields)
    return array


@dataclass
class Fine:
    """Archives of the five sets; change ``tars``, ``zips`` or ``files`` before writing."""

    folder: Path
    tars: dict[str, Files] = field(default_factory=dict)
    zips: dict[str, Files] = field(default_factory=dict)
    files: Files = field(default_factory=dict)

    def write(self) -> Path:
        """Writes archives."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.tars.items():
            pairs = [(member(path, data), data) for path, data in content.items()]
            (self.folder / name).write_bytes(tar_bytes(pairs, "w:gz"))
        for name, content in self.zips.items():
            write_zip(self.folder / name, content.items())
        put(self.folder, self.files)
        return self.folder

    def unpack(self, inside: str = "", only: Iterable[str] | None = None) -> Path:
        """Writes what the archives unpack to, and the other files."""
        for name, content in {**self.tars, **self.zips}.items():
            if only is None or name in only:
                put(self.folder / inside, content)
        put(self.folder / inside, self.files)
        return self.folder


def put(folder: Path, files: Files) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def write_zip(path: Path, members: Iterable[tuple[str | zipfile.ZipInfo, bytes]]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)


def add_cub(fine: Fine, classes: int = 3, each: int = 8) -> None:
    """Birds: of each class one half is for training."""
    names = [f"{c + 1:03d}.Bird_{c}" for c in range(classes)]
    images = [f"{name}/{name[4:]}_{k:04d}_{k}.jpg" for name in names for k in range(each)]
    lines: dict[str, list[str]] = {
        "images": [f"{k} {image}" for k, image in enumerate(images, 1)],
        "image_class_labels": [f"{k + 1} {k // each + 1}" for k in range(len(images))],
        "train_test_split": [f"{k + 1} {k % 2}" for k in range(len(images))],
        "classes": [f"{k} {name}" for k, name in enumerate(names, 1)],
        "bounding_boxes": [f"{k + 1} {' '.join(map(str, BOX))}.0" for k in range(len(images))],
    }
    root = "CUB_200_2011"
    content = {f"{root}/images/{name}": photo(k) for k, name in enumerate(images)}
    content |= {f"{root}/{name}.txt": ("\n".join(v) + "\n").encode() for name, v in lines.items()}
    fine.tars["CUB_200_2011.tgz"] = content


def car(name: str, label: int | None, field: str = "fname", **more: int) -> dict[str, Any]:
    left, top, width, height = BOX
    ends = {
        "bbox_x1": left + 1,
        "bbox_y1": top + 1,
        "bbox_x2": left + width,
        "bbox_y2": top + height,
    }
    return ends | ({} if label is None else {"class": label}) | {field: name} | more  # fmt: skip


MAKES = ("Audi R8 Coupe 2012", "BMW M3 Coupe 2012")


def add_cars(fine: Fine, train: int = 12, test: int = 10, labelled: bool = True) -> None:
    """Cars in torchvision's form."""
    lists = {}
    for half, count, first in (("train", train, 0), ("test", test, train)):
        names = [f"{k + 1:05d}.jpg" for k in range(count)]
        fine.tars[f"cars_{half}.tgz"] = {
            f"cars_{half}/{name}": photo(100 + first + k) for k, name in enumerate(names)
        }
        lists[half] = [car(name, 1 + k % 2) for k, name in enumerate(names)]
    hidden = [{key: value for key, value in row.items() if key != "class"} for row in lists["test"]]
    fine.tars["car_devkit.tgz"] = {
        "devkit/cars_meta.mat": mat(class_names=np.array(MAKES, object)),
        "devkit/cars_train_annos.mat": mat(annotations=structure(lists["train"])),
        "devkit/cars_test_annos.mat": mat(annotations=structure(hidden)),
    }
    if labelled:
        fine.files["cars_test_annos_withlabels.mat"] = mat(annotations=structure(lists["test"]))


def add_car_ims(fine: Fine, train: int = 12, test: int = 10) -> None:
    """Cars in one folder."""
    rows = [
        car(f"car_ims/{k + 1:06d}.jpg", 1 + k % 2, "relative_im_path", test=int(k >= train))
        for k in range(train + test)
    ]
    names = [row["relative_im_path"] for row in rows]
    fine.tars["car_ims.tgz"] = {name: photo(100 + k) for k, name in enumerate(names)}
    fine.files["cars_annos.mat"] = mat(
        annotations=structure(rows), class_names=np.array(MAKES, object)
    )


def add_flowers(fine: Fine, classes: int = 2, each: int = 12) -> None:
    """Flowers: of each class a quarter is in train and in val."""
    count = classes * each
    ids = np.arange(1, count + 1)
    fine.tars["102flowers.tgz"] = {f"jpg/image_{k:05d}.jpg": photo(200 + k) for k in ids.tolist()}
    fine.files["imagelabels.mat"] = mat(labels=((ids - 1) % classes + 1).astype(np.uint8)[None])
    quarters = ((ids - 1) // classes) % 4
    fine.files["setid.mat"] = mat(
        trnid=ids[quarters == 0].astype(np.uint16)[None],
        valid=ids[quarters == 1].astype(np.uint16)[None],
        tstid=ids[quarters >= 2].astype(np.uint16)[None],
    )


def add_sketches(
    fine: Fine, names: Sequence[str] = ("bear (animal)", "cup"), each: int = 10
) -> None:
    """Sketches, with their list."""
    paths = [f"{name}/{k * each + i + 1}.png" for k, name in enumerate(names) for i in range(each)]
    content = {f"png/{path}": sketch(k) for k, path in enumerate(paths)}
    content["png/filelist.txt"] = ("\n".join(paths) + "\n").encode()
    fine.zips["sketches_png.zip"] = content


def add_wikiart(
    fine: Fine, styles: Sequence[str] = ("Naive", "Pixel_Art"), each: int = 10, twice: int = 2
) -> None:
    """Paintings of two artists, of whom some are filed under two styles."""
    content = {}
    for a, artist in enumerate(("anna-blau", "josé-roig")):
        for k in range(each):
            name = f"{artist}_a-study_{k}.jpg"
            content[f"wikiart/{styles[k % len(styles)]}/{name}"] = photo(300 + 50 * a + k)
            if k < twice:
                content[f"wikiart/{styles[(k + 1) % len(styles)]}/{name}"] = photo(300 + 50 * a + k)
    fine.zips["wikiart.zip"] = content


def add_all(fine: Fine) -> None:
    """All five sets."""
    for add in (add_cub, add_cars, add_flowers, add_sketches, add_wikiart):
        add(fine)
