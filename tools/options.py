"""Options that several tools have."""

import argparse
from pathlib import Path

from decathlon.errors import DecathlonError
from decathlon.files import check_output


def output_file(text: str) -> Path:
    """Parse a file to write, which is checked before the measurements begin."""
    try:
        check_output(Path(text))
    except DecathlonError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return Path(text)
