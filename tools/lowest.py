"""Prints the lowest version of every package that setup.py allows, for pip to install.

    python tools/lowest.py [PACKAGE ...]

Given packages, it prints those only.
"""

import re
import sys
from pathlib import Path

SETUP = Path(__file__).parents[1] / "setup.py"
REQUIREMENT = re.compile(r'"([\w.-]+)((?:\[\w+\])?)>=([\d.]+)"')


def main() -> None:
    for name, extra, version in REQUIREMENT.findall(SETUP.read_text(encoding="utf-8")):
        if name in sys.argv[1:] or not sys.argv[1:]:
            print(f"{name}{extra}=={version}")


if __name__ == "__main__":
    main()
