"""``python -m decathlon`` is the command ``decathlon``."""

from decathlon.cli import main

if __name__ == "__main__":
    main()
