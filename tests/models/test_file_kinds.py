"""Files that should hold weights and do not: each message says what the file is."""

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from decathlon import load_model
from decathlon.common.errors import DataError, UnreadableError
from decathlon.models.networks import Architecture
from decathlon.models.weights import read_source, read_weights, write_source, write_weights

MORTAL = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
LOCKS = pytest.mark.skipif(
    not all(map(shutil.which, MORTAL[:1])), reason="root, and there is no setpriv"
)
KINDS = {
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "Git LFS"),
    "html": (b"\n <!DOCTYPE html><html><title>Sign in</title></html>", "a web page"),
    "html in capitals": (
        b"\xef\xbb\xbf<HTML><BODY>not found</BODY></HTML>" + b" " * 900,
        "web page",
    ),
    "json": (b'{"message": "not found"}', "JSON text"),
    "text": ("Ask Jürgen for the file.\n".encode(), "is text"),
    "zip": (b"PK\3\4" + bytes(100), r"zip file.*\.pth.*import-weights"),
    "pickle": (b"\x80\2ctorch\nX\n" + bytes(20), r"pickle.*\.t7.*import-weights"),
    "gzip": (b"\x1f\x8b\x08" + bytes(50), "gzip archive"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
    "empty": (b"", "is empty"),
    "short": (b"\x05", "not a safetensors file"),
    "noise": (bytes(range(256)) * 4, "not a safetensors file"),
    "header cut": (struct.pack("<Q", 5000) + b'{"a"' + b" " * 100, "cut short.*5000"),
    "huge header": (struct.pack("<Q", 2**60) + b'{"a"', "not a safetensors file"),
    "no json": (struct.pack("<Q", 4) + b"{\xff\xff}", "damaged safetensors file"),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path, architecture = tmp_path / "good.safetensors", Architecture(width=0.25)
    write_source(path, architecture.build(11), architecture, {})
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read", [read_weights, read_source, load_model])
def test_what_a_file_is_instead_of_weights(
    tmp_path: Path, kind: str, read: Callable[[Path], object]
) -> None:
    content, said = KINDS[kind]
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.safetensors: .*{said}"):
        read(path)


def test_files_cut_short_say_by_how_much(source: Path) -> None:
    whole = source.read_bytes()
    source.write_bytes(whole[:-100])
    with pytest.raises(DataError, match=f"it has {len(whole) - 100} of {len(whole)} bytes"):
        read_source(source)


def test_missing_files_and_folders(tmp_path: Path, source: Path) -> None:
    with pytest.raises(DataError, match="no such weights file"):
        read_source(tmp_path / "none.safetensors")
    with pytest.raises(DataError, match="no such weights file"):
        read_source(source / "inside.safetensors")
    with pytest.raises(DataError, match="is a folder"):
        read_source(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="not a regular file"):
        read_source(tmp_path / "pipe")


@LOCKS
@pytest.mark.parametrize("locked", ["file", "folder"])
def test_files_of_others_are_said_to_be_unreadable(
    tmp_path: Path, source: Path, locked: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.move(source, folder / "x.safetensors")
    (folder / "x.safetensors" if locked == "file" else folder).chmod(0)
    program = (
        "from decathlon.models.weights import read_source; read_source('folder/x.safetensors')"
    )
    program = f"from pathlib import Path\n{program}".replace("('", "(Path('").replace("s')", "s'))")
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [*MORTAL, sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    folder.chmod(0o700)
    assert UnreadableError.__name__ in done.stderr
    assert "x.safetensors: cannot be read (Permission denied)" in done.stderr


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_numbers_that_are_none_are_refused_with_their_tensor(source: Path, value: float) -> None:
    header, tensors = read_weights(source)
    tensors["macros.1.0.branch.conv1.weight"].view(-1)[7] = value
    write_weights(source, header, tensors)
    said = r"macros\.1\.0\.branch\.conv1\.weight has 1 of \d+ numbers that are NaN or infinite"
    for read in (read_weights, read_source, load_model):
        with pytest.raises(DataError, match=said):
            read(source)


def test_very_large_numbers_are_numbers(source: Path) -> None:
    header, tensors = read_weights(source)
    tensors["head.weight"][0, :2] = torch.tensor([3e38, -3e38])
    write_weights(source, header, tensors)
    read_source(source)


def test_variances_are_not_negative(source: Path) -> None:
    header, tensors = read_weights(source)
    tensors["stem.bn.running_mean"][:] = -1
    tensors["stem.bn.running_var"][3] = -0.5
    write_weights(source, header, tensors)
    with pytest.raises(DataError, match=r"stem\.bn\.running_var is a variance .* -0\.5"):
        read_source(source)


def test_numbers_of_another_type_are_refused(source: Path) -> None:
    header, tensors = read_weights(source)
    tensors["head.weight"] = tensors["head.weight"].double()
    write_weights(source, header, tensors)
    with pytest.raises(DataError, match=r"head.weight has numbers of type torch.float64"):
        read_source(source)


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": {"name": "resnet26", "width": 1e9, "blocks": [4], "adapters": "none"}},
        {"architecture": {"name": "resnet26", "width": 1, "blocks": [10**9], "adapters": "none"}},
        {"architecture": {"name": "resnet26", "width": "1", "blocks": [4], "adapters": "none"}},
        {"architecture": {"name": "resnet26"}},
        {"architecture": 3},
        {"num_classes": "many"},
        {"num_classes": 10**12},
        {"num_classes": -1},
        {"tied": {"x": {"of": "nothing"}}},
        {"tied": {"x": {"of": "head.bias", "offset": 0, "shape": [10**9], "stride": [1]}}},
        {"tied": 3},
        {"bits": 3},
    ],
    ids=lambda change: json.dumps(change)[:40],
)
def test_headers_that_claim_the_impossible(source: Path, change: dict[str, object]) -> None:
    header, tensors = read_weights(source)
    write_weights(source, {**header, **change}, tensors)
    if "bits" in change:  # which writing fills in
        whole = source.read_bytes()
        source.write_bytes(whole.replace(b'\\"bits\\": {}', b'\\"bits\\": 3 '))
    with pytest.raises(DataError, match=r"safetensors: |network"):
        read_source(source)
