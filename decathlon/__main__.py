"""``python -m decathlon`` is the command ``decathlon``; a signal at any time ends it in order."""

import sys
from typing import NoReturn

from decathlon import interrupts
from decathlon.launch import is_follower


def main() -> NoReturn:
    """Runs the command line and exits with the documented code."""
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
