"""Source files whose errors name the source, not the data folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from decathlon.common.errors import DataError
from decathlon.common.oserrors import explained


def unreadable(path: Path | str, error: OSError) -> DataError:
    """Returns what to say of a source that cannot be read."""
    return DataError(explained(error, path, "fetch it again", "cannot be read"))


class Reading(FileIO):
    """A source file that is being read, from its beginning to its end."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Returns ``size`` bytes, or fewer, none at the end.

        Raises:
            DataError: They cannot be read.
        """
        try:
            return super().read(size) or b""
        except OSError as error:
            raise unreadable(os.fsdecode(self.name), error) from None


@contextmanager
def reading(path: Path) -> Iterator[Reading]:
    """Opens a source file.

    Raises:
        DataError: It cannot be opened.
    """
    try:
        file = Reading(path)
    except OSError as error:
        raise unreadable(path, error) from None
    with file:
        yield file
