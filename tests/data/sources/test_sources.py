"""The forms in which users have the data: the unpacked tree, and folders of their own."""

import errno
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from decathlon.common.errors import DataError, UsageError
from decathlon.data.manifest import read_manifest
from decathlon.data.preparing.prepare import prepare
from decathlon.data.preparing.shard_writer import ShardWriter
from decathlon.data.preparing.verify import verify
from decathlon.data.reading.store import open_store
from tests.data.official import Official, decoded, encoded, picture


def unpack(official: Official, folder: Path) -> Path:
    """Unpacks archives as a user does."""
    for name in ("decathlon-1.0-devkit.tar.gz", "decathlon-1.0-data.tar.gz"):
        with tarfile.open(official.folder / name) as tar:
            place = folder if "devkit" in name else folder / "decathlon-1.0" / "data"
            tar.extractall(place, filter="data")
    imagenet = official.folder / "decathlon-1.0-data-imagenet.tar"
    if imagenet.is_file():
        with tarfile.open(imagenet) as tar:
            tar.extractall(folder / "decathlon-1.0" / "data", filter="data")
    return folder


def unpack_wholly(official: Official, folder: Path) -> Path:
    unpack(official, folder)
    for path in (folder / "decathlon-1.0" / "data").glob("*.tar"):
        with tarfile.open(path) as tar:
            tar.extractall(path.parent, filter="data")
        path.unlink()
    return folder


def shards(data: Path) -> dict[str, bytes]:
    return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*.h5")}


@pytest.mark.parametrize("form", ["tars", "images", "inside"])
def test_the_unpacked_tree_gives_the_same_shards(
    official: Official, tmp_path: Path, form: str
) -> None:
    prepare(official.write(), tmp_path / "one", jobs=0)
    tree = (unpack if form == "tars" else unpack_wholly)(official, tmp_path / "tree")
    folder = tree / "decathlon-1.0" if form == "inside" else tree
    result = prepare(folder, tmp_path / "two", jobs=0)
    assert shards(tmp_path / "one") == shards(tmp_path / "two")
    assert any("unpacked tree" in message for message in result.messages)
    assert prepare(folder, tmp_path / "two", jobs=0).done
    manifest = read_manifest(tmp_path / "two")
    assert manifest is not None
    kept = manifest.domains["dtd"].sources
    assert not any(source.official for source in kept)
    assert kept[1].file == ("dtd.tar" if form == "tars" else "data/dtd")


def test_archives_and_tree_complete_each_other(official: Official, tmp_path: Path) -> None:
    official.write()
    unpack_wholly(official, tmp_path / "tree")
    place = tmp_path / "tree" / "decathlon-1.0" / "data" / "dtd"
    shutil.rmtree(place)
    with pytest.raises(
        DataError, match=r"(?s)decathlon-1\.0-data\.tar\.gz.*--domain svhn"
    ) as caught:
        prepare(tmp_path / "tree", tmp_path / "data", domains=["svhn", "dtd"], jobs=0)
    assert "--domain dtd" not in str(caught.value)
    result = prepare(tmp_path / "tree", tmp_path / "data", jobs=0)
    assert (sorted(result.written), result.lacking) == (["imagenet12", "svhn"], ["dtd"])
    for text in (str(caught.value), result.messages[0]):
        assert "needed for dtd" in text
        assert f"or the images themselves in {place}\n" in text
    name = "decathlon-1.0-data.tar.gz"
    shutil.copy(official.folder / name, tmp_path / "tree" / name)
    assert list(prepare(tmp_path / "tree", tmp_path / "data", jobs=0).written) == ["dtd"]


def test_an_image_that_is_replaced_after_a_kill_is_read_again(
    small: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.write()
    tree = unpack_wholly(small, tmp_path / "tree")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "finish", full)
        with pytest.raises(DataError, match="the disk is full"):
            prepare(tree, tmp_path / "data", jobs=0)
    note = small.split("dtd", "train")["images"][2]
    image = tree / "decathlon-1.0" / note["file_name"]
    before = image.stat()
    other = encoded(picture(np.random.default_rng(8), note["height"], note["width"]), quality=60)
    image.write_bytes(other.ljust(before.st_size, b"\0"))
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert image.stat().st_size == before.st_size
    prepare(tree, tmp_path / "data", jobs=0)
    pixels = open_store(tmp_path / "data").images("dtd", ["train"]).pixels(2)
    np.testing.assert_array_equal(pixels, decoded(other))


def test_a_lacking_image_of_the_tree_is_named(small: Official, tmp_path: Path) -> None:
    small.write()
    tree = unpack_wholly(small, tmp_path / "tree")
    image = tree / "decathlon-1.0" / "data" / "dtd" / "val" / "0002" / "000001.jpg"
    image.unlink()
    with pytest.raises(DataError, match=r"lacks the image 'dtd/val/0002/000001\.jpg'"):
        prepare(tree, tmp_path / "data", jobs=0)
    os.mkfifo(image)
    with pytest.raises(DataError, match=r"000001\.jpg: is no regular file"):
        prepare(tree, tmp_path / "data", jobs=0)
    image.unlink()
    image.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"000001\.jpg: no image that can be read"):
        prepare(tree, tmp_path / "data", jobs=0)
    assert not list((tmp_path / "data").rglob("*.h5"))


def test_a_damaged_shard_is_rebuilt_from_the_tree(small: Official, tmp_path: Path) -> None:
    small.write()
    tree = unpack_wholly(small, tmp_path / "tree")
    prepare(tree, tmp_path / "data", jobs=0)
    whole = shards(tmp_path / "data")
    path = tmp_path / "data" / "dtd" / "val.h5"
    path.write_bytes(whole["dtd/val.h5"][:-1] + b"?")
    with pytest.raises(DataError):
        verify(tmp_path / "data")
    result = prepare(tree, tmp_path / "data", jobs=0)
    assert result.written == {"dtd": {"val": 4}}
    assert shards(tmp_path / "data") == whole


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """A domain of one's own: photographs of several sizes and formats."""
    rng = np.random.default_rng(3)
    sizes = [(144, 192), (72, 100), (300, 200), (73, 73), (50, 60)]
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for kind in ("crow", "Zaunkönig"):
            folder = tmp_path / "birds" / split / kind
            folder.mkdir(parents=True)
            for k in range(count):
                image = picture(rng, *sizes[(k + len(split)) % 5])
                name = folder / f"{k}.{('jpg', 'PNG')[k % 2]}"
                name.write_bytes(encoded(image, ("JPEG", "PNG")[k % 2]))
    return tmp_path / "birds"


def expected(path: Path) -> np.ndarray:
    pixels = decoded(path.read_bytes())
    height, width = pixels.shape[:2]
    if min(height, width) == 72:
        return pixels
    size = (round(width * 72 / min(height, width)), round(height * 72 / min(height, width)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def test_a_folder_becomes_a_domain(birds: Path, tmp_path: Path) -> None:
    (birds / "train" / "crow" / "Thumbs.db").write_text("no image")
    (birds / ".hidden").mkdir()
    result = prepare(None, tmp_path / "data", folders={"birds": birds}, jobs=0)
    assert result.written == {"birds": {"train": 6, "val": 4, "test": 2}}
    told = "skipped 1 that are no images or classes: train/crow/Thumbs.db"
    assert result.messages == [f"{birds}: {told}"]
    store = open_store(tmp_path / "data")
    info = store.domains["birds"]
    assert not info.official
    assert info.class_names == ["Zaunkönig", "crow"]
    assert info.category_ids == [1, 2]
    ids = []
    for split in ("train", "val", "test"):
        images = store.images("birds", [split])
        files = sorted(birds.glob(f"{split}/*/*.[jP]*"), key=os.fsencode)
        assert images.labels.tolist() == [path.parent.name == "crow" for path in files]
        for k, path in enumerate(files):
            np.testing.assert_array_equal(images.pixels(k), expected(path))
        ids += images.image_ids.tolist()
    assert ids == list(range(1, 13))
    manifest = read_manifest(tmp_path / "data")
    assert manifest is not None
    assert manifest.domains["birds"].resize.startswith("Pillow ")
    assert verify(tmp_path / "data").images == 12


def test_a_changed_folder_is_prepared_anew(birds: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare(None, data, folders={"birds": birds}, jobs=0)
    assert prepare(None, data, folders={"birds": birds}, jobs=0).done
    first = birds / "val" / "crow" / "0.jpg"
    shutil.copy(first, first.with_name("new.jpg"))
    result = prepare(None, data, folders={"birds": birds}, jobs=0)
    assert result.written["birds"]["val"] == 5
    assert open_store(data).images("birds", ["test"]).image_ids.tolist() == [12, 13]
    (birds / "train" / "extra").mkdir()
    (birds / "train" / "extra" / "a.jpg").write_bytes(first.read_bytes())
    prepare(None, data, folders={"birds": birds}, jobs=0)
    assert open_store(data).domains["birds"].class_names == ["Zaunkönig", "crow", "extra"]
    assert not list(data.rglob("*.part"))


def test_other_content_of_the_same_names_and_sizes_is_noticed(birds: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare(None, data, folders={"birds": birds}, jobs=0)
    copy = tmp_path / "copy"
    shutil.copytree(birds, copy)
    whole = shards(data)
    times = {path: path.stat().st_mtime_ns for path in data.rglob("*.h5")}
    assert prepare(None, data, folders={"birds": copy}, jobs=0).done
    assert {path: path.stat().st_mtime_ns for path in times} == times
    entry = (read_manifest(data) or pytest.fail("no manifest")).domains["birds"]
    assert [source.folder for source in entry.sources] == [str(copy)]
    for where in (birds, copy):  # in another folder, and in the same
        image = where / "val" / "crow" / "0.jpg"
        before = image.stat()
        height, width = decoded(image.read_bytes()).shape[:2]
        rng = np.random.default_rng(before.st_ino)
        other = encoded(picture(rng, height, width), quality=50)
        image.write_bytes(other.ljust(before.st_size, b"\0"))
        os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert image.stat().st_size == before.st_size
        assert "birds" in prepare(None, data, folders={"birds": where}, jobs=0).written
        names = sorted(birds.glob("val/*/*.[jP]*"), key=os.fsencode)
        at = names.index(birds / "val" / "crow" / "0.jpg")
        pixels = open_store(data).images("birds", ["val"]).pixels(at)
        np.testing.assert_array_equal(pixels, expected(image))
        assert shards(data) != whole
        assert prepare(None, data, folders={"birds": where}, jobs=0).done


@pytest.mark.parametrize("what", ["missing", "damaged"])
def test_a_damaged_domain_of_ones_own_is_told(
    birds: Path, small: Official, tmp_path: Path, what: str
) -> None:
    data = tmp_path / "data"
    prepare(small.write(), data, folders={"birds": birds}, jobs=0)
    assert prepare(small.folder, data, domains=["birds"], jobs=0).done
    path = data / "birds" / "val.h5"
    if what == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    told = f"birds: shards are missing or damaged; run 'decathlon prepare --folder birds={birds}'"
    result = prepare(small.folder, data, jobs=0)
    assert (result.done, result.written, result.lacking) == (False, {}, ["birds"])
    assert result.messages[0].startswith(told)
    with pytest.raises(DataError, match=told):
        prepare(small.folder, data, domains=["birds"], jobs=0)
    result = prepare(small.folder, data, folders={"birds": birds}, jobs=0)
    assert (result.written, result.lacking) == ({"birds": {"val": 4}}, [])


def test_links_in_a_folder_of_ones_own_are_followed(birds: Path, tmp_path: Path) -> None:
    image = birds / "val" / "crow" / "0.jpg"
    image.rename(tmp_path / "elsewhere.jpg")
    image.symlink_to(tmp_path / "elsewhere.jpg")
    result = prepare(None, tmp_path / "data", folders={"birds": birds}, jobs=0)
    assert result.written["birds"]["val"] == 4


def wrong(birds: Path, what: str) -> None:
    if what == "split":
        (birds / "val").rename(birds / "holdout")
    elif what == "train":
        shutil.rmtree(birds / "train")
    elif what == "flat":
        (birds / "test" / "loose.jpg").write_bytes(b"x")
    elif what == "deep":
        (birds / "test" / "crow" / "deeper").mkdir()
    elif what == "damaged":
        (birds / "test" / "crow" / "0.jpg").write_bytes(io.BytesIO(b"hello").getvalue())
    elif what == "loop":
        (birds / "test" / "crow" / "loop.jpg").symlink_to("loop.jpg")
    elif what == "class loop":
        (birds / "test" / "loop").symlink_to("loop")
    elif what == "empty":
        for path in birds.glob("train/*/*"):
            path.unlink()
    else:
        shutil.rmtree(birds)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("split", "holdout: is none of train, val and test"),
        ("train", "has no folder train"),
        ("flat", r"loose\.jpg: is in no folder of a class"),
        ("deep", "deeper: is a folder within a class"),
        ("damaged", r"test/crow/0\.jpg: no image that can be read .*; replace the file"),
        ("loop", r"test/crow/loop\.jpg: cannot be read .*; mend or remove it"),
        ("class loop", r"test/loop: cannot be read .*; mend or remove it"),
        ("empty", "train: holds no images"),
        ("gone", "there is no such folder"),
    ],
)
def test_folders_of_another_layout_are_refused(
    birds: Path, tmp_path: Path, what: str, told: str
) -> None:
    wrong(birds, what)
    with pytest.raises(DataError, match=told):
        prepare(None, tmp_path / "data", folders={"birds": birds}, jobs=0)
    assert not list((tmp_path / "data").rglob("*.h5"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("dtd", "official domain"),
        ("DTD", "official domain"),
        ("../x", "cannot name"),
        ("Default", "cannot name a domain: in recipes"),
        ("", "cannot name"),
        (".x", "cannot"),
        ("manifest.json", "program's own files"),
        ("a.part", "program's own files"),
        ("x.h5", "program's own files"),
        ("A.Part", "program's own files"),
    ],
)
def test_names_of_ones_own_domains(birds: Path, tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        prepare(None, tmp_path / "data", folders={name: birds})
    assert not (tmp_path / "data").exists()


def test_official_and_own_domains_in_one_call(birds: Path, small: Official, tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare(small.write(), data, domains=["dtd"], folders={"birds": birds}, jobs=0)
    assert list(open_store(data).domains) == ["dtd", "birds"]


def test_the_command(birds: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "decathlon", *arguments]
        env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)

    done = run("prepare", "--folder", f"birds={birds}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "data: prepared\n"
    done = run("domains")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("birds")]
    assert line.split() == ["birds", "2", "6", "4", "2", "0", "own", "-"]
    again = [f"--folder=birds={path}" for path in (birds, f"{birds}/../{birds.name}/")]
    done = run("prepare", *again)
    assert (done.returncode, done.stdout) == (0, "data: nothing to do, all is prepared\n")
    done = run("prepare", *again, f"--folder=birds={birds / 'train'}")
    assert (done.returncode, "birds is given to two folders" in done.stderr) == (2, True)
    done = run("prepare", "--folder", "birds")
    assert done.returncode == 2
    assert "birds=photos/birds" in done.stderr
