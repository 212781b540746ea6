"""The code of a method: what belongs to it, and that a result of other code is not mixed in."""

import json
import py_compile
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from decathlon import load_model
from decathlon.common.errors import UsageError
from decathlon.method import code
from decathlon.method.code import code_of
from decathlon.method.registry import about, find, registered
from decathlon.results.records import find_records, read_record
from decathlon.running.config import Checkpointing, RunConfig
from decathlon.running.execution import execute
from decathlon.running.resolve import resolve
from decathlon.running.run import Run
from decathlon.running.survey import survey
from decathlon.running.trial_folder import TrialFolder, check_agreement
from decathlon.training.device import Compute
from tests import faulty
from tests.running.test_runs import Listener

METHOD = "stranger"
CLASS = """
from decathlon.method.base import Method

class Stranger(Method):
    paper, year, trains = "nobody", 2026, "all"
"""
FILES = {
    "strange/__init__.py": "",
    "strange/sub/__init__.py": "",
    "strange/sub/method.py": "import strange.plain\n"
    "from .beside import one\n"
    "from . import sibling\n"
    "from .. import above\n"
    "from ..deep.er import thing\n"
    "import flat\n"
    "import other, json\n"
    "def late():\n    from strange import late_module\n" + CLASS,
    "strange/sub/beside.py": "from .transitive import two as one\n",
    "strange/sub/transitive.py": "two = 2\n",
    "strange/sub/sibling.py": "",
    "strange/sub/unused.py": "",
    "strange/plain.py": "",
    "strange/above.py": "",
    "strange/deep/er.py": "thing = 3\n",
    "strange/late_module.py": "",
    "flat.py": "import flat_too\n",
    "flat_too.py": "",
    "other.py": "",
    "stray.py": "",
}
COUNTED = set(FILES) - {"strange/sub/unused.py", "other.py", "stray.py"}


def metadata(site: Path, name: str, module: str = "", listed: str = "", version: str = "1") -> None:
    facts = site / f"{name}-1.dist-info"
    facts.mkdir(exist_ok=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if module:
        point = f"[decathlon.methods]\n{METHOD} = {module}:Stranger\n"
        (facts / "entry_points.txt").write_text(point)
    (facts / "top_level.txt").write_text(listed)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages: the method's, and another one."""
    folder = tmp_path / "site"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    metadata(folder, "strange-methods", "strange.sub.method")
    metadata(folder, "others", listed="other\n")
    monkeypatch.syspath_prepend(str(folder))
    registered.cache_clear()
    code._distributions.cache_clear()
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] in ("strange", "flat")]:
        del sys.modules[name]
    registered.cache_clear()
    code._distributions.cache_clear()


def digest() -> str:
    return code_of(METHOD).sha256


@pytest.mark.parametrize("file", FILES)
def test_what_the_method_imports_of_its_own_counts(site: Path, file: str) -> None:
    before = digest()
    (site / file).write_text(FILES[file] + "# edited\n")
    assert (digest() != before) == (file in COUNTED)
    (site / file).write_text(FILES[file])
    assert digest() == before


def test_nothing_is_imported_to_find_it(site: Path) -> None:
    digest()
    assert not [name for name in sys.modules if name.split(".")[0] in ("strange", "flat")]


def test_a_new_version_of_the_same_code_is_the_same_code(site: Path) -> None:
    before = code_of(METHOD)
    metadata(site, "strange-methods", "strange.sub.method", version="2")
    registered.cache_clear()
    after = code_of(METHOD)
    assert (before.version, after.version) == ("1", "2")
    assert code.identity(before) == code.identity(after)
    assert after.distribution == "strange-methods"


def test_modules_in_a_zip_count(site: Path, tmp_path: Path, monkeypatch: Any) -> None:
    digests = set()
    for number in range(2):
        path = tmp_path / f"zipped{number}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("zipped/__init__.py", "from . import part\n" + CLASS)
            archive.writestr("zipped/part.py", f"x = {number}\n")
        metadata(site, "strange-methods", "zipped")
        registered.cache_clear()
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(path))
            digests.add(digest())
    assert len(digests) == 2


@pytest.mark.parametrize("kind", ["bytecode", "extension"])
def test_modules_without_source_count(site: Path, kind: str) -> None:
    suffix = "pyc" if kind == "bytecode" else "abi3.so"
    target = site / "strange" / f"compiled.{suffix}"
    (site / "strange/sub/sibling.py").write_text("from strange import compiled\n")
    digests = set()
    for number in range(2):
        if kind == "bytecode":
            (site / "source.py").write_text(f"x = {number}\n")
            py_compile.compile(str(site / "source.py"), cfile=str(target))
        else:
            target.write_bytes(b"\x7fELF" + bytes([number]))
        sys.path_importer_cache.clear()
        digests.add(digest())
    assert len(digests) == 2


@pytest.mark.parametrize("package", ["space", "space.inner"])
def test_namespaces_are_looked_through(site: Path, package: str) -> None:
    folder = site.joinpath(*package.split("."))
    folder.mkdir(parents=True)
    (folder / "method.py").write_text("from . import part\n" + CLASS)
    (folder / "part.py").write_text("")
    metadata(site, "strange-methods", f"{package}.method")
    registered.cache_clear()
    before = digest()
    (folder / "part.py").write_text("# edited\n")
    assert digest() != before


def test_a_module_that_cannot_be_parsed_is_a_wrong_method(site: Path) -> None:
    (site / "strange/sub/method.py").write_text("def broken(:\n")
    assert len(digest()) == 64
    with pytest.raises(UsageError, match="cannot be imported"):
        find(METHOD)


def test_a_module_that_ends_the_program_is_a_wrong_method(site: Path) -> None:
    (site / "strange/sub/method.py").write_text("import sys\nsys.exit(5)\n")
    with pytest.raises(UsageError, match=r"cannot be imported: sys.exit\(5\)"):
        find(METHOD)


def test_a_broken_or_stale_method_does_not_stop_the_list(site: Path) -> None:
    for text in ("def broken(:\n", "\0"):
        (site / "strange/sub/method.py").write_text(text)
        assert about(METHOD).paper == ""
    metadata(site, "strange-methods", "strange.gone.method")
    registered.cache_clear()
    assert about(METHOD).target == "strange.gone.method:Stranger"
    with pytest.raises(UsageError, match="cannot be imported"):
        find(METHOD)


def test_two_methods_of_one_name_are_not_mixed_up(site: Path) -> None:
    metadata(site, "others", "other")
    registered.cache_clear()
    with pytest.raises(UsageError, match=r"more than once .*uninstall") as error:
        find(METHOD)
    assert "other:Stranger of others" in str(error.value)
    assert "strange.sub.method:Stranger of strange-methods" in str(error.value)


def test_of_built_in_methods_the_file_and_the_network_code_count() -> None:
    def modules(name: str) -> set[str]:
        point = registered()[name]
        return set(code._reached(point.module, code._Own(point.module, point.dist)))

    parts = ("resnet", "residual", "torchvision_resnet", "networks", "layers", "adapters")
    network = {f"decathlon.models.{part}" for part in parts}
    ours = "decathlon_methods"
    packages = {ours, "decathlon.models"}
    assert modules("fine-tuning") == network | packages | {f"{ours}.fine_tuning"}
    parts = ("routing", "routed_block", "paths", "policy", "recipe")
    routed = {f"{ours}.spottune.{name}" for name in parts}
    routed |= {"decathlon.models.noise", f"{ours}.spottune"}
    assert modules("spottune") == network | packages | routed
    assert f"{ours}.spottune" in modules("spottune-global-k")


def test_results_of_earlier_code_that_computes_the_same_stay_usable() -> None:
    for method, digests in json.loads(code.EQUAL.read_text()).items():
        now = code_of(method)
        assert now.sha256 in digests, (
            f"{method}: its code has changed; if it computes the same numbers, run"
            " tools/equal_code.py, else remove it from decathlon/method/equal_code.json"
        )
        for sha256 in digests:
            earlier = now.model_copy(update={"version": "0.1.0", "sha256": sha256})
            assert code.identity(earlier) == code.identity(now)
        # What 0.1.0 wrote into checkpoints and failures, some of it inside another digest.
        assert code.identity(now) == {"distribution": "decathlon", "sha256": digests[0]}


def test_other_code_does_not_count_as_earlier_code() -> None:
    now = code_of("dan")
    others = [
        code_of("spottune"),
        now.model_copy(update={"sha256": "0" * 64}),
        now.model_copy(update={"distribution": "my-methods"}),
    ]
    assert all(code.identity(other) != code.identity(now) for other in others)


# ---- runs


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A registered method's file, to be edited; see tests/faulty.py."""
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(faulty.install(tmp_path / "site")))
    registered.cache_clear()
    yield tmp_path / "site" / "faulty_method.py"
    registered.cache_clear()
    sys.modules.pop("faulty_method", None)


def edit(module: Path) -> None:
    module.write_text(module.read_text() + "\n# edited\n")


def asked(tiny: Path, source: Path, results: Path, **changes: Any) -> Run:
    options: dict[str, Any] = {
        "domains": ("dtd",),
        "settings": ("epochs=2", "batch_size=16"),
        "compute": Compute("cpu", "32"),
        "checkpointing": Checkpointing(seconds=0),
    }
    options |= changes
    method = options.pop("method", faulty.NAME)
    (run,) = resolve(RunConfig((method,), tiny, results, (str(source),), **options))
    return run


def do(run: Run) -> list[str]:
    return [failure.reason for failure in execute(survey([run]), Listener())]


def test_a_record_of_other_code_is_reported(
    tiny: Path, tiny_source: Path, tmp_path: Path, module: Path
) -> None:
    assert do(asked(tiny, tiny_source, tmp_path / "r", domains=["dtd", "imagenet12"])) == []
    trained, kept = (read_record(path) for path in find_records(tmp_path / "r"))
    assert (trained.code, kept.code) == (code_of(faulty.NAME), None)
    weights = tmp_path / "r" / trained.folder / "weights.safetensors"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model(weights)
    edit(module)
    with pytest.raises(UsageError, match=r"finished, but with other code: was faulty 1 \(.*--name"):
        do(asked(tiny, tiny_source, tmp_path / "r"))
    with pytest.warns(UserWarning, match=r"weights.safetensors: was made by other code"):
        load_model(weights)
    assert survey([asked(tiny, tiny_source, tmp_path / "r", domains=["imagenet12"])])[0].state == (
        "done"
    )
    assert do(asked(tiny, tiny_source, tmp_path / "r", name="edited")) == []
    assert do(asked(tiny, tiny_source, tmp_path / "r", force=True)) == []
    assert survey([asked(tiny, tiny_source, tmp_path / "r")])[0].state == "done"


def test_a_checkpoint_and_a_failure_of_other_code_are_not_used(
    tiny: Path, tiny_source: Path, tmp_path: Path, module: Path
) -> None:
    run = asked(tiny, tiny_source, tmp_path / "r")
    import faulty_method

    faulty_method.FAULTS = {"dtd": "nan"}
    assert len(do(run)) == 1
    assert survey([run])[0].state == "failed"
    faulty_method.FAULTS = {}
    edit(module)
    run = asked(tiny, tiny_source, tmp_path / "r")
    assert survey([run])[0].state == "to do"
    with pytest.warns(UserWarning, match=r"dtd\.code\.sha256 was .*starting again"):
        assert do(run) == []


def test_records_that_do_not_tell_their_code_count_with_one_warning(
    tiny: Path, tiny_source: Path, tmp_path: Path, module: Path
) -> None:
    run = asked(tiny, tiny_source, tmp_path / "r", domains=["dtd", "svhn"])
    assert do(run) == []
    for path in find_records(tmp_path / "r"):
        old = json.loads(path.read_text())
        for key in ("network", "code", "predictions"):
            del old[key]
        path.write_text(json.dumps({**old, "format": 1}))
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        assert {work.state for work in survey([run])} == {"done"}
    (warning,) = shown
    assert "do not tell which code made them" in str(warning.message)


def test_trials_of_one_name_that_were_trained_differently_are_reported(
    tiny: Path, tiny_source: Path, tmp_path: Path, module: Path
) -> None:
    results = tmp_path / "r"
    assert do(asked(tiny, tiny_source, results)) == []
    other = {"domains": ["svhn"], "settings": ["epochs=3", "batch_size=16"]}
    with pytest.warns(UserWarning, match=r"dtd.*trained differently \(recipe.epochs was 2, now 3"):
        survey([asked(tiny, tiny_source, results, **other)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        survey([asked(tiny, tiny_source, results, domains=["svhn", "imagenet12"])])
        survey([asked(tiny, tiny_source, results, **other, name="longer")])
    edit(module)
    with pytest.warns(UserWarning, match=r"trained differently \(code.sha256 was"):
        survey([asked(tiny, tiny_source, results, domains=["svhn"])])


def test_processes_that_would_not_compute_the_same_are_refused(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    run = asked(tiny, tiny_source, tmp_path / "r", method="spottune")
    other = asked(tiny, tiny_source, tmp_path / "r", method="fine-tuning")
    (trial,) = run.trials()
    here, there = (TrialFolder(which, trial).identity() for which in (run, other))
    check_agreement(str(trial), here, here)
    with pytest.raises(UsageError, match=r"not the same here .*dtd\.code.* here, .* there"):
        check_agreement(str(trial), here, there)
