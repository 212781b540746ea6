"""What README.md and docs/ show has to work: archives, links, commands, Python, settings.

Every command is run on tiny data, in the order of its page and in the page's own folder. The few
that a test cannot run are listed in NOT_RUN with the reason; their options have to exist.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decathlon.method.recipe import Recipe
from decathlon.suites.registry import find as find_suite
from decathlon.suites.visual_decathlon import SUITE
from tests.data.fine_grained import Fine, add_all
from tests.pages import act

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
BLOCK = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = ("console", "bash")
LANGUAGES = (*SHELL, "python", "toml", "json", "text")

# Added to a command, so that it takes seconds; the last of two equal options counts.
TINY = "--set epochs=1 --set batch_size=16 --device cpu --precision 32 --threads 1"
ADDED = {
    "prepare": "--jobs 1",
    "pretrain": f"{TINY} --width 0.1",
    "run": TINY,
    "sweep": TINY,
    "probe": "--device cpu --threads 1",
}
SMALLER = {
    "--method all": "--method fine-tuning",
    "lr=0.01,0.1,1": "lr=0.01,0.1",
    "--trials 20": "--trials 1",
}
"""Replaced in a command, as all methods, and many trials, take minutes."""
ONE_DOMAIN = "--domain dtd"
"""Added to a ``run`` or ``sweep`` of a page of the tiny decathlon that names no domain."""
BASELINE = "--baseline fine-tuning"
"""Added to a ``score`` or ``site`` of runs, as the official E_max does not apply to tiny data."""
OWN_DOMAINS = ("docs/your-suite.md",)
"""Pages with domains of their own, on all of which ``run`` runs."""

BEFORE = {
    "README.md": "archives fine",
    "docs/data.md": "archives fine photos source",
    "docs/running.md": "data",
    "docs/scoring.md": "data source labels results",
    "docs/publishing.md": "data labels results",
    "docs/using-networks.md": "flowers",
    "docs/methods.md": "data source",
    "docs/your-suite.md": "photos source",
    "docs/your-network.md": "data source",
    "docs/file-formats.md": "data source results",
    "docs/faq.md": "data source",
    "docs/installing.md": "",
    "docs/study.md": "",
    "docs/index.md": "",
    "docs/stability.md": "",
}
"""What lies in a page's folder before its first command."""

NOT_RUN = {
    r"make .*": "installs packages, and trains or tests for minutes",
    r"(python -m )?pip install .*": "installs packages; tests/methods/test_stranger.py does it",
    r"python -m pip download .*": "downloads several GB",
    r"docker .*": "needs a container engine; tests/test_environments.py reads the Dockerfile",
    r"(\w+=\S+ )?torchrun .*": "tests/training/distributed trains with several processes",
    r"ray .*": "starts a cluster; tests/running/test_cluster.py does",
    r"sbatch .*|srun .*|\w+=\$\(.*": "needs Slurm",
    r"export .*": "sets a variable",
    r"decathlon run --launcher ray .*": "needs the cluster of the command before",
    r"decathlon sweep .*--optuna": "needs the extra `optuna`; tests/running/test_sweeps.py",
    r".*decathlon (run|pretrain) .*--track .*": "needs a package; tests/running/test_tracking.py",
    r"decathlon prepare --download .*": "downloads 430 MB",
    r"decathlon prepare --imagenet .*": "needs photographs; tests/data/sources/test_imagenet.py",
    r"decathlon run .*resnet101.*": "needs a ResNet-101, and trains it",
    r"decathlon run .* --source r50\.safetensors .*": "needs a ResNet-50, and trains it",
    r"decathlon import-weights .*": "needs a checkpoint; tests/models/reference",
    r"python tools/study\.py .*": "trains for hours",
    r"decathlon prepare --suite fine-128 .*": "needs the package of the line before",
    r"decathlon networks timm:.*": "needs the extra `timm`; tests/models/test_networks.py",
}
ELSEWHERE = {
    "docs/your-method.md": "tests/methods/test_stranger.py runs it as it is written",
    **{
        page: "tests/test_tutorials.py runs it as it is written"
        for page in PAGES
        if page.startswith("docs/tutorials/")
    },
}


def blocks(page: str, *languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(PAGES[page]) if language in languages]


def commands(page: str) -> list[str]:
    """All shell commands of a page, without comments, each on one line."""
    lines = "".join(blocks(page, *SHELL)).replace("\\\n", " ").splitlines()
    lines = [re.sub(r"(^|\s+)#.*", "", line) for line in lines]
    return [re.sub(r"\s+", " ", line).removeprefix(".venv/bin/") for line in lines if line]


def reason(command: str) -> str | None:
    return next((NOT_RUN[rule] for rule in NOT_RUN if re.fullmatch(rule, command)), None)


def tried(command: str, page: str, folder: Path) -> list[str]:
    """Returns the words of a command as they are run, without the program."""
    for shown, smaller in SMALLER.items():
        command = command.replace(shown, smaller)
    program, name, *words = shlex.split(command)
    assert program == "decathlon", f"{page}: run '{command}', or give a reason in NOT_RUN"
    added = ADDED.get(name, "")
    if name in ("run", "sweep", "probe") and "--domain" not in words and page not in OWN_DOMAINS:
        added += f" {ONE_DOMAIN}"
    own = any(folder.glob("results/*/*")) and "--suite" not in words
    if name in ("score", "site") and "--baseline" not in words and own:
        added = BASELINE
    return [name, *words, *added.split()]


def take_photos(place: Path) -> None:
    """Draws a small domain of the user's own for each name that the pages use."""
    from PIL import Image

    for name, classes in (("birds", 3), ("plants", 2)):
        for i in range(10 * classes):
            image = place / name / f"class{i % classes}" / f"{i}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (90, 80), (8 * i, 80 * (i % classes), 7 * i)).save(image)


@pytest.fixture(scope="session")
def trained(tiny: Path, tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with two methods on one tiny domain."""
    folder = tmp_path_factory.mktemp("trained")
    run = f"run --method fine-tuning --method spottune {ONE_DOMAIN} {TINY}"
    act(folder, f"{run} --data {tiny} --source {tiny_source}".split())
    return folder / "results"


@pytest.fixture
def provide(request: pytest.FixtureRequest, tiny: Path) -> Callable[[Path, str], None]:
    """Returns what puts things into a page's folder."""

    def put(folder: Path, thing: str) -> None:
        from PIL import Image

        archives = tiny.parent / "archives"
        if thing == "photos":
            take_photos(folder / "photos")
        elif thing == "fine":
            fine = Fine(folder / "fine")
            add_all(fine)
            fine.write()
        elif thing == "source":
            source = request.getfixturevalue("tiny_source")
            shutil.copyfile(source, folder / "source.safetensors")
        elif thing == "labels":
            shutil.copyfile(archives / "labels_test.zip", folder / "labels_test.zip")
            (folder / "errors.json").write_text('{"dtd": 0.45}')
        elif thing == "flowers":
            shutil.copytree(
                request.getfixturevalue("trained"), folder / "results", dirs_exist_ok=True
            )
            trial = folder / "results" / "spottune" / "dtd"
            (trial / "test").rename(trial / "test+10shot")
            trial.rename(trial.with_name("flowers"))
            (folder / "photos").mkdir()
            Image.new("RGB", (90, 80), (200, 30, 60)).save(folder / "photos" / "image_00001.jpg")
        elif thing == "results":
            shutil.copytree(request.getfixturevalue("trained"), folder / thing, dirs_exist_ok=True)
        else:
            shutil.copytree(tiny if thing == "data" else archives, folder / thing)

    return put


def install(page: str, site: Path) -> None:
    """Makes a page's package importable: its module, and the entry points of its pyproject."""
    for text in blocks(page, "toml"):
        entry = re.search(r'\[project\.entry-points\."(\S+)"\]\n(\S+) = "(\w+):(\w+)"', text)
        assert entry
        group, name, module, value = entry.groups()
        (code,) = [c for c in blocks(page, "python") if re.search(rf"^(class )?{value}\b", c, re.M)]
        facts = site / f"{module}-0.1.dist-info"
        facts.mkdir(parents=True)
        (site / f"{module}.py").write_text(code)
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 0.1\n")
        (facts / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:{value}\n")


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ELSEWHERE])
def test_commands_run(page: str, provide: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    (folder / "results").mkdir(parents=True)
    for thing in BEFORE[page].split():
        provide(folder, thing)
    install(page, folder / "site")
    for command in commands(page):
        if reason(command) is None:
            act(folder, tried(command, page, folder))
    for code in blocks(page, "python"):
        if "to_huggingface" in code:
            pytest.importorskip("datasets", reason="needs the extra 'datasets'")
        act(folder, [], code)


@cache
def options(command: str) -> set[str]:
    from decathlon.cli import app

    done = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert done.exit_code == 0, done.output
    return set(re.findall(r"--[a-z-]+", done.output))


@cache
def tool_options(*tool: str) -> set[str]:
    done = subprocess.run(
        [Path(sys.executable).parent / tool[0], *tool[1:], "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"--[a-z-]+", done.stdout)) | {"--"}


def optional(words: str) -> set[str]:
    return set(re.findall(r"(?<!\S)--[a-z-]*", words))


@pytest.mark.parametrize("page", PAGES)
def test_commands_have_their_options(page: str) -> None:
    for line in commands(page):
        before, program, after = line.rpartition("decathlon ")
        if program and not before.startswith("pip"):
            command, *_ = after.split()
            assert optional(after) <= options(command), line
        else:
            before = line
        if "torchrun " in before:
            shown = {word.replace("_", "-") for word in tool_options("torchrun")}
            assert optional(before.replace("-m ", "")) <= shown, line
        elif "ray " in before and before.split()[0] in ("ray", "srun"):
            pytest.importorskip("ray")
            words = before[before.index("ray ") :].split()
            assert optional(" ".join(words)) <= tool_options(*words[:2]), line
        elif before.startswith("make "):
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{before.split()[1]}:", makefile, re.MULTILINE), line


def test_reasons_are_needed() -> None:
    lines = [line for page in PAGES for line in commands(page)]
    unused = [r for r in NOT_RUN if not any(re.fullmatch(r, line) for line in lines)]
    assert unused == []


def test_commands_are_found() -> None:
    found = {line.split()[1] for page in PAGES for line in commands(page) if "decathlon " in line}
    assert {"prepare", "verify", "pretrain", "run", "score", "compare", "evaluate"} <= found


@pytest.mark.parametrize("page", PAGES)
def test_blocks_name_their_language(page: str) -> None:
    assert [name for name, _ in BLOCK.findall(PAGES[page]) if name not in LANGUAGES] == []
    rest = BLOCK.sub("", PAGES[page])
    assert [line for line in rest.splitlines() if line.startswith(("    ", "```"))] == []
    for text in blocks(page, "json"):
        json.loads(text)


@pytest.mark.parametrize("archive", SUITE.official, ids=lambda archive: archive.file)
def test_archives_are_listed(archive) -> None:
    lines = PAGES["README.md"].splitlines()
    (row,) = [line for line in lines if line.startswith(f"| `{archive.file}`")]
    assert f"<{archive.url}>" in row
    number, unit = re.search(r"\| ([0-9.]+) ([MG])B \|", row).groups()
    assert float(number) == pytest.approx(archive.size / {"M": 1e6, "G": 1e9}[unit], rel=0.01)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    links = re.findall(r"\]\(([^):]+)\)", PAGES[page])
    for link in links:
        name, _, heading = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles]


@pytest.mark.parametrize("page", PAGES)
def test_code_that_is_named_exists(page: str) -> None:
    own = page in ELSEWHERE  # such pages have tests of their own packages
    folders = "decathlon|methods|tools" if own else "decathlon|methods|tools|tests"
    named = re.findall(rf"`((?:{folders})/[\w/.]+)`", PAGES[page])
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_page_is_linked_from_the_readme_or_the_home_page() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", PAGES["README.md"])
    links += [f"docs/{link}" for link in re.findall(r"\]\(([^)#:]+)\)", PAGES["docs/index.md"])]
    assert PAGES.keys() - links == {"README.md"}


def test_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 200


@pytest.mark.parametrize("page", PAGES)
def test_pictures_are_there(page: str) -> None:
    """That of the README is compared with the program's in tests/scoring/render/test_svg.py."""
    shown = re.findall(r'(?:src|srcset)="([^"]+)"', PAGES[page])
    shown += re.findall(r"!\[[^\]]*\]\(([^)]+)\)", PAGES[page])
    assert [name for name in shown if not ((ROOT / page).parent / name).is_file()] == []
    assert all(len(alt) > 20 for alt in re.findall(r'<img alt="([^"]*)"', PAGES[page]))


def test_the_readme_opens_with_a_picture_for_light_and_dark_pages() -> None:
    before, picture, _ = re.split(r"(<picture>.*?</picture>)", PAGES["README.md"], flags=re.S)
    assert "```" not in before
    assert "prefers-color-scheme: dark" in picture
    assert len(set(re.findall(r'(?:src|srcset)="([^"]+)"', picture))) == 2


def test_score_example() -> None:
    (code,) = [c for c in blocks("docs/scoring.md", "python") if "decathlon_score(" in c]
    names: dict[str, object] = {}
    exec(compile(code, "scoring.md", "exec"), names)
    # DTD: Emax = 2 * (1 - 0.5553); SVHN: Emax = 2 * (1 - 0.9655).
    expected = 1000 * ((1 - 0.40 / 0.8894) ** 2 + (1 - 0.03 / 0.069) ** 2)
    assert names["decathlon_score"]({"dtd": 0.40, "svhn": 0.03}) == pytest.approx(expected)


def test_method_example() -> None:
    from decathlon.method.base import Task
    from decathlon.models.networks import Architecture
    from decathlon.models.weights import Source

    (code,) = [c for c in blocks("README.md", "python") if "class NormsOnly" in c]
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    method = names["NormsOnly"]()
    task = Task("dtd", num_classes=47, num_images=1880)
    network = method.build(Source(Architecture(width=0.25), num_classes=7), [task])
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    modules = {name.rpartition(".")[0] for name in trained}
    kinds = {type(network.get_submodule(name)).__name__ for name in modules}
    assert kinds == {"BatchNorm2d", "Linear"}
    (group,) = method.phases(network, [task])[0].groups
    assert len(group.parameters) == len(trained)


def _settings(section: str) -> dict[str, list[object]]:
    """The values in a section's table, by setting: one, or one for each protocol."""
    found = {}
    for name, cells in re.findall(r"^\| `(\w+)` \|(.*)\|$", section, re.MULTILINE):
        numbers = re.sub(r"(\d+)/(\d+)", lambda m: str(int(m[1]) / int(m[2])), cells)
        found[name] = [json.loads(value.strip(" `")) for value in numbers.split("|")[:-1]]
    return found


def _simple(value: object) -> object:
    return value["default"] if isinstance(value, dict) and len(value) == 1 else value


def _fields(recipe: Recipe) -> dict[str, object]:
    """All settings as JSON values, those too that the JSON of a recipe leaves out."""
    found: dict[str, object] = json.loads(json.dumps(asdict(recipe)))
    return found


def test_every_method_has_a_section_with_its_settings() -> None:
    from decathlon.method.registry import find, registered

    _, *parts = re.split(r"^## ", PAGES["docs/methods.md"], flags=re.MULTILINE)
    sections = dict(part.split("\n", 1) for part in parts)
    common = {name: [_simple(value)] for name, value in _fields(Recipe()).items()}
    assert _settings(sections["The common recipe"]) == common
    ours = [name for name, point in registered().items() if point.dist.name == "decathlon"]
    assert set(ours) <= set(sections)
    for name in ours:
        recipes = [_fields(recipe) for recipe in find(name).recipes.values()]
        values = {key: [_simple(recipe[key]) for recipe in recipes] for key in recipes[0]}
        del values["protocol"]
        for key, (value,) in common.items():
            if values.get(key) == [value] * len(recipes):
                del values[key]
        assert _settings(sections[name]) == values, name
    protocols = find_suite("fine-grained").recipes.values()
    values = {key: [_simple(p.get(key)) for p in protocols] for p in protocols for key in p}
    listed = _settings(sections["The recipes of the fine-grained suite"])
    assert listed == json.loads(json.dumps(values))
