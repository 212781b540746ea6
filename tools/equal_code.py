"""Enters the present code of the built-in methods in decathlon/method/equal_code.json.

    python tools/equal_code.py

For a change after which every listed method computes the same weights, bit for bit, as before.
Digests of earlier code stay: results that it made keep counting.
Remove the entry of a method whose numbers a change alters; results of its older code then count as
those of other code.
"""

import json

from decathlon.method.code import EQUAL, code_of


def main() -> None:
    table = json.loads(EQUAL.read_text(encoding="utf-8"))
    for method, digests in table.items():
        if (present := code_of(method).sha256) not in digests:
            digests.append(present)
    EQUAL.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
