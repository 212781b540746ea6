"""Commands that use trained networks: predict, export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decathlon.commands.options import Device, Out, Precision, Threads, check_out
from decathlon.common.errors import DataError, check_known
from decathlon.common.progress import progress, say
from decathlon.common.text import file_size, visible, visible_lines

if TYPE_CHECKING:
    from decathlon.data.reading.application import Application
    from decathlon.method.stored import Trained

Weights = Annotated[Path, typer.Argument(help="A trial's weights.safetensors.", show_default=False)]
WeightsSource = Annotated[
    Path | None,
    typer.Option(
        help="Source network that the weights rest on (default: found in the results' folder"
        " sources).",
        readable=False,
    ),
]
ClassesData = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Prepared data folder to take class names and views from, for weights of earlier"
        " versions.",
        readable=False,
    ),
]


def _opened(weights: Path, source: Path | None, data: Path | None) -> "tuple[Trained, Application]":
    from decathlon.method.stored import open_trained
    from decathlon.running.prediction import applied

    trained = open_trained(weights, source)
    return trained, applied(trained, data)


def predict(
    weights: Weights,
    images: Annotated[
        list[Path],
        typer.Argument(help="Image files, or folders of them.", show_default=False),
    ],
    source: WeightsSource = None,
    data: ClassesData = None,
    form: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
    out: Out = None,
    top: Annotated[
        int | None,
        typer.Option(min=1, help="Classes of each image (default: 3 in a table, else all)."),
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = 0,
) -> None:
    """Classify image files with a trial's network.

    Folders are searched for image files, also in the folders inside. Images that cannot be read
    are listed, and the exit code is then 3.
    """
    from decathlon.running.prediction import image_files
    from decathlon.running.prediction import predict as run
    from decathlon.running.prediction_formats import FORMATS, show_predictions
    from decathlon.training.device import Compute

    check_known("format", form, FORMATS)
    check_out(out, weights, *images, *filter(None, (source, data)))
    trained, application = _opened(weights, source, data)
    broken: list[str] = []

    def tell(message: str) -> None:
        broken.append(message)
        say(f"decathlon: {visible_lines(message)}")

    files = image_files(images, tell)
    done = []
    with progress("predicting", len(files), "images") as bar:
        for prediction in run(
            trained, application, files, Compute(device, precision, threads), tell
        ):
            done.append(prediction)
            bar.advance()
    if done or form != "table":
        show_predictions(done, application.classes, form, top, out)
    if broken:
        raise typer.Exit(DataError.exit_code)


def export(
    weights: Weights,
    form: Annotated[str, typer.Option("--format", help="onnx, or torch for torch.export.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    source: WeightsSource = None,
    data: ClassesData = None,
) -> None:
    """Write a trial's network to a file that is used without decathlon.

    The file is written once it gives the same logits as the network, for batches of any size.
    """
    from decathlon.running.export import FORMATS
    from decathlon.running.export import export as run

    check_known("format", form, FORMATS)
    check_out(out, weights, *filter(None, (source, data)))
    far = run(*_opened(weights, source, data), form, out)
    size = file_size(out.stat().st_size)
    print(f"{visible(str(out))}: {size}, logits differ by at most {far:.1g} from the network's")
