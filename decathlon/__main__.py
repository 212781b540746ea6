"""``python -m decathlon`` is the command ``decathlon``; it tells of an interrupt at any time."""

import sys
from typing import NoReturn

from decathlon import WINDOWS


def main() -> NoReturn:
    """Runs the command line and exits with the documented code."""
    if sys.platform == "win32":  # before an import fails that only Unix has
        print(WINDOWS, file=sys.stderr)
        sys.exit(2)
    try:
        # Imported here, since an interrupt may come while it is.
        from decathlon.cli import main as run

        run()
    except KeyboardInterrupt:
        print("decathlon: interrupted; run the same command to go on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
