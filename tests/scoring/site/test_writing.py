"""A site as a whole: what is in it, how its files are named, and what may be replaced."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest
from scipy.stats import beta

from decathlon.common.errors import DecathlonError, ResultError, UsageError
from decathlon.common.files import sha256, write_json
from decathlon.data.sources.test_labels import LabelsFile, read_labels
from decathlon.results.bundles import gathered
from decathlon.results.records import pack_bits, trial_folder, write_record
from decathlon.scoring.arrange import arrange
from decathlon.scoring.board import board_of
from decathlon.scoring.render.formats import to_json
from decathlon.scoring.site.writing import SiteRequest, write_site
from decathlon.suites.visual_decathlon import SUITE
from tests.scoring.making import fine_grained, make_record
from tests.scoring.site.making import HOSTILE, Links, add_bundle, add_row

OFFICIAL = Path(__file__).parents[4] / "shared" / "data" / "labels_test.zip"
ATOM = "{http://www.w3.org/2005/Atom}"


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def pages(folder: Path) -> dict[str, str]:
    return {path: data.decode() for path, data in contents(folder).items() if path[-5:] == ".html"}


def row_page(folder: Path, label: str) -> str:
    (text,) = [text for text in pages(folder).values() if f"<h1>{label}</h1>" in text]
    return text


def test_every_row_and_every_domain_has_a_page(site: Path) -> None:
    names = pages(site)
    assert "index.html" in names
    rows = [name for name in names if "/rows/" in name]
    assert len(rows) == 15 + 4  # Table 3, two runs and two bundles
    assert sum("/domains/" in name for name in names) == 10
    index = Links(names["index.html"])
    assert {link for link in index.followed if "/rows/" in link} == set(rows)


def test_pages_fetch_nothing_and_links_lead_to_files(site: Path) -> None:
    for name, text in pages(site).items():
        found = Links(text)
        assert found.handlers == [], name
        assert found.tags.count("script") == 1, name
        assert {"iframe", "object", "img", "base"}.isdisjoint(found.tags), name
        feeds = [link for link in found.fetched if not link.startswith("data:")]
        assert len(feeds) == 1, name  # the feed, which a browser offers but does not fetch
        for link in [*feeds, *found.followed]:
            if urlsplit(link).scheme:
                assert link == "https://example.org/?a=1&b=2"
            else:
                target = ((site / name).parent / unquote(link)).resolve()
                assert target.is_file(), (name, link)
                assert target.is_relative_to(site.resolve())


def test_names_are_text_everywhere(site: Path) -> None:
    for name, text in pages(site).items():
        assert "<img" not in text, name
        assert "<script>owned" not in text, name
        assert "<b>Ünï" not in text, name
        assert "\u202e" not in text, name
    hostile = next(text for name, text in pages(site).items() if "/rows/img-src-x" in name)
    for escaped in ("{{7*7}}", "&lt;img src=x onerror=", "\\u202e中", "Ada &lt;b&gt;Ünï&lt;/b&gt;"):
        assert escaped in hostile


def test_names_of_files_are_plain(site: Path) -> None:
    for name in contents(site):
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-./"), name
        assert ".." not in name


def test_equal_input_gives_equal_bytes(inputs: list[Path], site: Path, tmp_path: Path) -> None:
    request = SiteRequest(title="Ours", url="https://example.org/board")
    write_site(inputs, tmp_path / "elsewhere", request)
    assert contents(tmp_path / "elsewhere") == contents(site)


def test_permalinks_stay_when_a_label_changes(tmp_path: Path) -> None:
    results = tmp_path / "results"
    add_row(results, "mine", 0.5, ("dtd",))
    write_site([results], tmp_path / "a", SiteRequest())
    add_row(results, "mine", 0.5, ("svhn",), recipe={"epochs": 9})
    write_site([results], tmp_path / "b", SiteRequest())
    before = {name for name in pages(tmp_path / "a") if "/mine-" in name}
    after = {name: text for name, text in pages(tmp_path / "b").items() if "/mine-" in name}
    assert before < after.keys()
    assert len(after) == 2
    assert all("<h1>mine [epochs " in text for text in after.values())


def test_a_row_page_says_what_is_known(site: Path) -> None:
    text = row_page(site, "spottune")
    for said in (
        "Training loss on dtd: 3 in epoch 1, 1 in epoch 3",
        "stage 3",  # of the routed network
        'aria-label="67 %"',  # two of three images took the tuned path of the last block
        "<dt>epochs</dt><dd>3</dd>",
        "[0.666667,0.833333]",
        "resnet26, width 1",
        "ab" * 32,
        "decathlon reproduce results/spottune --data data --source source.safetensors",
        "The predictions of 2 trials are those that the records were written with",
        "All trials are on the official data",
        "the labels were not at hand",
    ):
        assert said in text, said
    other = row_page(site, "fine-tuning")
    assert "<h2>Routing</h2>" not in other


def test_a_bundle_can_be_downloaded_and_cited(inputs: list[Path], site: Path) -> None:
    text = row_page(site, "plain")
    (copy,) = (site / "visual-decathlon" / "rows").glob("plain-*.zip")
    assert copy.read_bytes() == inputs[2].read_bytes()
    for said in (
        "Ada &lt;b&gt;Ünï&lt;/b&gt;, B.",
        'href="https://example.org/?a=1&amp;b=2"',
        "@misc{a}",
        f'href="{copy.name}" download',
        sha256(copy),
        f"unzip {copy.name} -d {copy.stem}\ndecathlon reproduce {copy.stem}/results/mine",
    ):
        assert said in text, said


def test_published_rows_say_what_the_audit_found(site: Path) -> None:
    consistent = row_page(site, "SpotTune")
    assert "The printed score 3612 follows from the printed accuracies" in consistent
    assert "CVPR 2019, Table 3" in consistent
    odd = row_page(site, "Feature Extractor")
    assert "no rounding of the printed accuracies gives the printed score 544" in odd
    assert "decathlon run --method feature-extractor --source source.safetensors" in odd


def test_a_domain_page_ranks_with_intervals(site: Path) -> None:
    text = (site / "visual-decathlon/domains/dtd.html").read_text(encoding="utf-8")
    assert text.index(">spottune<") < text.index(">Res. adapt. (large)<") < text.index(">plain<")
    assert "<dd>describable textures</dd>" in text
    (ends,) = re.findall(r"<td>60.00</td><td>([\d.]+) to ([\d.]+)</td>", text)
    jeffreys = beta(1128.5, 752.5).ppf([0.025, 0.975])  # 60 % of 1880 images
    assert [float(end) for end in ends] == pytest.approx(100 * jeffreys, abs=0.1)
    assert text.count('class="dot"') == 4
    assert text.count('class="ring"') == 15


def test_json_is_what_score_prints(inputs: list[Path], site: Path) -> None:
    with gathered(inputs) as found:
        board = arrange(board_of(found.results), sort="score")
    assert (site / "visual-decathlon/board.json").read_text() == to_json(board) + "\n"


def test_the_feed_has_an_entry_per_row(site: Path) -> None:
    feed = ElementTree.parse(site / "feed.xml").getroot()
    entries = feed.findall(f"{ATOM}entry")
    assert len(entries) == 19
    ids = [entry.findtext(f"{ATOM}id") for entry in entries]
    start = "https://example.org/board/"
    assert all((site / str(one).removeprefix(start)).is_file() for one in ids)
    assert len(set(ids)) == 19
    dates = {entry.findtext(f"{ATOM}updated") for entry in entries}
    assert dates >= {"1970-01-01T00:00:00Z", "2019-01-01T00:00:00Z"}
    assert feed.findtext(f"{ATOM}updated") == max(map(str, dates))
    authors = [one.findtext(f"{ATOM}name") for one in entries[2].findall(f"{ATOM}author")]
    assert authors == ["Ada <b>Ünï</b>", "B."]


def test_a_feed_without_an_address_has_names_of_its_own(tmp_path: Path) -> None:
    write_site([_one_row(tmp_path)], tmp_path / "public", SiteRequest())
    feed = ElementTree.parse(tmp_path / "public" / "feed.xml").getroot()
    ids = [str(one.text) for one in feed.iter(f"{ATOM}id")]
    assert all(one.startswith("urn:uuid:") for one in ids)
    assert len(set(ids)) == len(ids)


def _one_row(folder: Path) -> Path:
    add_row(folder / "results", "mine", 0.5, ("dtd",))
    return folder / "results"


def test_several_suites_have_a_page_to_start_from(tmp_path: Path) -> None:
    results = _one_row(tmp_path)
    write_site([results], tmp_path / "one", SiteRequest())
    fine_grained(results, "fine-tuning", {"cubs": 80.0, "flowers": 90.0})
    fine_grained(results, "narrow", {"flowers": 99.0})  # of few domains, the highest mean
    write_site([results], tmp_path / "two", SiteRequest())
    start = Links(pages(tmp_path / "two")["index.html"])
    boards = ["fine-grained/index.html", "visual-decathlon/index.html"]
    assert sorted(link for link in start.followed if "index" in link) == boards
    moved = {name for name in pages(tmp_path / "one") if name != "index.html"}
    assert moved < pages(tmp_path / "two").keys()  # permalinks stay
    board = pages(tmp_path / "two")["fine-grained/index.html"]
    assert "mean" in board
    assert 'href="../index.html">Leaderboards</a>' in board
    assert json.loads((tmp_path / "two/fine-grained/board.json").read_text())["rows"]
    assert pages(tmp_path / "two")["index.html"].count("First: SpotTune.") == 2


def test_a_folder_of_bundles_is_read(tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    (bundles / "README.md").write_text("Bundles.")
    write_site([bundles], tmp_path / "public", SiteRequest())
    assert len([name for name in pages(tmp_path / "public") if "/rows/" in name]) == 15
    made = add_bundle(tmp_path, "mine")
    shutil.copy(made, bundles)
    write_site([bundles], tmp_path / "public", SiteRequest())
    assert (tmp_path / "public").is_dir()
    assert len([name for name in pages(tmp_path / "public") if "/rows/" in name]) == 16


def test_only_its_own_folder_is_replaced(tmp_path: Path) -> None:
    results, out = _one_row(tmp_path), tmp_path / "public"
    write_site([results], out, SiteRequest())
    before = contents(out)
    write_site([results], out, SiteRequest(title="Another"))
    assert contents(out) != before
    (out / "CNAME").write_text("example.org")
    with pytest.raises(UsageError, match="holds CNAME, which this command did not write"):
        write_site([results], out, SiteRequest())
    (out / "CNAME").unlink()
    (out / "index.html").write_text("edited")
    with pytest.raises(UsageError, match=r"holds index\.html"):
        write_site([results], out, SiteRequest())
    assert (out / "index.html").read_text() == "edited"
    with pytest.raises(UsageError, match="results: holds"):
        write_site([results], results, SiteRequest())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["public", "results"]


def test_a_failure_leaves_the_earlier_site(tmp_path: Path) -> None:
    results, out = _one_row(tmp_path), tmp_path / "public"
    write_site([results], out, SiteRequest())
    before = contents(out)
    log = next(results.rglob("log.jsonl"))
    log.write_text("not JSON\n")  # found when the page of the row is made
    with pytest.raises(ResultError, match=r"log\.jsonl: line 1"):
        write_site([results], out, SiteRequest())
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["public", "results"]


@pytest.mark.parametrize(
    "url",
    [
        *("example.org", "ftp://example.org", "javascript:alert(1)", "/a", "https://[", "https://"),
        *("https://example.org/?a", "https://example.org/#a", "https://example.org/\x1b[31m"),
        "https://example.org/a b",
    ],
)
def test_an_address_is_one_of_the_web(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="--url"):
        write_site([tmp_path], tmp_path / "public", SiteRequest(url=url))


def test_what_is_to_be_shown_is_not_replaced(tmp_path: Path) -> None:
    write_site([_one_row(tmp_path)], tmp_path / "public", SiteRequest())
    inside = tmp_path / "public" / "visual-decathlon"
    with pytest.raises(UsageError, match="which is to be shown"):
        write_site([inside], tmp_path / "public", SiteRequest())


def test_missing_and_damaged_input_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\3\4")
    for path in (tmp_path / "absent", tmp_path / "absent.zip", tmp_path / "a.zip"):
        with pytest.raises(DecathlonError, match=path.name):
            write_site([path], tmp_path / "public", SiteRequest())
    assert not (tmp_path / "public").exists()


@pytest.mark.skipif(not OFFICIAL.is_file(), reason="the official test labels are not in ../shared")
def test_counts_are_checked_against_the_labels(tmp_path: Path) -> None:
    labels = read_labels(OFFICIAL, SUITE)
    key, results = labels["dtd"], tmp_path / "results"
    right = [place % 3 > 0 for place in range(len(key.image_ids))]
    other = {c: key.categories[0 if c != key.categories[0] else 1] for c in key.categories.tolist()}
    said = [
        {"image_id": int(image), "category_id": int(category if fits else other[int(category)])}
        for image, category, fits in zip(key.image_ids, key.category_ids, right, strict=True)
    ]
    path = results / trial_folder("mine", "dtd", "test", 0) / "predictions.json"
    write_json(path, said, indent=None)
    record = make_record("mine", "dtd", right, predictions=sha256(path))
    write_record(results, record)
    answers = LabelsFile(Path("labels_test.zip"), labels)
    request = SiteRequest(answers=lambda suite: answers)
    write_site([results], tmp_path / "public", request)
    said_there = "Checked against labels_test.zip: the counts of 1 record are what the predictions"
    assert said_there in row_page(tmp_path / "public", "mine")
    wrong = [*right[:-1], not right[-1]]
    changed = {"correct": sum(wrong), "correctness": pack_bits(wrong)}
    write_record(results, record.model_copy(update=changed))
    with pytest.raises(ResultError, match="the predictions give"):
        write_site([results], tmp_path / "public", request)


def test_labels_that_no_suite_has_are_not_left_aside(tmp_path: Path) -> None:
    request = SiteRequest(answers=lambda suite: None)
    with pytest.raises(UsageError, match=r"--labels: visual-decathlon has no official labels"):
        write_site([_one_row(tmp_path)], tmp_path / "public", request)


def test_hostile_names_do_not_leave_the_folder(tmp_path: Path) -> None:
    bundle = add_bundle(tmp_path, HOSTILE)
    out = tmp_path / "deep" / "public"
    write_site([bundle], out, SiteRequest(title=HOSTILE))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["public"]
