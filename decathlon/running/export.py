"""A trial's network as an ONNX file or a ``torch.export`` program, for use without decathlon."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from decathlon.common.errors import DataError, OutputError, UsageError, check_known
from decathlon.common.files import replacing
from decathlon.data.reading.application import Application
from decathlon.method.base import Batch
from decathlon.method.stored import Trained

OPSET = 18
"""Version of ONNX's operators: the one that torch's exporter writes by itself."""
FORMATS = ("onnx", "torch")
METADATA = "decathlon"
"""Key of the metadata of an ONNX file; beside a program, the file of this name and ``.json``."""
TOLERANCE = 1e-4
"""By which exported logits may differ, absolutely."""
SAMPLES = (1, 3)
"""Images in the batches that are compared."""

Run = Callable[[Tensor], Tensor]


@runtime_checkable
class TwoPaths(Protocol):
    """A block with a frozen and a tuned path."""

    def plain(self, tuned: bool) -> nn.Module:
        """Returns the block of one path."""


class Routed(Protocol):
    """A network with such blocks, and a policy network from images to N x 2 L logits."""

    policy: nn.Module
    head: nn.Module

    def layers(self) -> list[nn.Module]:
        """Lists stem, blocks and tail, in order."""


def is_routed(network: nn.Module) -> TypeGuard[Routed]:
    """Whether a network is routed as known here.

    ``isinstance`` does not see the modules in a module from Python 3.12 on.
    """
    return all(hasattr(network, name) for name in ("policy", "head", "layers"))


class DensePaths(nn.Module):
    """Both paths of a block, and a choice between them for each image."""

    def __init__(self, block: TwoPaths) -> None:
        super().__init__()
        self.frozen, self.tuned = block.plain(tuned=False), block.plain(tuned=True)

    def forward(self, x: Tensor, taken: Tensor) -> Tensor:
        """Maps x, N x ..., by the tuned path where ``taken``, N, bool."""
        tuned: Tensor = self.tuned(x)
        return torch.where(taken.view(-1, *(1 for _ in tuned.shape[1:])), tuned, self.frozen(x))


class DenseNetwork(nn.Module):
    """A routed network without control flow by its decisions: they choose between results."""

    def __init__(self, network: Routed) -> None:
        super().__init__()
        self.policy, self.head = network.policy, network.head
        self.layers = nn.ModuleList(
            DensePaths(layer) if isinstance(layer, TwoPaths) else layer
            for layer in network.layers()
        )

    def forward(self, images: Tensor) -> Tensor:
        """Maps images, N x 3 x H x W, to logits; the policy's likelier path is taken."""
        beta = self.policy(images).unflatten(1, (-1, 2))
        taken = iter((beta[..., 1] > beta[..., 0]).unbind(1))
        x = images
        for layer in self.layers:
            x = layer(x, next(taken)) if isinstance(layer, DensePaths) else layer(x)
        logits: Tensor = self.head(x)
        return logits


def export(trained: Trained, application: Application, form: str, out: Path) -> float:
    """Writes a network to a file, once the file gives the same logits.

    Its input is ``images``, N x 3 x H x W, normalised, for any N; its output ``logits``.

    Args:
        trained: The network.
        application: Written beside it, as JSON.
        form: One of :data:`FORMATS`.
        out: The file to write.

    Returns:
        By how much logits of a few made-up images differ, at most.

    Raises:
        UsageError: The format is not known, or its packages are not installed.
        DataError: The network's decisions do not follow from the image.
        OutputError: torch cannot export the network, or it then gives other logits.
    """
    check_known("format", form, FORMATS)
    if form == "onnx":
        check_onnx()
    write = _as_onnx if form == "onnx" else _as_program
    network, side = trained.network, application.crop or application.side
    generator = torch.Generator().manual_seed(0)
    samples = [torch.randn(n, 3, side, side, generator=generator) for n in SAMPLES]
    axes: dict[int, Dim] = {0: Dim("batch")}
    if application.crop is None:  # whole images
        axes |= {2: Dim("height"), 3: Dim("width")}
    with torch.no_grad():
        dense = _dense(trained, samples[-1])
        try:
            program = torch.export.export(dense.eval(), (samples[-1],), dynamic_shapes=(axes,))
            content, run = write(program, application.model_dump_json(exclude_defaults=True))
        except (RuntimeError, TypeError, ValueError) as error:
            (reason, *_) = str(error).strip().splitlines() or [type(error).__name__]
            raise OutputError(
                f"{trained.path}: torch cannot export this network ({reason}); use --format"
                f" {'torch' if form == 'onnx' else 'onnx'}, or another version of torch"
            ) from error
        far = max(float((run(images) - network(images)).abs().max()) for images in samples)
    if not far <= TOLERANCE:
        raise OutputError(
            f"{out}: not written, as the exported network gives other logits: they differ by up to"
            f" {far:.2g}, {TOLERANCE:g} is allowed; another version of torch may do better"
        )
    with replacing(out) as part:
        part.write_bytes(content)
    return far


def _dense(trained: Trained, images: Tensor) -> nn.Module:
    """Returns a network that computes the same without control flow by its decisions.

    Raises:
        DataError: Its decisions are drawn, or it is routed in a way that is not known here.
    """
    network, method = trained.network, trained.method
    if not any(isinstance(module, TwoPaths) for module in network.modules()):
        return network
    if not is_routed(network):
        raise DataError(
            f"{trained.path}: a {type(network).__name__} routes images in a way that cannot be"
            " exported"
        )
    ids = torch.arange(len(images))
    batches = [Batch(images, ids, ids + first, 0, 1.0, "") for first in (0, len(images))]
    first, second = (method.predict(trained.network, batch)[1] for batch in batches)
    assert first is not None
    assert second is not None
    if not torch.equal(first, second):
        raise DataError(
            f"{trained.path}: the path of an image is drawn by its id, which an exported network"
            " does not know; export a network whose decisions follow from the image"
        )
    if method.routes_images:
        return DenseNetwork(network)
    fixed = iter(first[0].tolist())  # the same for all images
    layers = [
        layer.plain(tuned=next(fixed) > 0) if isinstance(layer, TwoPaths) else layer
        for layer in network.layers()
    ]
    return nn.Sequential(*layers, network.head)


def check_onnx() -> None:
    """Checks that the packages are there that write and run ONNX files.

    Raises:
        UsageError: One is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"--format onnx needs the packages of the extra 'onnx' ({error}): pip install"
            " 'decathlon[onnx]', or use --format torch"
        ) from None


def _as_onnx(program: ExportedProgram, facts: str) -> tuple[bytes, Run]:
    """Returns the content of an ONNX file, and what runs it."""
    import onnxruntime

    written = torch.onnx.export(
        program,
        dynamo=True,
        input_names=["images"],
        output_names=["logits"],
        opset_version=OPSET,
        verbose=False,
    )
    assert written is not None
    model = written.model_proto
    model.metadata_props.add(key=METADATA, value=facts)
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        (logits,) = session.run(None, {"images": images.numpy()})
        return torch.from_numpy(logits)

    return content, run


def _as_program(program: ExportedProgram, facts: str) -> tuple[bytes, Run]:
    """Returns the content of a program's file, and the program that is read from it."""
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={f"{METADATA}.json": facts})
    content = file.getvalue()
    return content, torch.export.load(io.BytesIO(content)).module()
