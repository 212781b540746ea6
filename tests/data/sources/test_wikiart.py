"""WikiArt: styles, artists and names."""

import shutil

import pytest

from decathlon.common.errors import DataError
from decathlon.data.sources.file_names import mend
from decathlon.data.sources.wikiart import artist_names
from tests.data import fine_grained as made
from tests.data.fine_grained import Fine
from tests.data.prepared import counts, entry, pixels, prepare, same


def test_paintings(fine: Fine) -> None:
    made.add_wikiart(fine)
    fine.write()
    found = prepare(fine)
    text = "\n".join(found.messages)
    assert "4 images show a painting that is filed under another style too" in text
    assert "style folders are missing" not in text
    assert entry(fine, "wikiart").class_names == ["anna-blau", "josé-roig"]
    # Both files of a painting are on one side.
    splits = [set(pixels(fine, "wikiart", split)) for split in ("train", "val", "test")]
    assert len(set.union(*splits)) == sum(map(len, splits)) == 20
    assert counts(fine, "wikiart") == {"train": 16, "val": 2, "test": 6}  # floor(0.8 * 12) each
    shutil.rmtree(fine.folder)
    fine.unpack()
    prepare(fine, "tree")
    same(fine, "wikiart", "tree")


def test_a_style_folder_inside_another(fine: Fine) -> None:
    """Some programs unpack each folder into one of its name."""
    made.add_wikiart(fine)
    fine.write()
    prepare(fine)
    shutil.rmtree(fine.folder)
    content = fine.zips["wikiart.zip"].items()
    fine.zips["wikiart.zip"] = {n.replace("/Naive/", "/Naive/Naive/"): d for n, d in content}
    fine.unpack()
    prepare(fine, "nested")
    same(fine, "wikiart", "nested")
    made.put(fine.folder, {"wikiart/Naive/anna-blau_a-study_0.jpg": b""})
    with pytest.raises(DataError, match=r"'Naive/anna-blau_a-study_0\.jpg' is there twice"):
        prepare(fine, "other")
    shutil.rmtree(fine.folder)  # a half of {train,test}/CLASS/IMAGE is no such tree
    made.put(fine.folder, {"wikiart/train/anna-blau/anna-blau_a-study_0.jpg": b""})
    with pytest.raises(DataError, match="missing files"):
        prepare(fine, "half", domains=["wikiart"])


def test_broken_accents_are_mended(fine: Fine) -> None:
    assert mend("joaquã­n-sorolla") == mend("JoaquÃ­n-Sorolla") == "joaquín-sorolla"
    assert mend("arnold-bã¶cklin") == "arnold-böcklin"
    assert mend("jose\u0301") == "josé"
    assert mend("françois-éàù") == "françois-éàù"
    made.add_wikiart(fine)
    content = fine.zips["wikiart.zip"]
    fine.write()
    prepare(fine, "straight")
    names = list(content)
    broken = {name: name.replace("josé", "josã©", k % 2) for k, name in enumerate(names)}
    assert any("ã©" in name for name in broken.values())
    fine.zips["wikiart.zip"] = {broken[name]: data for name, data in content.items()}
    fine.write()
    prepare(fine)
    assert entry(fine, "wikiart").class_names == ["anna-blau", "josé-roig"]
    same(fine, "wikiart", "straight")


def test_official_styles_and_artists(fine: Fine) -> None:
    """All known artists, and one more, under all styles but one."""
    from decathlon.data.sources.wikiart import STYLES

    assert len(STYLES) == 27
    artists = artist_names()
    assert len(set(artists)) == 195
    assert artists == sorted(artists) == [mend(artist) for artist in artists]
    data = made.photo(1, 16, 16)
    content = {
        f"wikiart/{STYLES[k % 26]}/{artist}_work-{k}.jpg": data
        for artist in [*artists, "somebody-else"]
        for k in range(2)
    }
    content |= {f"wikiart/{style}/{artists[0]}_more.jpg": data for style in STYLES[:26]}
    fine.zips["wikiart.zip"] = content
    fine.write()
    text = "\n".join(prepare(fine, domains=["wikiart"]).messages)
    assert "1 of the 27 official style folders are missing (Ukiyo_e)" in text
    assert "1 artists with few paintings are left out" in text
    assert entry(fine, "wikiart").class_names == artists
    fine.zips["wikiart.zip"] = {name: d for name, d in content.items() if artists[3] not in name}
    fine.write()
    text = "\n".join(prepare(fine, "fewer", domains=["wikiart"]).messages)
    assert f"1 of the 195 artists of the published counts are missing ({artists[3]})" in text
    assert len(entry(fine, "wikiart", "fewer").class_names) == 195
