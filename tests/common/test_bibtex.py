"""BibTeX entries: what is read, what is refused, and how they read in words."""

import pytest

from decathlon.common.bibtex import entries

PLAIN = """
@Article{doe2020x,
  Author = {Doe, Jane and {The Team} and M{\\"u}ller, A.},
  title = "On {X} = {Y}, again",
  journal = {J. of
             Things},
  year = 2020,
}
@misc{roe2021,title={Is it?},author={Roe, R.},year={2021},eprint={2101.00001},archivePrefix={arXiv}}
"""


def test_entries_are_read() -> None:
    first, second = entries(PLAIN)
    assert (first.kind, first.key) == ("article", "doe2020x")
    assert first.fields == {
        "author": 'Doe, Jane and {The Team} and M{\\"u}ller, A.',
        "title": "On {X} = {Y}, again",
        "journal": "J. of Things",
        "year": "2020",
    }
    assert first.text.startswith("@Article{doe2020x,")
    assert first.text.endswith("\n}")
    assert second.text == PLAIN.strip().splitlines()[-1]
    assert entries("") == entries("\n") == []


def test_an_entry_is_read_again_from_its_text() -> None:
    for entry in entries(PLAIN):
        assert entries(entry.text) == [entry]


def test_in_words() -> None:
    first, second = entries(PLAIN)
    words = first.in_words()
    assert words.startswith("Jane Doe, The Team and A. M")
    assert words.endswith("On X = Y, again. J. of Things, 2020.")
    assert second.in_words() == "R. Roe. Is it? arXiv 2101.00001, 2021."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Doe 2020", "expected '@type"),
        ("@article{doe}", "expected '@type"),
        ("@article{doe, title = {x}", "a brace is not closed"),
        ("@article{doe, title = {x}}}", "expected '@type"),
        ("@article{doe, title}", "expected 'field"),
        ("@article{doe, title = }", "has no value"),
        ("@article{doe, title = {x} year = 2}", "expected a comma"),
        ("@string{x = {y}}", "expected '@type"),
    ],
)
def test_other_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        entries(text)
