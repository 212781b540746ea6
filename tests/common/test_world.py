"""What a process that torchrun started knows of its place, and when it speaks."""

import sys

import pytest

from decathlon.common import world as launch
from decathlon.common.errors import UsageError
from decathlon.common.world import ALONE, World, one_voice, world
from tests.commands.test_cli import refused


def torchrun(rank: int, size: int, local_size: int) -> dict[str, str]:
    numbers = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": local_size}
    return {"TORCHELASTIC_RUN_ID": "x"} | {name: str(n) for name, n in numbers.items()}


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the second of four, on two machines."""
    for name, value in torchrun(1, 4, 2).items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 5, 7, 100])
def test_parts_are_all_there_is_and_nearly_equal(size: int, count: int) -> None:
    parts = [range(count)[World(rank, size).part(count)] for rank in range(size)]
    assert [number for part in parts for number in part] == list(range(count))
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert world() == ALONE


@pytest.mark.usefixtures("second")
def test_torchrun_says_the_place() -> None:
    assert world() == World(1, 4, 2)
    assert world().machines == 2


@pytest.mark.usefixtures("second")
def test_machines_have_equally_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="--nproc-per-node"):
        world()


def command(everyone: bool = False) -> None:
    with one_voice(everyone):
        print("a result")
        print("an error", file=sys.stderr)
        sys.exit(2)


@pytest.mark.usefixtures("second")
def test_the_second_process_waits_for_the_first_to_speak(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = []

    def sleep(seconds: float) -> None:
        slept.append((seconds, *capfd.readouterr()))

    monkeypatch.setattr(launch.time, "sleep", sleep)
    with pytest.raises(SystemExit):
        command()
    assert slept == [(launch.GRACE, "", "")]
    assert capfd.readouterr().err == "a result\nan error\n"


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize(("rank", "everyone"), [("0", False), ("1", True)])
def test_the_first_process_speaks_or_all_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, rank: str, everyone: bool
) -> None:
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(SystemExit):
        command(everyone)
    assert capsys.readouterr() == ("a result\n", "an error\n")


def test_most_commands_are_work_for_one_process() -> None:
    assert "without torchrun" in refused(2, "score", "results", **torchrun(0, 2, 2))
