"""Prints the lowest version of every package that setup.py allows, for pip to install.

python tools/lowest.py > pins.txt
"""

import re
from pathlib import Path

SETUP = Path(__file__).parents[1] / "setup.py"
REQUIREMENT = re.compile(r'"([\w.-]+)(?:\[\w+\])?>=([\d.]+)"')


def main() -> None:
    for name, version in REQUIREMENT.findall(SETUP.read_text(encoding="utf-8")):
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
