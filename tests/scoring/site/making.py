"""Results and bundles to make sites of, and what a page holds."""

import json
import random
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from decathlon.common.files import sha256, write_json
from decathlon.results.records import trial_folder, write_record
from decathlon.scoring.bundling.writing import Authorship, write_bundle
from decathlon.suites.visual_decathlon import DOMAINS
from tests.scoring.making import bits_with, make_record

HOSTILE = (
    """../<img src=x onerror="document.title='owned'">'"&{{7*7}}<script>owned=1</script>\u202e中"""
)
NETWORK = {"name": "resnet26", "width": 1.0, "adapters": "none", "blocks": [1, 1, 2]}
TRIAL = {"source": "ab" * 32, "network": NETWORK}
SETTINGS = {"epochs": 3, "lr": 0.1, "milestones": [0.6666666666, 0.8333333333], "note": HOSTILE}


def add_row(results: Path, name: str, share: float, domains: Any = ("dtd", "svhn"), **fields: Any):
    """Writes a row with predictions, logs and, if it is called spottune, its routing."""
    for domain in domains:
        size = DOMAINS[domain].sizes[2]
        place = results / trial_folder(name, domain, "test", fields.get("seed", 0))
        said = [{"image_id": 1 + i, "category_id": 1} for i in range(size)]
        write_json(place / "predictions.json", said, indent=None)
        digest = sha256(place / "predictions.json")
        bits = bits_with(round(share * size), size, seed=len(name))
        made = {"recipe": SETTINGS, "predictions": digest, **TRIAL, **fields}
        write_record(results, make_record(name, domain, bits, **made))
        epochs = [json.dumps({"epoch": epoch, "loss": 3 / epoch}) for epoch in (1, 2, 3)]
        (place / "log.jsonl").write_text("\n".join(epochs) + "\n")
        if name == "spottune":
            images = (["0011", "0101", "1111"] * size)[:size]
            write_json(place / "routing.json", {"blocks": 4, "images": images})


def add_bundle(folder: Path, label: str, share: float = 0.5) -> Path:
    """Writes a bundle of a row."""
    results = folder / f"results of {len(list(folder.glob('*')))}"
    add_row(results, "mine", share)
    said = Authorship(label, ("Ada <b>Ünï</b>", "B."), "https://example.org/?a=1&b=2", "@misc{a}")
    path = folder / f"{random.Random(label).randrange(10**6)}.zip"
    write_bundle(results, "mine", path, said)
    return path


class Links(HTMLParser):
    """Everything that a page could fetch, follow or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.followed: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        links = [value or "" for name, value in attrs if name in ("href", "src", "action", "data")]
        kind = self.followed if tag == "a" else self.fetched
        kind += links
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]
