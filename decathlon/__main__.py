"""``python -m decathlon`` is the command ``decathlon``; a signal at any time ends it in order."""

import sys
from typing import NoReturn

from decathlon import WINDOWS


def main() -> NoReturn:
    """Runs the command line and exits with the documented code."""
    if sys.platform == "win32":  # before an import fails that only Unix has
        print(WINDOWS, file=sys.stderr)
        sys.exit(2)
    from decathlon.common import interrupts
    from decathlon.common.world import is_follower

    try:
        interrupts.install(quiet=is_follower())
        # Imported here, as a signal may arrive meanwhile.
        from decathlon.cli import main as run

        run()
    except KeyboardInterrupt:
        interrupts.ending()
        print(f"decathlon: {interrupts.RESUME}", file=sys.stderr)
        sys.exit(interrupts.INTERRUPTED)
    finally:
        interrupts.ending()


if __name__ == "__main__":
    main()
