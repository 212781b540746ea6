"""Tables of any width: nothing in them is cut."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from decathlon.common.grid import Column, Grid

NAMES = ("fine-tuning", "fine-tuning [source 3fa4c1, epochs=1]", "模型" * 40, "n" * 200, "🦋 moths")
NUMBERS = [f"{n}.5" for n in range(10, 20)]


def grid() -> Grid:
    numbers = [Column(f"D{n}", right=True, below=True) for n in NUMBERS]
    made = Grid([Column("name"), *numbers, Column("S", right=True), Column("does", wraps=True)])
    for number, name in enumerate(NAMES):
        made.add_row(name, *NUMBERS, f"{number}612.2", "trains all of it", end_section=not number)
    made.caption = "That is all."
    return made


def printed(made: Grid, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(made)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200, 400])
def test_nothing_is_cut_at_any_width(width: int) -> None:
    said = printed(grid(), width)
    assert max(map(cell_len, said.splitlines())) <= width
    assert "…" not in said
    for name in NAMES:
        for character in set(name) - {" "}:
            assert said.count(character) >= sum(n.count(character) for n in NAMES)
    for number in NUMBERS:
        assert said.count(f" {number}") == len(NAMES)
    for number in range(len(NAMES)):
        assert f"{number}612.2" in said
    assert said.split().count("trains") == len(NAMES)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_words_are_broken_only_where_they_are_longer_than_a_name_should_be(width: int) -> None:
    said = printed(grid(), width)
    assert said.count("fine-tuning") == 2
    assert "3fa4c1," in said
    assert "🦋" in said


def test_a_wide_terminal_has_one_line_for_each_row() -> None:
    said = printed(grid(), 400).splitlines()
    assert len(said) == 1 + 1 + len(NAMES) + 1 + 1
    assert grid().fits(400)
    assert not grid().fits(200)


def test_numbers_stand_below_their_headings_where_rows_take_several_lines() -> None:
    lines = printed(grid(), 60).splitlines()
    for first, last in (("10.5", "18.5"), ("19.5", "19.5")):
        heading = next(line for line in lines if f"D{first}" in line)
        value = next(line for line in lines if line.split()[:1] == [first])
        assert heading.index(f"D{last}") + 1 == value.index(last)


def test_a_terminal_without_unicode_gets_a_plain_line() -> None:
    raw = io.BytesIO()
    console = Console(width=40, file=io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    made = Grid([Column("name"), Column("S", right=True)])
    made.add_row("dan", "2852.0")
    console.print(made)
    assert raw.getvalue().decode("ascii").splitlines()[1] == "-" * 12
