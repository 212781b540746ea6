"""What a process that torchrun started knows of its place, and when it speaks."""

import sys

import pytest

from decathlon import launch
from decathlon.errors import UsageError
from decathlon.launch import ALONE, Place, here, one_voice
from tests.test_cli import refused


def torchrun(rank: int, size: int, local_size: int) -> dict[str, str]:
    numbers = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": local_size}
    return {"TORCHELASTIC_RUN_ID": "x"} | {name: str(n) for name, n in numbers.items()}


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the second of four, on two machines."""
    for name, value in torchrun(1, 4, 2).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(launch, "GRACE", 0.0)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 5, 7, 100])
def test_parts_are_all_there_is_and_nearly_equal(size: int, count: int) -> None:
    parts = [range(count)[Place(rank, size).part(count)] for rank in range(size)]
    assert [number for part in parts for number in part] == list(range(count))
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert here() == ALONE


@pytest.mark.usefixtures("second")
def test_torchrun_says_the_place() -> None:
    assert here() == Place(1, 4, 2)
    assert here().machines == 2


@pytest.mark.usefixtures("second")
def test_machines_have_equally_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="--nproc-per-node"):
        here()


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize("everyone", [False, True])
def test_the_second_process_is_silent(capsys: pytest.CaptureFixture[str], everyone: bool) -> None:
    def command() -> None:
        with one_voice(everyone):
            print("a result")
            print("an error", file=sys.stderr)
            sys.exit(2)

    with pytest.raises(SystemExit):
        command()
    assert capsys.readouterr() == (("a result\n", "an error\n") if everyone else ("", ""))


@pytest.mark.usefixtures("second")
def test_the_first_process_speaks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    with one_voice():
        print("a result")
    assert capsys.readouterr().out == "a result\n"


def test_most_commands_are_work_for_one_process() -> None:
    assert "without torchrun" in refused(2, "score", "results", **torchrun(0, 2, 2))
