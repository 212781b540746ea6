"""Files of torch, old and new, are read as data; damaged and malicious ones are refused."""

import io
import os
import pickle
import random
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from decathlon.common.errors import DataError
from decathlon.models.reference import torch_files as import_files
from decathlon.models.reference.names import StoredTensor
from decathlon.models.reference.pickles import Described
from decathlon.models.reference.torch_files import Checkpoint, read_checkpoint
from tests.models.reference.import_forge import authors, save_2018, tree

# torch says so where it keeps the classes' source texts, which these classes have not.
pytestmark = pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")


def save_zip(value: Any, path: Path) -> None:
    torch.save(value, path)


def save_stream(value: Any, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


BOTH = pytest.mark.parametrize("save", [save_zip, save_stream])
Save = Callable[[Any, Path], None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "in.t7"


def tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {
        name: checkpoint.tensor(value)
        for name, value in checkpoint.root.items()
        if isinstance(value, StoredTensor)
    }


@BOTH
def test_tensors_come_through(save: Save, file: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    kinds = [torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.bool, torch.int16]
    saved = {
        **{str(kind): torch.tensor([[0, 1], [1, 0], [1, 1]]).to(kind) for kind in kinds},
        "base": base,
        "slice": base[1:3, 2:],
        "transposed": base.T,
        "column": base[:, 4],
        "number": torch.tensor(7),
        "empty": torch.empty(0, 3),
        "parameter": nn.Parameter(torch.randn(2, 3)),
    }
    save(saved, file)
    found = tensors(read_checkpoint(file))
    assert found.keys() == saved.keys()
    for name, tensor in saved.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert found["slice"].untyped_storage().data_ptr() == found["base"].untyped_storage().data_ptr()


@BOTH
def test_state_dicts_and_plain_values_come_through(save: Save, file: Path) -> None:
    layer = nn.BatchNorm2d(3)
    save({"net": layer.state_dict(), "epoch": 3, "acc": np.float64(71.5), "x": (1, [2])}, file)
    root = read_checkpoint(file).root
    assert (root["epoch"], root["acc"], root["x"]) == (3, 71.5, (1, [2]))
    assert list(root["net"]) == list(layer.state_dict())


@pytest.mark.parametrize("protocol", [2, 3, 4])
@BOTH
def test_every_protocol_of_pickle(save: Save, protocol: int, file: Path) -> None:
    value = OrderedDict(a=torch.randn(3), b=torch.Size([2, 3]))
    zipped = save is save_zip
    torch.save(value, file, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    checkpoint = read_checkpoint(file)
    assert torch.equal(tensors(checkpoint)["a"], value["a"])
    assert checkpoint.root["b"] == (2, 3)


@pytest.mark.parametrize("cuda", [True, False])
@pytest.mark.parametrize("old_parameters", [True, False])
def test_files_of_2018(cuda: bool, old_parameters: bool, file: Path) -> None:
    with authors() as classes:
        layers = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.ReLU())
        net = tree(classes["models.ResNet"], {"a": layers}, in_planes=7)
        value = {"net": nn.DataParallel(net), "acc": np.float64(81.25), "n\xe9t": "\xff"}
        save_2018(value, file, cuda=cuda, old_parameters=old_parameters)
        assert (b"torch.cuda" in file.read_bytes()) == cuda
    checkpoint = read_checkpoint(file)
    root = checkpoint.root
    assert (root["acc"], root["n\xe9t"]) == (81.25, "\xff")
    wrapper = root["net"]
    assert wrapper == Described("torch.nn.parallel.data_parallel.DataParallel", wrapper.state)
    inner = wrapper.state["_modules"]["module"]
    assert inner.state["in_planes"] == 7
    conv, norm, relu = inner.state["_modules"]["a"].state["_modules"].values()
    assert relu.name == "torch.nn.modules.activation.ReLU"
    assert "padding_mode" not in conv.state
    assert torch.equal(checkpoint.tensor(conv.state["_parameters"]["weight"]), layers[0].weight)
    assert "num_batches_tracked" not in norm.state["_buffers"]
    assert torch.equal(checkpoint.tensor(norm.state["_buffers"]["running_var"]), torch.ones(3))


class Evil:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("hidden", [False, True])
@BOTH
def test_malicious_files_are_refused_and_do_nothing(
    save: Save, hidden: bool, file: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    evil = Evil(os.system, f"touch {mark}")
    save({"net": torch.zeros(2), "acc": [evil]} if hidden else evil, file)
    with pytest.raises(DataError, match=r"in\.t7: is refused: it names '\w+\.system'") as error:
        read_checkpoint(file)
    assert error.value.exit_code == 3
    assert not mark.exists()
    torch.load(file, weights_only=False)  # it is a real attack
    assert mark.exists()


@BOTH
def test_classes_that_are_not_listed_are_refused(save: Save, file: Path) -> None:
    save({"net": nn.LSTM(2, 2)}, file)
    with pytest.raises(DataError, match=r"'torch\.nn\.modules\.rnn\.LSTM'.* state_dict"):
        read_checkpoint(file)


def rebuild(
    path: Path,
    change: Callable[[str, bytes], bytes | None],
    compression: int = zipfile.ZIP_STORED,
) -> None:
    """Writes a zip again with other members; None leaves one out."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            changed = change(name.partition("/")[2], data)
            if changed is not None:
                archive.writestr(name, changed)


def replace_in_pickle(path: Path, old: bytes, new: bytes) -> None:
    """Replaces bytes of the pickle in a file of either format."""
    if zipfile.is_zipfile(path):
        rebuild(path, lambda name, data: data.replace(old, new) if name == "data.pkl" else data)
    else:
        path.write_bytes(path.read_bytes().replace(old, new, 1))


@BOTH
def test_a_huge_declared_storage_asks_for_no_memory(save: Save, file: Path) -> None:
    save({"a": torch.zeros(70_001)}, file)
    data, declared = file.read_bytes(), b"J" + struct.pack("<i", 70_001)
    tracemalloc.start()
    for size in (b"J" + struct.pack("<i", 2**31 - 1), b"\x8a\x08" + struct.pack("<q", 2**62)):
        file.write_bytes(data)
        replace_in_pickle(file, declared, size)
        with pytest.raises(DataError, match=r"declares [0-9]+ bytes of numbers"):
            read_checkpoint(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@BOTH
def test_a_file_cut_anywhere_is_refused(save: Save, file: Path) -> None:
    save({"a": torch.randn(40), "b": [1, "two"]}, file)
    data = file.read_bytes()
    for end in [*range(0, len(data), 7), len(data) - 1]:
        file.write_bytes(data[:end])
        with pytest.raises(DataError, match=r"in\.t7: "):
            read_checkpoint(file)


@BOTH
def test_damaged_files_raise_nothing_else(save: Save, file: Path) -> None:
    save({"a": torch.randn(4), "b": nn.BatchNorm2d(2), "c": {"d": [1.5, None]}}, file)
    data = file.read_bytes()
    generator = random.Random(2)
    refused = 0
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(generator.randint(1, 3)):
            damaged[generator.randrange(len(data))] = generator.randrange(256)
        file.write_bytes(damaged)
        try:
            read_checkpoint(file)
        except DataError:
            refused += 1
    assert refused > 50


def stored(tensor: Tensor, **changes: Any) -> bytes:
    """A zip's pickle of a tensor that claims other extents than it has."""
    facts = {"offset": 0, "shape": tuple(tensor.shape), "strides": tensor.stride(), **changes}

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", 6) if value == "STORAGE" else None

    out = io.BytesIO()
    arguments = ("STORAGE", facts["offset"], facts["shape"], facts["strides"], False, OrderedDict())
    Pickler(out, 2).dump(Evil(torch._utils._rebuild_tensor_v2, *arguments))
    return out.getvalue()


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": 1},
        {"offset": -1},
        {"offset": 1 << 70},
        {"offset": 0.0},
        {"shape": (2, 4)},
        {"shape": (1 << 40, 3), "strides": (0, 1)},
        {"shape": (2, 3), "strides": (3,)},
        {"shape": (2, 3), "strides": (4, 1)},
        {"shape": (2, -3)},
        {"shape": [2, 3]},
        {"shape": (1,) * 100, "strides": (1,) * 100},
        {"shape": (True, 3)},
    ],
)
def test_tensors_that_reach_outside_their_storage(changes: dict[str, Any], file: Path) -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    torch.save(tensor, file)
    rebuild(file, lambda name, data: stored(tensor) if name == "data.pkl" else data)
    checkpoint = read_checkpoint(file)
    assert torch.equal(checkpoint.tensor(checkpoint.root), tensor)
    rebuild(file, lambda name, data: stored(tensor, **changes) if name == "data.pkl" else data)
    with pytest.raises(DataError, match="is damaged: a tensor"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda name, data: None if name == "data/0" else data, "lacks its member 'data/0'"),
        (lambda name, data: data[:-4] if name == "data/0" else data, "numbers end early"),
        (lambda name, data: data * 9 if name == "data/0" else data, "is too large"),
        (lambda name, data: b"big" if name == "byteorder" else data, "byte order"),
        (lambda name, data: None if name == "data.pkl" else data, "not one that torch saved"),
    ],
)
def test_zips_with_other_members(
    change: Callable[[str, bytes], bytes | None], words: str, file: Path
) -> None:
    torch.save({"a": torch.randn(64)}, file)
    rebuild(file, change)
    with pytest.raises(DataError, match=words):
        read_checkpoint(file)


def test_a_compressed_zip_is_refused(file: Path) -> None:
    torch.save({"a": torch.zeros(100_000)}, file)
    rebuild(file, lambda _, data: data, zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 10_000
    with pytest.raises(DataError, match=r"is refused|is truncated"):
        read_checkpoint(file)


def test_an_enormous_directory_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for index in range(3000):
            archive.writestr(f"archive/data/{index}", b"")
    monkeypatch.setattr(import_files, "MAX_BYTES", 100_000)
    with pytest.raises(DataError, match="directory of enormous size"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a file that torch saved"),
        (b"hello", "not a file that torch saved"),
        (pickle.dumps({"net": 1}), "not a file that torch saved"),
        (b"PK\x03\x04" + b"\0" * 200, "damaged zip"),
    ],
)
def test_other_files(content: bytes, words: str, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_checkpoint(file)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_checkpoint(tmp_path / "nothing.t7")
    with pytest.raises(DataError, match="not a regular file"):
        read_checkpoint(tmp_path)


def test_old_files_with_other_storages_than_described(file: Path) -> None:
    save_stream({"a": torch.randn(70_001)}, file)
    data = file.read_bytes()
    size = struct.pack("<q", 70_001)
    file.write_bytes(data.replace(size, struct.pack("<q", 70_000)))
    with pytest.raises(DataError, match="has not the declared size"):
        read_checkpoint(file)
    key = data[data.index(b"X\x07\x00\x00\x00storage") :].split(b"X", 2)[2][4:18]
    assert data.count(key) == 2
    file.write_bytes(data[::-1].replace(key[::-1], b"9" * len(key), 1)[::-1])
    with pytest.raises(DataError, match="are not those it describes"):
        read_checkpoint(file)
