"""The whole way as a user goes it: fit on a plant's records, a report, and predictions of a file never seen."""

import json

import jax
import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.__main__ import main

pytestmark = [pytest.mark.deep, pytest.mark.optimized]  # it trains for long

QUICK = ["--hidden", "3", "--restarts", "2", "--horizons", "1,5,20", "--epochs", "15"]
TANKS = ["pump_1", "pump_2"], ["level_1", "level_2"]


def maglev(folder):
    """One clean record, and a new one."""
    lddn.data.maglev(400, jax.random.key(0)).to_csv(folder / "record.csv")
    lddn.data.maglev(150, jax.random.key(1)).to_csv(folder / "new.csv")
    return ["record.csv"], ["current"], ["position"], []


def tanks(folder):
    """Two inputs, two outputs, noise, gaps in the targets; the new record has none."""
    lddn.data.tanks(500, jax.random.key(0), noise=0.05, gaps=0.02).to_csv(folder / "record.csv")
    lddn.data.tanks(200, jax.random.key(1), noise=0.05).to_csv(folder / "new.csv")
    return ["record.csv"], *TANKS, ["--missing", "mask"]


def three_records(folder):
    """Unequal lengths; the shortest one validates."""
    files = []
    for k, steps in enumerate((250, 180, 120)):
        files.append(f"part_{k}.csv")
        lddn.data.tanks(steps, jax.random.key(k), noise=0.05).to_csv(folder / files[-1])
    lddn.data.tanks(150, jax.random.key(9), noise=0.05).to_csv(folder / "new.csv")
    return files[:2], *TANKS, ["--validation", str(folder / files[2]), "--warmup", "5"]


@pytest.fixture(scope="module", params=[maglev, tanks, three_records], ids=lambda plant: plant.__name__)
def journey(request, tmp_path_factory):
    """What `fit`, `predict` and `report` leave behind."""
    folder = tmp_path_factory.mktemp(request.param.__name__)
    files, inputs, targets, options = request.param(folder)
    columns = ["--inputs", ",".join(inputs), "--targets", ",".join(targets)]
    out, new = folder / "out", str(folder / "new.csv")
    assert main(["fit", *(str(folder / file) for file in files), *columns, *options, *QUICK, "--out", str(out)]) == 0
    model = ["--model", str(out / "network.npz")]
    assert main(["predict", new, *model, "--ahead", "1,10", "--out", str(folder / "predicted")]) == 0
    assert main(["report", new, *model, "--out", str(folder / "evaluated" / "report.html")]) == 0
    return folder, inputs, targets


def test_the_model_beats_persistence(journey):
    folder, _, targets = journey
    test = json.loads((folder / "out" / "results.json").read_text())["test"]
    for name in targets:
        assert test["one step ahead"][name]["rmse"] < 0.7 * test["persistence"][name]["rmse"]
        assert test["free run"][name]["r2"] > 0.8


def test_predictions_of_the_new_file_are_good(journey):
    folder, _, targets = journey
    new = lddn.data.read_csv(folder / "new.csv")
    table = lddn.data.read_csv(folder / "predicted" / "predictions.csv")
    scores = json.loads((folder / "predicted" / "scores.json").read_text())
    assert set(scores) == {"free run", "one step ahead", "10 steps ahead"}
    for name in targets:
        np.testing.assert_array_equal(table[name], new[name][-len(table) :])
        error = table[name] - table[f"{name} free run"]
        assert scores["free run"][name]["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
        assert scores["one step ahead"][name]["r2"] > 0.9


@pytest.mark.parametrize("page", ["out/report.html", "evaluated/report.html"])
def test_pages_are_there_and_need_no_network(journey, page):
    folder, inputs, targets = journey
    text = (folder / page).read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "http://" not in text
    assert "https://" not in text
    assert all(name in text for name in (*inputs, *targets))
    assert text.count("<figure") >= 6


def test_the_saved_network_is_the_one_that_was_evaluated(journey):
    folder, inputs, targets = journey
    model, new = lddn.load(folder / "out" / "network.npz"), lddn.data.read_csv(folder / "new.csv")
    signals = {name: new.signal([name]) for name in inputs} | {f"measured_{y}": new.signal([y]) for y in targets}
    outputs = model.predict(signals)
    table = lddn.data.read_csv(folder / "predicted" / "predictions.csv")
    for name in targets:
        ours = np.asarray(outputs[name])[-len(table) :, 0]
        np.testing.assert_allclose(table[f"{name} one step ahead"], ours, rtol=1e-9, atol=1e-12)
