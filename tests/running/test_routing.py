"""Controls of routing: a trained network evaluated with other decisions than its policy's."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from decathlon_methods.spottune.routed_block import RoutedBlock
from decathlon_methods.spottune.routing import RoutedNetwork
from torch import Tensor
from typer.testing import CliRunner, Result

from decathlon import load_model
from decathlon.cli import app
from decathlon.data.reading.store import open_store
from decathlon.method.base import Method, Policy
from decathlon.method.registry import find
from decathlon.results.controls import CONTROLS, Control, Routing
from decathlon.results.records import RunRecord, read_record
from decathlon.running.config import RunConfig
from decathlon.running.execution import execute
from decathlon.running.resolve import resolve
from decathlon.running.run import Run
from decathlon.running.survey import TrialState, survey
from decathlon.training.decisions import decided, evaluate_control, policy_of
from decathlon.training.device import Compute
from decathlon.training.feed import Feed
from tests.running.test_trained_by import Listener

COMPUTE = Compute("cpu", "32")
SETTINGS = ("epochs=4", "batch_size=16")


def asked(tiny: Path, source: Path, results: Path, method: str = "spottune", **changes: Any) -> Run:
    options: dict[str, Any] = {"sources": (str(source),), "domains": ("dtd",)}
    options |= {"settings": SETTINGS, "compute": COMPUTE, **changes}
    (run,) = resolve(RunConfig((method,), tiny, results, **options))
    return run


def state(*arguments: Any, **changes: Any) -> TrialState:
    (found,) = survey([asked(*arguments, **changes)])
    return found


def finish(*arguments: Any, **changes: Any) -> None:
    assert execute([state(*arguments, **changes)], Listener()) == []


@pytest.fixture(scope="module")
def results(tiny: Path, tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trials of two methods that route, and controls of them."""
    folder = tmp_path_factory.mktemp("controls")
    where = (tiny, tiny_source, folder)
    for method in ("spottune", "spottune-all-tuned", "random-policy"):
        finish(*where, method)
    for control in CONTROLS:
        finish(*where, routing=control)
    finish(*where, routing="sampled", routes=3)
    for control in ("learned", "frozen"):
        finish(*where, "random-policy", routing=control)
    return folder


def folder_of(results: Path, name: str) -> Path:
    return results / name / "dtd" / "test" / "seed0"


def record_of(results: Path, name: str) -> RunRecord:
    return read_record(folder_of(results, name) / "record.json")


def predictions(results: Path, name: str) -> list[int]:
    text = (folder_of(results, name) / "predictions.json").read_text()
    return [entry["category_id"] for entry in json.loads(text)]


def routes(results: Path, name: str) -> np.ndarray:
    images = json.loads((folder_of(results, name) / "routing.json").read_text())["images"]
    return np.array([list(map(int, image)) for image in images])


def feed_of(tiny: Path, method: Method, batch_size: int = 16) -> Feed:
    store = open_store(tiny)
    view = store.suite.domains["dtd"].views.test
    return Feed(store, "dtd", ("test",), view, batch_size, 0, torch.device("cpu"))


def test_learned_decisions_give_what_the_trial_gave(results: Path) -> None:
    for method in ("spottune", "random-policy"):
        own, again = record_of(results, method), record_of(results, f"{method}-learned")
        assert again.correctness == own.correctness
        assert predictions(results, again.name) == predictions(results, method)
        assert (routes(results, again.name) == routes(results, method)).all()
        assert again.routing == Routing(control="learned", weights=method)
        assert (again.recipe, again.parameters) == (own.recipe, own.parameters)
        assert own.routing is None


def test_one_way_for_all_is_the_network_of_these_blocks(results: Path, tiny: Path) -> None:
    assert predictions(results, "spottune-tuned") == predictions(results, "spottune-all-tuned")
    network = load_model(folder_of(results, "spottune") / "weights.safetensors")
    assert isinstance(network, RoutedNetwork)
    for macro in network.macros:
        assert isinstance(macro, torch.nn.Sequential)
        for index, block in enumerate(macro):
            if isinstance(block, RoutedBlock):
                macro[index] = block.plain(tuned=False)
    feed = feed_of(tiny, find("spottune")())
    first = open_store(tiny).domains["dtd"].first_category
    with torch.inference_mode():
        images = torch.cat([batch.images for _, batch in feed.evaluation(16)])
        found = network(images, policy=torch.zeros(len(images), 0)).argmax(1) + first
    assert found.tolist() == predictions(results, "spottune-frozen")
    assert predictions(results, "spottune-frozen") != predictions(results, "spottune-tuned")
    assert (routes(results, "spottune-frozen") == 0).all()


def test_shuffled_decisions_are_those_of_other_images(results: Path) -> None:
    learned, shuffled = (routes(results, f"spottune-{c}") for c in ("learned", "shuffled"))
    assert (learned.sum(0) == shuffled.sum(0)).all()
    assert sorted(learned.tolist()) == sorted(shuffled.tolist())
    assert (learned != shuffled).any()


def test_mean_has_one_route(results: Path) -> None:
    (mean,) = np.unique(routes(results, "spottune-mean"), axis=0)
    assert (mean == (routes(results, "spottune").mean(0) > 0.5)).all()


def test_blocks_that_are_tuned_for_all_stay_so(results: Path) -> None:
    frozen = routes(results, "random-policy-frozen")
    assert (frozen[:, -3:] == 1).all()
    assert (frozen[:, :-3] == 0).all()


def test_a_control_keeps_no_weights_and_averages_have_no_routing(results: Path) -> None:
    record = record_of(results, "spottune-sampled-3")
    assert record.routing == Routing(control="sampled", routes=3, weights="spottune")
    files = {path.name for path in folder_of(results, "spottune-sampled-3").iterdir()}
    assert files - {".claim"} == {"record.json", "predictions.json"}


IDS = torch.arange(4000) * 7
POLICY = Policy(
    (torch.arange(12000).view(4000, 3) % 5 < 2).float(),
    torch.tensor([0.1, 0.5, 0.9]).expand(4000, 3) * torch.linspace(0, 1, 4000)[:, None],
)


def of(control: Control, seed: int = 0, domain: str = "dtd", draw: int = 0) -> Tensor:
    return decided(control, POLICY, IDS, seed, domain, draw)


@pytest.mark.parametrize("control", ["sampled", "random"])
def test_draws_have_the_probabilities_of_the_policy(control: Control) -> None:
    drawn = of(control)
    wanted = POLICY.probabilities.mean(0)
    assert (drawn.mean(0) - wanted).abs().max() < 4 * (0.25 / 4000) ** 0.5
    late = drawn[2000:].mean(0) - drawn[:2000].mean(0)
    assert (late.abs().max() > 0.2) == (control == "sampled")  # only these depend on the image
    for other in (of(control, seed=1), of(control, domain="svhn"), of(control, draw=1)):
        assert (other != drawn).any()
    assert torch.equal(of(control), drawn)


def test_a_draw_is_the_image_s_own_whatever_stands_beside_it() -> None:
    rows = torch.randperm(4000)[:100]
    part = Policy(POLICY.decisions[rows], POLICY.probabilities[rows])
    found = decided("sampled", part, IDS[rows], 0, "dtd")
    assert torch.equal(found, of("sampled")[rows])


def test_no_image_keeps_its_own_decisions() -> None:
    numbered = Policy(IDS[:, None].float(), torch.zeros(4000, 1))
    found = decided("shuffled", numbered, IDS, 0, "dtd")[:, 0]
    assert (found != IDS).all()
    assert torch.equal(found.sort()[0], IDS.float())


def test_routes_average_probabilities_and_batches_change_nothing(results: Path, tiny: Path) -> None:
    method = find("spottune")()
    network = load_model(folder_of(results, "spottune") / "weights.safetensors")
    fabric = COMPUTE.fabric()
    feed, fine = feed_of(tiny, method), feed_of(tiny, method, batch_size=1)
    policy, again = (policy_of(method, network, one, fabric) for one in (feed, fine))
    assert torch.allclose(policy.probabilities, again.probabilities, atol=1e-5)
    shares = []
    with torch.inference_mode():
        (batch,) = [batch for _, batch in feed.evaluation(1000)]
        for draw in range(3):
            drawn = decided("sampled", policy, batch.ids, 0, "dtd", draw)
            logits, _ = method.predict_on(network, batch, drawn)
            shares.append(logits.softmax(1))
    wanted = torch.stack(shares).mean(0).argmax(1).tolist()
    for one in (feed, fine):
        found = evaluate_control(method, network, one, fabric, policy, "sampled", 3)
        assert found.predicted.tolist() == wanted
        assert found.routing is None
    first = open_store(tiny).domains["dtd"].first_category
    assert [first + label for label in wanted] == predictions(results, "spottune-sampled-3")


def test_a_finished_control_is_done_and_another_one_is_reported(
    results: Path, tiny: Path, tiny_source: Path
) -> None:
    where = (tiny, tiny_source, results)
    assert state(*where, routing="shuffled").state == "done"
    assert state(*where).state == "done"
    for change, said in (
        ({"routing": "mean"}, 'control was "shuffled", now "mean"'),
        ({"routing": None}, "with another routing: was"),
        ({"routing": "sampled", "routes": 3}, 'control was "shuffled", now "sampled"'),
    ):
        found = state(*where, name="spottune-shuffled", **change)
        assert found.state == "differs"
        assert found.failure is not None
        assert said in found.failure.reason


def test_without_the_trial_the_command_that_trains_it_is_named(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    found = state(tiny, tiny_source, tmp_path, routing="mean")
    assert (found.state, found.failure and found.failure.code) == ("refused", 3)
    assert found.failure is not None
    assert "spottune/dtd/test/seed0: there is no finished trial" in found.failure.reason
    assert "run 'decathlon run --method spottune' with the same options but" in found.failure.reason


def test_trials_of_another_name_have_controls_too(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    where = (tiny, tiny_source, tmp_path)
    found = state(*where, routing="tuned", of="mine")
    assert found.failure is not None
    assert "mine/dtd/test/seed0: there is no finished trial" in found.failure.reason
    assert "run 'decathlon run --method spottune --name mine' with" in found.failure.reason
    finish(*where, name="mine", settings=("epochs=1", "batch_size=16"))
    finish(*where, routing="tuned", of="mine", settings=("epochs=1", "batch_size=16"))
    record = record_of(tmp_path, "mine-tuned")
    assert record.routing == Routing(control="tuned", weights="mine")


def test_a_request_survives_json(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    run = asked(tiny, tiny_source, tmp_path, routing="random", routes=5)
    again = RunConfig.from_json(json.loads(json.dumps(run.config.as_json())))
    assert (again.routing, again.routes, run.name) == ("random", 5, "spottune-random-5")


def decathlon(*words: object) -> Result:
    return CliRunner().invoke(app, [*map(str, words)])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--method spottune --routing suffled", "did you mean 'shuffled'?"),
        ("--method spottune --routing sampled --routes 0", "--routes 0: average one draw or more"),
        ("--method spottune --routing learned --routes 2", "--routes is of --routing sampled or"),
        ("--method spottune --routes 2", "--routes is of --routing sampled or random"),
        ("--method spottune --of mine", "--of mine is for --routing: add --routing CONTROL"),
        ("--method fine-tuning --routing mean", "method 'fine-tuning': decides no block's path"),
        ("--method spottune-global-k --routing mean", "method 'spottune-global-k': decides no"),
        ("--method spottune --routing mean --name spottune", "--name spottune: is that of"),
    ],
)
def test_what_does_not_fit_is_refused_with_one_message(
    words: str, said: str, tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    options = ("--source", tiny_source, "--data", tiny, "--results", tmp_path, "--domain", "dtd")
    done = decathlon("run", *words.split(), *options, "--device", "cpu")
    assert getattr(done.exception, "exit_code", done.exit_code) == 2
    assert said in str(done.exception)


def report(results: Path, name: str, *words: object) -> Any:
    done = decathlon("report", folder_of(results, name), "--format", "json", *words)
    assert done.exception is None, done.exception
    return json.loads(done.stdout)


def test_a_report_compares_all_controls_as_compare_does(results: Path, tiny: Path) -> None:
    words = ("--data", tiny, "--routing-controls", "--device", "cpu", "--threads", "1")
    found = report(results, "spottune", *words)
    controls = {(one["control"], one["routes"]): one for one in found["controls"]}
    assert list(controls) == [*((name, 1) for name in CONTROLS), ("sampled", 5)]
    for control in CONTROLS:
        one, record = controls[control, 1], record_of(results, f"spottune-{control}")
        assert one["accuracy"] == pytest.approx(record.accuracy)
    pair = ("spottune-shuffled", "spottune-learned")
    done = decathlon("compare", *pair, results, "--baseline", "spottune", "--format", "json")
    compared = json.loads(done.stdout)["accuracy"]["dtd"]
    assert controls["shuffled", 1]["to_learned"] == compared
    assert controls["sampled", 5]["inference"] == 5
    assert any("The learned decisions are " in note for note in found["notes"])


def test_a_report_says_what_was_trained_and_how_it_is_routed(results: Path, tiny: Path) -> None:
    found = report(results, "spottune", "--data", tiny)
    record, taken = record_of(results, "spottune"), routes(results, "spottune")
    assert found["accuracy"] == pytest.approx(record.accuracy)
    assert found["ci"][0] < found["accuracy"] < found["ci"][1]
    assert (found["method"], found["recipe"]["epochs"], found["controls"]) == ("spottune", 4, [])
    assert found["tuned"] == pytest.approx((100 * taken.mean(0)).tolist())
    assert found["mean_tuned"] == pytest.approx(taken.sum(1).mean())
    shares = [one["accuracy"] for one in found["classes"]]
    assert shares == sorted(shares)
    assert {one["name"] for one in found["classes"]} == set(
        open_store(tiny).domains["dtd"].class_names
    )
    text = decathlon("report", folder_of(results, "spottune"), "--data", tiny).stdout
    _, lowest, highest = re.split("^lowest$|^highest$", text.partition("predicted")[0], flags=re.M)
    none_right = re.compile(r" 0 +\d+ +0\.00 ")
    assert len(none_right.findall(lowest)) == min(5, shares.count(0)) > 0
    assert none_right.search(highest) is None


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("spottune-sampled-3", "spottune", "spottune --routing sampled --routes 3"),
        ("spottune-all-tuned", "spottune", "spottune-all-tuned"),
    ],
)
def test_a_report_names_the_commands_that_train_the_network_too(
    name: str, first: str, last: str, results: Path
) -> None:
    before, after = report(results, name)["command"].split(" && ")
    rest = after.removeprefix(f"decathlon run --method {last} ")
    assert before == f"decathlon run --method {first} {rest}"
    assert "--domain dtd --set epochs=4 --set batch_size=16 --precision 32 --threads" in rest


def test_a_report_of_a_record_needs_no_data(
    results: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DECATHLON_DATA", raising=False)
    done = decathlon("report", folder_of(results, "spottune-sampled-3") / "record.json")
    assert done.exception is None
    text = " ".join(done.stdout.split())
    assert "sampled (decisions drawn for each image" in text
    assert "3 routes, networks of spottune" in text
    assert "Without the trial's data" in text


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("spottune-mean", 2, "is a control, and holds no weights; report the folder of spottune"),
        ("spottune-all-tuned", 2, "'spottune-all-tuned' decides no block's path"),
        ("spottune-nothing", 4, "holds no record.json; give the folder of a finished trial"),
    ],
)
def test_a_report_without_controls_says_why(
    name: str, code: int, said: str, results: Path, tiny: Path
) -> None:
    words = ("--routing-controls", "--data", tiny, "--device", "cpu")
    done = decathlon("report", folder_of(results, name), *words)
    assert getattr(done.exception, "exit_code", None) == code
    assert said in str(done.exception)


def test_a_board_says_what_its_controls_are(results: Path, tmp_path: Path) -> None:
    done = decathlon("score", results, "--baseline", "spottune", "--format", "json")
    rows = {row["label"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["spottune-sampled-3"]["routing"]["routes"] == 3
    assert "routing" not in rows["spottune"]
    text = " ".join(decathlon("score", results, "--baseline", "spottune").stdout.split())
    assert "spottune-sampled-3: the networks of spottune, evaluated as a control" in text
    assert "(routes=3: the mean of 3 draws, 3 times the inference)" in text
    out = tmp_path / "controls.svg"
    done = decathlon("plot", "routing", results, "--name", "spottune", "--out", out)
    assert done.exception is None
    drawn = out.read_text()
    assert "spottune-mean" in drawn
    assert "random-policy" not in drawn
    done = decathlon("plot", "policy", results, "--out", out)
    assert "spottune-all-tuned" in str(done.exception)
    assert "spottune-mean" not in str(done.exception)


def test_a_control_of_another_training_is_not_compared(results: Path, tmp_path: Path) -> None:
    copy = tmp_path / "results"
    for name in ("spottune", "spottune-mean"):
        shutil.copytree(results / name, copy / name)
    words = "another way since, so they do not compare"
    assert words not in " ".join(decathlon("score", copy, "--baseline", "spottune").stdout.split())
    path = folder_of(copy, "spottune") / "record.json"
    path.write_text(path.read_text().replace('"epochs": 4', '"epochs": 5'))
    text = " ".join(decathlon("score", copy, "--baseline", "spottune").stdout.split())
    assert words in text
    done = decathlon("plot", "routing", copy, "--out", tmp_path / "controls.svg")
    assert words in str(done.exception)
    assert not (tmp_path / "controls.svg").exists()
