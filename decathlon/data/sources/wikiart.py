"""WikiArt: ``wikiart.zip``, or the folder ``wikiart/`` that it unpacks to.

Files are ``<style>/<artist>_<title>.jpg``, and classes are artists: the text before the first
underscore. The class list behind the published counts is not published. Counting the names in
cs-chan/ArtGAN (@27876da, ``WikiArt Dataset/Style/*.csv``), artists with 100 files or more are 195,
and with 80 % of each in train, rounded down, all three counts are the published ones. So these 195
are taken if all are there, and otherwise every artist.

* Many names have broken accents: UTF-8 that was read as Latin-1 and lower-cased. They are mended.
* Some paintings are filed under two styles. Both files count, and stay on one side of each split.
"""

from importlib.resources import files

from decathlon.common.errors import DataError, listed
from decathlon.data.sources.class_folders import prepared_folders
from decathlon.data.sources.file_names import last_part, mend
from decathlon.data.sources.image_tree import find_tree
from decathlon.data.sources.readers import Offer, Place, Sample, plan_of
from decathlon.data.sources.stratified import a_fifth, drawn

ARCHIVE = "wikiart.zip"
STYLES = (
    "Abstract_Expressionism", "Action_painting", "Analytical_Cubism", "Art_Nouveau_Modern",
    "Baroque", "Color_Field_Painting", "Contemporary_Realism", "Cubism", "Early_Renaissance",
    "Expressionism", "Fauvism", "High_Renaissance", "Impressionism", "Mannerism_Late_Renaissance",
    "Minimalism", "Naive_Art_Primitivism", "New_Realism", "Northern_Renaissance", "Pointillism",
    "Pop_Art", "Post_Impressionism", "Realism", "Rococo", "Romanticism", "Symbolism",
    "Synthetic_Cubism", "Ukiyo_e",
)  # fmt: skip
"""The 27 style folders of the archive."""


def read(place: Place) -> Offer | None:
    """Finds the images; see :class:`decathlon.data.sources.readers.Reader`."""
    tree = find_tree(place, ARCHIVE, ("wikiart", "wikiart/wikiart"))
    folders = prepared_folders(place) if tree is None or not tree.archive else None
    if folders is not None or tree is None:
        return folders
    mended = {name: mend(last_part(name)) for name in tree.names}
    artists = {name: artist for name, key in mended.items() if (artist := artist_of(key))}
    if not artists:
        raise DataError(f"{tree.path}: no file is named STYLE/ARTIST_TITLE; fetch {ARCHIVE} again")
    known = set(artist_names())
    found = set(artists.values())
    chosen = known if known <= found else found
    names = sorted(
        (name for name, artist in artists.items() if artist in chosen),
        key=lambda name: (mended[name], name),
    )
    category = {artist: number for number, artist in enumerate(sorted(chosen), start=1)}
    samples = [
        Sample(name, category[artists[name]], number) for number, name in enumerate(names, start=1)
    ]
    test = drawn([s.category for s in samples], [s.name for s in samples], a_fifth)
    splits = {
        split: [s for s, out in zip(samples, test, strict=True) if out == (split == "test")]
        for split in ("train", "test")
    }
    plan = plan_of(place, str(tree.path), splits, {k: artist for artist, k in category.items()})
    messages = [*_on_styles(tree.names), *_on_artists(known, found)]
    if nameless := len(tree.names) - len(artists):
        messages.append(f"{nameless:,} images without an artist in their name are left out")
    if twice := len(samples) - len({mended[sample.name] for sample in samples}):
        messages.append(
            f"{twice:,} images show a painting that is filed under another style too: all files of"
            " a painting are on the same side of each split"
        )
    return Offer(plan, [tree.supply], [], [f"{place.domain}: {text}" for text in messages])


def artist_names() -> list[str]:
    """Returns the artists of the published class counts, in order."""
    text = files(__package__).joinpath("wikiart_artists.txt").read_text(encoding="utf-8")
    return text.split("\n")[:-1]


def artist_of(name: str) -> str:
    """Returns the artist in a file's name, ``""`` without one."""
    artist, sign, _ = name.partition("_")
    return artist if sign else ""


def _on_styles(names: list[str]) -> list[str]:
    """Says which style folders are missing, if the found ones are mostly official."""
    found = {name.split("/")[0] for name in names}
    lacking = [style for style in STYLES if style not in found]
    if not lacking or 2 * len(found.intersection(STYLES)) < len(found):
        return []
    all_ = listed(lacking, most=len(STYLES))
    text = f"{len(lacking)} of the {len(STYLES)} official style folders are missing ({all_})"
    return [f"{text}: artists may lack paintings"]


def _on_artists(known: set[str], found: set[str]) -> list[str]:
    """Says which artists are the classes, if the found ones are mostly the known ones."""
    lacking = sorted(known - found)
    if not lacking:
        return [f"{len(found - known):,} artists with few paintings are left out"] * (found > known)
    if 2 * len(lacking) > len(known):
        return []
    text = f"{len(lacking)} of the {len(known)} artists of the published counts are missing"
    return [f"{text} ({listed(lacking)}): all {len(found):,} artists that are there are classes"]
