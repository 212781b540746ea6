"""The demo goes the whole way; here at a reduced size."""

import json
import subprocess
import sys
from pathlib import Path

from decathlon.suites.visual_decathlon import DOMAINS


def decathlon(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "decathlon", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_demo_ends_with_a_table_of_all_domains(tmp_path: Path) -> None:
    done = decathlon("demo", "--out", str(tmp_path), "--scale", "0.05")
    assert done.returncode == 0, done.stderr
    assert "generated images" in done.stdout
    scored = decathlon(
        "score", str(tmp_path / "results"), "--baseline", "fine-tuning", "--format", "json"
    )
    rows = {row["method"]: row for row in json.loads(scored.stdout)["rows"]}
    assert set(rows) == {"feature-extractor", "fine-tuning", "spottune"}
    for row in rows.values():
        assert row["missing"] == []
        assert set(row["accuracy"]) == set(DOMAINS)
        assert all(value is not None for value in row["accuracy"].values())
    again = decathlon("demo", "--out", str(tmp_path), "--scale", "0.05")
    assert again.returncode == 0, again.stderr
    assert "0 trials to run" in again.stderr
