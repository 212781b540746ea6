"""``decathlon.load``: a domain's split as a torch Dataset."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.utils.data import Dataset

from decathlon.data.reading.exporting import to_huggingface, to_imagefolder, unique_names
from decathlon.data.reading.store import data_folder, open_store
from decathlon.data.shard import Int64

if TYPE_CHECKING:
    import datasets


class DomainDataset(Dataset[tuple[torch.Tensor, int]]):
    """The images of one split, whole and as they are stored.

    Item ``i`` is ``(image, label)``: a uint8 tensor (3, height, width), whose short side
    is the suite's and whose long side varies, and an int, -1 if labels are withheld. Crop
    before batching, and normalise ``image / 255`` with ``mean`` and ``std``. A pickle holds
    paths and no pixels, so that the workers of a DataLoader start quickly.

    Attributes:
        domain: Name of the domain.
        split: Name of the split.
        classes: Name by label.
        category_ids: Category id by label, as in a submission.
        mean: Per channel, in [0, 1].
        std: Per channel, in [0, 1].
    """

    def __init__(self, domain: str, split: str, data: Path) -> None:
        store = open_store(data)
        info = store.domain(domain)
        self._images = store.images(domain, [split])
        self.domain, self.split = domain, split
        self.classes = list(info.class_names)
        self.category_ids = list(info.category_ids)
        self.mean, self.std = info.mean, info.std

    @property
    def labels(self) -> Int64:
        """int64 (n,), -1 where not known."""
        return self._images.labels

    @property
    def image_ids(self) -> Int64:
        """int64 (n,), the image ids of the annotations."""
        return self._images.image_ids

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"image {index} of {count}")
        pixels = self._images.pixels(index).transpose(2, 0, 1)
        return torch.from_numpy(pixels.copy()), int(self.labels[index])

    @property
    def unique_classes(self) -> list[str]:
        """``classes``; names that are empty or not unique have their category id added."""
        return unique_names(self.classes, self.category_ids)

    def to_huggingface(self, cache: Path | str | None = None) -> "datasets.Dataset":
        """Returns the split as a data set of Hugging Face's ``datasets``.

        Its columns are ``image`` (lossless), ``label`` (a ``ClassLabel`` with the names in
        :attr:`unique_classes`; -1, which stands for no label there too, if labels are withheld)
        and ``image_id``. Images are written to the cache of ``datasets`` one by one, so the split
        need not fit into memory; a second call reads the cache.

        Example::

            birds = decathlon.load("birds", "train", data="data").to_huggingface()
            birds[0]["image"]                                # a PIL image
            birds.features["label"].int2str(birds[0]["label"])   # 'robin'

        Args:
            cache: Folder of the cache; by default that of ``datasets``.

        Raises:
            UsageError: The package is not installed.
        """
        place = None if cache is None else Path(cache)
        return to_huggingface(self._images, self.split, self.unique_classes, place)

    def to_imagefolder(self, folder: Path | str) -> Path:
        """Writes the split as ``FOLDER/SPLIT/CLASS/IMAGE_ID.png``, whole or not at all.

        Such trees are read by torchvision's ``ImageFolder``, by Hugging Face's ``imagefolder``
        and by ``decathlon prepare --folder``. If a class has a name that no folder can have (with
        a ``/``, say), folders are numbered by label, and ``metadata.jsonl`` beside them holds the
        names.

        Args:
            folder: Where the split's folder is written; other splits may be there.

        Returns:
            The split's folder.

        Raises:
            UsageError: The split's folder exists.
            DataError: A label is not known.
        """
        target = Path(folder) / self.split
        to_imagefolder(self._images, target, self.unique_classes)
        return target


def load(domain: str, split: str, data: Path | str | None = None) -> DomainDataset:
    """Opens one split of a prepared domain as a torch Dataset.

    Args:
        domain: Name of the domain.
        split: ``"train"``, ``"val"`` or ``"test"``.
        data: Folder of the prepared data; by default ``$DECATHLON_DATA``, else ``./data``.

    Raises:
        UsageError: The domain is not prepared there.
        DataError: The folder or the split is missing or damaged.

    Example:
        >>> birds = decathlon.load("birds", "train", data="data")
        >>> image, label = birds[0]  # uint8 (3, height, width), int
        >>> birds.classes[label]
        'robin'
    """
    return DomainDataset(domain, split, data_folder(Path(data) if data is not None else None))
