"""Archives of photographs that are meant to do harm: exit 3, named, nothing outside, under 1 GB."""

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks.test_command import decathlon, files, refused
from tests.attacks.test_zips import ENTRY
from tests.data import fine_grained as made
from tests.data.fine_grained import Fine
from tests.data.official import member, tar_bytes

ZIP = "sketches_png.zip"


def _renamed(name: str) -> Callable[[Fine], None]:
    def attack(fine: Fine) -> None:
        fine.zips[ZIP][name] = made.sketch(1)
        fine.write()

    return attack


def _special(kind: int) -> Callable[[Fine], None]:
    """A link or a device in the place of a sketch."""

    def attack(fine: Fine) -> None:
        fine.write()
        info = zipfile.ZipInfo("png/cup/12.png")
        info.create_system, info.external_attr = 3, (kind | 0o777) << 16
        kept = [pair for pair in fine.zips[ZIP].items() if pair[0] != info.filename]
        made.write_zip(fine.folder / ZIP, [*kept, (info, b"../../../../etc/passwd")])

    return attack


def _twice(fine: Fine) -> None:
    fine.zips[ZIP]["other/cup/12.png"] = made.sketch(1)
    fine.write()


def _same_name(fine: Fine) -> None:
    fine.write()
    with (
        zipfile.ZipFile(fine.folder / ZIP, "a") as archive,
        pytest.warns(UserWarning, match="Duplicate"),
    ):
        archive.writestr("png/cup/12.png", made.sketch(1))


def _bomb(fine: Fine) -> None:
    fine.write()
    with zipfile.ZipFile(fine.folder / ZIP, "a", zipfile.ZIP_DEFLATED) as archive:
        for k in range(4):
            archive.writestr(f"png/cup/{900 + k}.png", bytes(31 << 20))
        archive.writestr("readme.txt", bytes(300 << 20))


def _large(fine: Fine) -> None:
    del fine.zips[ZIP]["png/filelist.txt"]
    fine.write()
    with zipfile.ZipFile(fine.folder / ZIP, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("png/cup/900.png", bytes(33 << 20))


def _lying(fine: Fine) -> None:
    """The directory declares a few bytes less than the member has."""
    fine.write()
    raw = bytearray((fine.folder / ZIP).read_bytes())
    at = raw.index(ENTRY)
    struct.pack_into("<I", raw, at + 24, struct.unpack_from("<I", raw, at + 24)[0] - 9)
    (fine.folder / ZIP).write_bytes(raw)


def _deep_list(fine: Fine) -> None:
    from tests.data.sources.test_matlab import nested

    fine.files["cars_test_annos_withlabels.mat"] = nested(20_000)
    fine.write()


def _pixels(fine: Fine) -> None:
    """A photograph whose header declares 2.5 gigapixels."""
    content = fine.tars["CUB_200_2011.tgz"]
    name = next(name for name in content if name.endswith("_0.jpg"))
    data = bytearray(content[name])
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 50_000, 50_000)
    content[name] = bytes(data)
    fine.write()


def _link(fine: Fine) -> None:
    fine.write()
    content = fine.tars["102flowers.tgz"]
    link = member("jpg/image_00003.jpg")
    link.type, link.linkname = b"2", "/etc/passwd"
    pairs = [(member(name, data), data) for name, data in content.items()]
    pairs = [(link, b"") if info.name == link.name else (info, data) for info, data in pairs]
    (fine.folder / "102flowers.tgz").write_bytes(tar_bytes(pairs, "w:gz"))


ATTACKS: dict[str, tuple[Callable[[Fine], None], str]] = {
    "outside": (_renamed("png/../../../cup/1.png"), f"{ZIP}: 'png/../../../cup/1.png' is a name"),
    "absolute": (_renamed("/tmp/decathlon-escaped/1.png"), "is a name that leads outside"),
    "control": (_renamed("png/c\x1b[31mup/1.png"), "is no printable name"),
    "link": (_special(0o120000), "'png/cup/12.png' is a link or a device"),
    "device": (_special(0o020000), "'png/cup/12.png' is a link or a device"),
    "twice": (_twice, "'cup/12.png' is there twice"),
    "same name": (_same_name, "'png/cup/12.png' is there twice"),
    "bomb": (_bomb, f"{ZIP}: unpacks to over 200 times its size"),
    "a large image": (_large, "png/cup/900.png unpacks to more than 34 MB"),
    "a false size": (_lying, f"{ZIP}: not a zip archive, or a damaged one"),
    "nested cells": (_deep_list, "cars_test_annos_withlabels.mat: damaged MATLAB file"),
    "pixels": (_pixels, "its header declares 50000 x 50000 pixels (limit 100 megapixels)"),
    "a link to an image": (_link, "jpg/image_00003.jpg: is a symbolic link, not an image"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(tmp_path: Path, name: str) -> None:
    attack, named = ATTACKS[name]
    fine = Fine(tmp_path / "archives")
    made.add_all(fine)
    attack(fine)
    domain = {"nested cells": "stanford-cars", "pixels": "cubs", "a link to an image": "flowers"}
    data = tmp_path / "one" / "two" / "three" / "data"
    data.parent.mkdir(parents=True)
    before = files(tmp_path)
    command = ["prepare", "--suite", "fine-grained", "--archives", fine.folder, "--data", "data"]
    done = decathlon(data.parent, *command, "--domain", domain.get(name, "sketches"))
    refused(done, named)
    after = files(tmp_path)
    assert {path: raw for path, raw in after.items() if data not in path.parents} == before
    assert not (data / "manifest.json").exists()
    assert not list(data.rglob("*.h5"))
