"""bf16: chosen where it is quick, and computed well where it is not."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from decathlon.common.errors import UsageError
from decathlon.data.reading.store import open_store
from decathlon.method.recipe import apply
from decathlon.method.registry import find
from decathlon.models.weights import read_source
from decathlon.suites.visual_decathlon import AUGMENTED
from decathlon.training.bf16 import RoundedBf16, RoundedProducts, described
from decathlon.training.device import Compute
from decathlon.training.evaluation import evaluate
from decathlon.training.feed import Feed
from decathlon.training.loop import train

HALF_A_UNIT = 2.0**-8
"""Relative error of rounding to bf16: it keeps 8 bits."""
CPU = torch.device("cpu")

PRODUCTS: dict[str, tuple[Callable[..., Tensor], list[tuple[int, ...]]]] = {
    "conv": (lambda x, w: F.conv2d(x, w, padding=1), [(2, 8, 9, 9), (6, 8, 3, 3)]),
    "strided": (lambda x, w: F.conv2d(x, w, stride=2), [(2, 8, 9, 9), (6, 8, 1, 1)]),
    "patches": (lambda x, w: F.conv2d(x, w, padding=1, stride=2), [(3, 16, 9, 9), (6, 16, 3, 3)]),
    "patches-biased": (F.conv2d, [(3, 16, 9, 9), (6, 16, 3, 3), (6,)]),
    "transposed": (F.conv_transpose2d, [(2, 16, 9, 9), (16, 6, 3, 3)]),
    "grouped": (lambda x, w: F.conv2d(x, w, groups=2), [(2, 8, 9, 9), (6, 4, 3, 3)]),
    "biased": (F.conv2d, [(2, 8, 9, 9), (6, 8, 3, 3), (6,)]),
    "linear": (F.linear, [(5, 40), (7, 40)]),
    "linear-biased": (F.linear, [(5, 40), (7, 40), (7,)]),
    "matmul": (torch.matmul, [(5, 40), (40, 7)]),
    "matmul-batched": (torch.matmul, [(3, 5, 40), (3, 40, 7)]),
    "addmm": (lambda a, b, c: torch.addmm(c, a, b), [(5, 40), (40, 7), (7,)]),
}


@contextlib.contextmanager
def rounded() -> Iterator[None]:
    with torch.autocast("cpu", torch.bfloat16), RoundedProducts():
        yield


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_those_of_rounded_numbers_rounded_once(name: str, graph: bool) -> None:
    product, shapes = PRODUCTS[name]
    drawn = torch.Generator().manual_seed(len(name))
    given = [torch.randn(shape, generator=drawn) for shape in shapes]
    exact = [one.bfloat16().double().requires_grad_(graph) for one in given]
    mine = [one.clone().requires_grad_(graph) for one in given]
    with contextlib.nullcontext() if graph else torch.inference_mode():
        with rounded():
            out = product(*mine)
        expected = product(*exact)
    assert out.dtype is torch.bfloat16
    size = product(*[one.detach().abs() for one in exact])  # the sums may cancel
    assert ((out.double() - expected).abs() <= HALF_A_UNIT * expected.abs() + 1e-6 * size).all()
    if graph:
        towards = torch.randn(out.shape, generator=drawn).bfloat16()
        with RoundedProducts():
            found = torch.autograd.grad(out, mine, towards)
        wanted = torch.autograd.grad(expected, exact, towards.double())
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=2 * HALF_A_UNIT, atol=1e-2)
            assert torch.equal(a, a.bfloat16().float())


def test_numbers_of_32_bits_are_left_alone() -> None:
    a, b = torch.randn(4, 9), torch.randn(9, 5)
    expected = a @ b
    with RoundedProducts():
        assert torch.equal(a @ b, expected)


class Kinds(TorchDispatchMode):
    """Collects the types that products are taken in."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func.overloadpacket in {
            torch.ops.aten.convolution,
            torch.ops.aten.convolution_backward,
            torch.ops.aten.conv2d,
            torch.ops.aten.mm,
            torch.ops.aten.addmm,
            torch.ops.aten.linear,
            torch.ops.aten.bmm,
        }:
            self.seen |= {one.dtype for one in args if isinstance(one, Tensor)}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "name", ["fine-tuning", "spottune", "spottune-global-k", "parallel-adapters", "dan", "lwf"]
)
def test_methods_learn_and_predict_with_every_product_in_32_bits(
    tiny: Path, tiny_source: Path, name: str
) -> None:
    kind = find(name)
    method = kind(apply(kind.recipes, {"epochs": 1, "batch_size": 8}, name))
    view = AUGMENTED.train
    feed = Feed(open_store(tiny), "dtd", ("train",), view, 8, 0, CPU)
    fabric = Fabric(accelerator="cpu", plugins=[RoundedBf16("cpu")])
    fabric.launch()
    torch.manual_seed(0)
    network = method.build(read_source(tiny_source), [feed.task])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with Kinds() as kinds:  # below the precision's own: it sees what really is computed
        final = train(method, network, [feed], fabric, 0, lambda facts: None)
        shown = Feed(open_store(tiny), "dtd", ("val",), view, 8, 0, CPU)
        found = evaluate(method, final, shown, fabric)
    assert kinds.seen == {torch.float32}
    assert found.correct is not None
    after = network.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(after[key], value) for key, value in before.items())


def able(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(names, True), False)


@pytest.mark.parametrize("instructions", ["avx512_bf16", "amx_bf16"])
def test_processors_that_multiply_bf16_use_it(
    monkeypatch: pytest.MonkeyPatch, instructions: str
) -> None:
    able(monkeypatch, "avx512_f", instructions)
    for wanted in ("auto", "bf16"):
        precision = Compute("cpu", wanted).fabric().strategy.precision
        assert type(precision) is MixedPrecision
        assert described(precision) == "bf16-mixed"
    assert described(Compute("cpu", "32").fabric().strategy.precision) == "32-true"


def test_other_processors_take_32_bits_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    able(monkeypatch, "avx2", "avx512_f")
    assert described(Compute("cpu", "auto").fabric().strategy.precision) == "32-true"
    compute = Compute("cpu", "bf16")
    numerics = compute.numerics(compute.fabric())
    assert numerics["precision"] == "bf16-mixed by products in 32 bits"


def test_what_cannot_be_compiled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    able(monkeypatch, "avx2")
    with pytest.raises(UsageError, match="leave --compile out, or use --precision 32"):
        Compute("cpu", "bf16", compiled=True).fabric()
    Compute("cpu", "32", compiled=True).fabric()
