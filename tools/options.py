"""Options that several tools have."""

import argparse
from pathlib import Path

from decathlon.common.errors import DecathlonError
from decathlon.common.files import check_output


def output_file(text: str) -> Path:
    """Parse a file to write, which is checked before the measurements begin."""
    try:
        check_output(Path(text))
    except DecathlonError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return Path(text)
