import io
import json
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from decathlon.common.errors import DataError, UsageError
from decathlon.common.files import sha256
from decathlon.demo.archives import LABELS, write_archives
from decathlon.demo.pictures import drawers
from decathlon.suites.visual_decathlon import DEVKIT, DOMAINS, IMAGENET, NINE, SUITE

FILES = (DEVKIT.file, NINE.file, IMAGENET.file, LABELS)
NUMBERS = {
    "aircraft": 1,
    "cifar100": 2,
    "daimlerpedcls": 3,
    "dtd": 4,
    "gtsrb": 5,
    "imagenet12": 6,
    "omniglot": 7,
    "svhn": 8,
    "ucf101": 9,
    "vgg-flowers": 10,
}
SCALE = 0.02
TWO = replace(SUITE, domains={name: DOMAINS[name] for name in ("imagenet12", "omniglot")})
"""A suite of two domains, which are drawn faster than ten."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives") / "made"
    write_archives(folder, scale=SCALE)
    return folder


@pytest.fixture(scope="module")
def annotations(folder: Path) -> dict[str, dict]:
    with tarfile.open(folder / DEVKIT.file) as tar:
        found = {m.name: json.loads(tar.extractfile(m).read()) for m in tar}
    prefix = "decathlon-1.0/annotations/"
    assert all(name.startswith(prefix) for name in found)
    return {name.removeprefix(prefix): value for name, value in found.items()}


@pytest.fixture(scope="module")
def labels(folder: Path) -> dict[str, dict]:
    with zipfile.ZipFile(folder / LABELS) as file:
        return {name: json.loads(file.read(name)) for name in file.namelist()}


@pytest.fixture(scope="module")
def images(folder: Path) -> dict[str, bytes]:
    found = {}

    def read(tar: tarfile.TarFile) -> None:
        for member in tar:
            assert member.isreg()
            assert (member.uid, member.gid, member.uname) == (0, 0, "")
            found[member.name] = tar.extractfile(member).read()

    with tarfile.open(folder / NINE.file) as outer:
        names = outer.getnames()
        for member in outer:
            with tarfile.open(fileobj=outer.extractfile(member)) as inner:
                assert {n.split("/")[0] + ".tar" for n in inner.getnames()} == {member.name}
                read(inner)
    assert names == [f"{name}.tar" for name in NUMBERS if name != "imagenet12"]
    with tarfile.open(folder / IMAGENET.file) as tar:
        read(tar)
    return found


def test_only_whole_files_are_left(folder: Path):
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_each_domain_has_three_annotation_files(annotations: dict[str, dict]):
    parts = ("train", "val", "test_stripped")
    assert set(annotations) == {f"{domain}_{part}.json" for domain in DOMAINS for part in parts}


def test_annotations_have_the_official_keys(annotations: dict[str, dict]):
    for name, document in annotations.items():
        keys = {"info", "images", "annotations", "categories", "licenses"}
        assert set(document) == (keys - {"annotations"} if "stripped" in name else keys)
        assert set(document["images"][0]) == {"id", "width", "height", "file_name"}
        assert set(document["categories"][0]) == {"id", "name", "supercategory"}
        for annotation in document.get("annotations", [])[:1]:
            assert set(annotation) == {
                "id",
                "image_id",
                "category_id",
                "segmentation",
                "area",
                "bbox",
                "iscrowd",
            }


@pytest.mark.parametrize("domain", DOMAINS)
def test_ids_follow_the_official_scheme(domain: str, annotations: dict[str, dict]):
    base = NUMBERS[domain] * 10**7
    ids = [
        image["id"]
        for part in ("train", "val", "test_stripped")
        for image in annotations[f"{domain}_{part}.json"]["images"]
    ]
    assert ids == list(range(base + 200_001, base + 200_001 + len(ids)))
    for part in ("train", "val", "test_stripped"):
        categories = annotations[f"{domain}_{part}.json"]["categories"]
        assert [c["id"] for c in categories] == [base + k + 1 for k in range(len(categories))]
        assert [c["name"] for c in categories] == list(drawers(SUITE)[domain].class_names)


def test_the_images_are_those_that_are_annotated(
    annotations: dict[str, dict], images: dict[str, bytes]
):
    named = {}
    for document in annotations.values():
        for image in document["images"]:
            named[image["file_name"].removeprefix("data/")] = (image["width"], image["height"])
    assert set(named) == set(images)
    for name, size in named.items():
        with Image.open(io.BytesIO(images[name])) as image:
            assert image.format == "JPEG"
            assert image.size == size
            assert min(image.size) == 72


def test_folders_tell_the_class(annotations: dict[str, dict]):
    for name, document in annotations.items():
        images = document["images"]
        if "stripped" in name:
            places = [f"{k + 1:06d}.jpg" for k in range(len(images))]
            assert [image["file_name"].split("/test/")[1] for image in images] == places
            continue
        for image, annotation in zip(images, document["annotations"], strict=True):
            assert annotation["image_id"] == annotation["id"] == image["id"]
            folder = image["file_name"].split("/")[3]
            assert int(folder) == annotation["category_id"] % 10**7


def test_test_labels_complete_the_stripped_files(
    annotations: dict[str, dict], labels: dict[str, dict]
):
    assert set(labels) == {f"{domain}_test.json" for domain in DOMAINS}
    for name, document in labels.items():
        stripped = annotations[name.replace(".json", "_stripped.json")]
        assert {k: v for k, v in document.items() if k != "annotations"} == stripped
        ids = [annotation["image_id"] for annotation in document["annotations"]]
        assert ids == [image["id"] for image in stripped["images"]]


def test_every_class_is_in_every_split(annotations: dict[str, dict], labels: dict[str, dict]):
    for name, document in {**annotations, **labels}.items():
        if "stripped" not in name:
            found = {annotation["category_id"] for annotation in document["annotations"]}
            assert found == {category["id"] for category in document["categories"]}


def test_images_are_in_no_order_of_class(annotations: dict[str, dict]):
    classes = [a["category_id"] for a in annotations["imagenet12_train.json"]["annotations"]]
    assert classes != sorted(classes)


def test_same_seed_same_bytes(tmp_path: Path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_archives(tmp_path / name, seed=seed, scale=SCALE, suite=TWO)
    for file in FILES:
        assert sha256(tmp_path / "a" / file) == sha256(tmp_path / "b" / file)
    for file in (NINE.file, IMAGENET.file):
        assert sha256(tmp_path / "a" / file) != sha256(tmp_path / "c" / file)


def test_scale_multiplies_the_images_of_a_class(tmp_path: Path):
    counts = []
    for scale in (1 / 44, 1 / 22):
        write_archives(tmp_path, scale=scale, suite=TWO)
        with tarfile.open(tmp_path / IMAGENET.file) as tar:
            counts.append(sum("/train/" in name for name in tar.getnames()))
    assert counts[1] == 2 * counts[0] > 0


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*args: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("decathlon.demo.archives.zipfile.ZipFile", full)
    with pytest.raises(DataError, match=r"No space left on device.*--out"):
        write_archives(tmp_path / "out", scale=SCALE, suite=TWO)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_in_place_of_the_folder_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_archives(tmp_path / "file", scale=SCALE)


@pytest.mark.parametrize(
    ("seed", "scale"), [(-1, 1.0), (0, 0.0), (0, -1.0), (0, float("nan")), (0, float("inf"))]
)
def test_nonsense_is_refused(tmp_path: Path, seed: int, scale: float):
    with pytest.raises(UsageError, match="scale"):
        write_archives(tmp_path, seed=seed, scale=scale)
    assert list(tmp_path.iterdir()) == []
