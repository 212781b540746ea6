"""Prints the lowest version of every package that setup.py allows, for pip to install.

python tools/lowest.py > pins.txt                 # without extras
python tools/lowest.py dev,cluster > pins.txt
"""

import ast
import sys
from pathlib import Path

SETUP = Path(__file__).parents[1] / "setup.py"


def requirements() -> dict[str, list[str]]:
    """Returns the requirements in setup.py by extra; those of every installation under ""."""
    tree = ast.parse(SETUP.read_text(encoding="utf-8"))
    stated = {
        node.arg: ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg in ("install_requires", "extras_require")
    }
    return {"": stated["install_requires"], **stated["extras_require"]}


def main() -> None:
    stated = requirements()
    for extra in ("", *filter(None, ",".join(sys.argv[1:]).split(","))):
        for requirement in stated[extra]:
            package, _, version = requirement.partition(">=")
            print(f"{package.partition('[')[0]}=={version}")


if __name__ == "__main__":
    main()
