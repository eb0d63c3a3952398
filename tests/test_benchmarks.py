"""The parts of the benchmarks that are not measurements: comparisons, tables, crossovers, and what is committed."""

import argparse
import dataclasses
import json
import math
import types

import jax.numpy as jnp
import numpy as np
import pytest

import lddn_jax as lddn
from benchmarks import (
    bench_gpu,
    bench_gradients,
    bench_hooks,
    bench_jacobian,
    bench_memory,
    bench_simulate,
    bench_training,
    harness,
    identification,
    peers,
    peers_least_squares,
    peers_lstm,
    records,
    table,
)
from benchmarks.networks import Case, closed_narx, elman, ten_layers

RESULTS = sorted(table.RESULTS.glob("*.json"))


@pytest.mark.deep
@pytest.mark.parametrize("make", [lambda: elman(3, (1, 2)), lambda: closed_narx(3), ten_layers])
def test_the_peers_do_the_same_work(make):
    from benchmarks import peers_numpy

    net, data = Case("", make(), 2, 5).draw(jnp.float64)
    found = {
        "BPTT": peers.hand_written(net, data, lddn.BPTT()),
        "plain scan": peers.plain_scan(net, data),
        "NumPy": peers_numpy.step_loop(net, data),
        "NumPy textbook": peers_numpy.textbook_loop(net, data),
    }
    assert peers.agree(found, 1e-11) <= 1e-11
    forward = {"predict": peers.predict(net, data), "plain scan": peers.plain_scan_forward(net, data)}
    assert peers.agree(forward, 1e-12) <= 1e-12


def test_a_long_short_term_memory_of_a_user_does_the_same_work():
    net, data = Case("", lddn.models.lstm({"u": 1}, {"y": 1}, hidden=3), 2, 5).draw(jnp.float64)
    assert peers_lstm.is_lstm(net.topology)
    found = {"BPTT": peers.hand_written(net, data, lddn.BPTT()), "plain scan": peers_lstm.plain_scan(net, data)}
    assert peers.agree(found, 1e-11) <= 1e-11


@pytest.mark.deep
@pytest.mark.parametrize("make", [lambda: elman(3, (1, 2)), lambda: closed_narx(3), lambda: elman(2, (1,), layers=3)])
def test_the_jacobians_and_their_sums_are_the_same(make):
    net, data = Case("", make(), 1, 7).draw(jnp.float64)
    found = bench_jacobian.jacobians(net, data)
    assert found.keys() >= {"RTRL", "BPTT", "jacrev of a plain scan"}
    peers.agree(found, 1e-11)
    peers.agree(bench_jacobian.sums(net, data), 1e-11)


@pytest.mark.deep
def test_backward_jacobians_are_for_short_records():
    net, data = Case("", elman(2, (1,)), 1, bench_jacobian.SHORT + 1).draw(jnp.float64)
    assert bench_jacobian.jacobians(net, data).keys() == {"RTRL", "Autodiff", "jacfwd of a plain scan"}


def test_many_parameters_on_the_long_record():
    assert lddn.Network(bench_jacobian.LONG, init="zeros").parameter_count == 121


def a_chain():
    return peers_least_squares.record(peers_least_squares.chain([1, 3, 2, 1], (1, 2), (1, 3)), 60)


@pytest.mark.deep
def test_levenberg_marquardt_is_that_of_scipy_at_the_start():
    net, data = a_chain()
    solvers = {
        name: peers_least_squares.CONTENDERS[name](net, data, 4) for name in ("LevenbergMarquardt", "SciPy, RTRL")
    }
    paths = {name: solver.path(solver.run()) for name, solver in solvers.items()}
    peers_least_squares.check(paths)
    assert paths["LevenbergMarquardt"].iterations == 4 <= paths["LevenbergMarquardt"].trials
    assert 1 <= paths["SciPy, RTRL"].iterations <= paths["SciPy, RTRL"].trials + 1


@pytest.mark.deep
def test_levenberg_marquardt_goes_the_way_of_pyrenn():
    pytest.importorskip("pyrenn")
    net, data = a_chain()
    solvers = {name: peers_least_squares.CONTENDERS[name](net, data, 5) for name in ("LevenbergMarquardt", "pyrenn")}
    paths = {name: solver.path(solver.run()) for name, solver in solvers.items()}
    peers_least_squares.check(paths)
    assert paths["pyrenn"].iterations == 6
    assert paths["pyrenn"].trials == paths["LevenbergMarquardt"].trials
    wrong = paths["pyrenn"]._replace(errors=1.001 * paths["pyrenn"].errors)
    with pytest.raises(AssertionError, match="pyrenn"):
        peers_least_squares.check(paths | {"pyrenn": wrong})


@pytest.mark.deep
@pytest.mark.parametrize("name", ["optimistix, QR", "optimistix, Cholesky"])
def test_levenberg_marquardt_and_optimistix_share_a_start(name):
    pytest.importorskip("optimistix")
    net, data = a_chain()
    solvers = {c: peers_least_squares.CONTENDERS[c](net, data, 4) for c in ("LevenbergMarquardt", name)}
    paths = {c: solver.path(solver.run()) for c, solver in solvers.items()}
    peers_least_squares.check(paths)
    assert 1 <= paths[name].iterations <= paths[name].trials + 1


def test_the_moments_at_which_errors_were_reached():
    loss = np.array([[8.0, 9.0], [6.0, 4.0], [np.nan, 1.0]])
    history = lddn.training.history.History({"loss": loss, "seconds": [1.0, 2.0, 3.0]})
    assert bench_training.moments(history, (8.5, 4.0, 1.5, 0.5)) == {
        8.5: {"seconds": 0.0, "updates": 0},
        4.0: {"seconds": 1.0, "updates": 1},
        1.5: {"seconds": 2.0, "updates": 2},
        0.5: {"seconds": 3.0},
    }


@pytest.mark.deep
@pytest.mark.parametrize(("seconds", "goal", "updates"), [(0.0, 0.0, 1), (math.inf, math.inf, 2), (math.inf, 0.0, 4)])
def test_a_watched_trainer_stops_on_time(seconds, goal, updates):
    net, data = Case("", closed_narx(2), 1, 30).draw(jnp.float64)
    watch = bench_training.Watch(goal)
    trainer = bench_training.Watched(lddn.LevenbergMarquardt(restarts=2), watch)
    watch.start(seconds)
    loss = lddn.losses.SumSquaredError()
    fitted = lddn.fit(net, data, loss, trainer, gradient=lddn.RTRL(), epochs=4, progress=False)
    assert 1 <= len(fitted.history["loss"]) <= updates
    plain = lddn.fit(net, data, loss, lddn.LevenbergMarquardt(restarts=2), epochs=1, progress=False)
    np.testing.assert_allclose(fitted.history["loss"][0], plain.history["loss"][0], rtol=1e-12)


@pytest.mark.deep
def test_restarts_in_one_program_are_those_of_a_loop():
    net, data = Case("", closed_narx(2), 1, 30).draw(jnp.float64)
    together, alone = (peer.result() for peer in bench_training.together_and_alone(net, data, 3, 2).values())
    assert together.shape == (2, 3)
    np.testing.assert_allclose(together, alone, rtol=1e-8)  # rounding, after a step


@pytest.mark.deep
def test_the_record_of_the_plant_fills_its_range():
    pytest.importorskip("diffrax")
    topology, data = bench_training.plant(300)
    assert lddn.Network(topology, init="zeros").parameter_count == 61
    assert data.batch == (1,)
    assert data.steps == 298
    assert all(jnp.abs(signal).max() <= 1 for signal in (*data.inputs.values(), data.targets["position"]))


@pytest.mark.deep
def test_a_difference_is_noticed_and_so_is_a_nan():
    net, data = Case("", elman(2, (1,)), 2, 3).draw(jnp.float64)
    found = {"BPTT": peers.hand_written(net, data, lddn.BPTT()), "plain scan": peers.plain_scan(net, data)}
    value, gradient = found["BPTT"].result()
    for broken in (1.001, math.nan):
        wrong = peers.Peer(lambda: None, lambda broken=broken: (value, {k: broken * g for k, g in gradient.items()}))
        with pytest.raises(AssertionError, match="wrong"):
            peers.agree(found | {"wrong": wrong}, 1e-6)


@pytest.mark.deep
def test_many_networks_at_once():
    net, data = Case("", elman(2, (1,)), 2, 3).draw(jnp.float64)
    one = peers.hand_written(net, data, lddn.BPTT())
    value, gradient = one.many(3).result()
    np.testing.assert_allclose(value, np.repeat(one.result()[0], 3), rtol=1e-12)
    assert gradient["LW", ("hidden", "hidden")].shape == (3, 1, 2, 2)


@pytest.mark.parametrize(
    ("cpu", "gpu", "expected"),
    [
        ({1: 1.0, 100: 100.0}, {1: 10.0, 100: 10.0}, 10.0),
        ({1: 1.0, 100: 100.0}, {1: 0.5, 100: 1.0}, 1),
        ({1: 1.0, 100: 1.0}, {1: 2.0, 100: 2.0}, None),
        ({}, {}, None),
    ],
    ids=["between", "always", "never", "nothing measured"],
)
def test_crossover(cpu, gpu, expected):
    assert bench_gpu.crossover(cpu, gpu) == expected


def test_what_a_method_would_store():
    net, data = Case("", elman(10, (1,)), 4, 100).draw(jnp.float32)
    assert bench_gradients.stored(lddn.RTRL(), net, data) == 4 * 4 * 100 * net.parameter_count * 11
    assert bench_gradients.stored(lddn.SensitivityBPTT(), net, data) == 4 * 4 * 100 * 11**2


def test_a_table_of_times_and_one_of_memory():
    seconds = {"median": 0.002, "quartiles": 0.0001, "first": 1.0}
    rows = [{"case": "small", "dtype": "float32", "seconds": {"BPTT": seconds, "other": seconds | {"median": 0.006}}}]
    text = table.times(rows)
    assert "| small | float32 | 2 (0.1) | 6 (0.1) | 3.00 |" in text
    assert "| **geometric mean** |" in text
    rows = [{"case": "small", "dtype": "float32", "bytes": {"BPTT": {"temporaries": 2**20, "run": 2**21}}}]
    assert "| small | float32 | 1 / 2 |" in table.memory(rows)


def test_a_table_for_each_thing_that_was_timed_with_limits_and_trials():
    seconds = {"median": 0.002, "quartiles": 0.0001, "first": 1.0}
    timed = {"dtype": "float64", "seconds": {"ours": seconds}}
    rows = [
        {"case": "a", "each": "one Jacobian"} | timed,
        {"case": "b", "each": "one iteration", "trials": {"ours": 1.5}} | timed,
        {"case": "c", "bytes": {"ours": {"temporaries": 2**20, "run": 2**20, "process": 300 * 2**20}}} | timed,
    ]
    machine = {"date": "", "processor": "", "cores": 1, "device": "", "versions": {}, "command": ""}
    text = table.section("x", {"question": "?", "machine": machine, "rows": rows, "limits": {"ours": 2**30}})
    assert [text.count(f"Milliseconds for {each},") for each in ("one Jacobian", "one iteration", "one run")] == [1] * 3
    assert "ours 300 MiB (required 1024)" in text
    assert "| b | 1.50 |" in text


def test_a_table_of_errors_reached():
    there, missed = {"seconds": 0.5, "updates": 10}, {"seconds": 30.0}
    row = {"case": "slow", "dtype": "float64", "update": [0.001, 0.003], "lowest": [1e-5, 3e-5], "first": [1.0]}
    row["reached"] = {"0.0001": [there, there | {"seconds": 1.5, "updates": 30}], "1e-06": [missed, missed]}
    row["reached"] |= {"1e-05": [there, missed]}
    text = table.reached([row])
    assert "| trainer | dtype | first call | ms an update | error 1e-04 | error 1e-06 | error 1e-05 | lowest |" in text
    assert (
        "| slow | float64 | 1.0 s | 2 | 1 s, 20 updates | not in 30 s | 0.5 s, 10 updates (1 of 2 starts) | 2e-05 |"
        in text
    )


@pytest.mark.deep
def test_comparing_times():
    calls = []
    times = harness.compare({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, least=1e-5)
    assert times.keys() == {"a", "b"}
    assert all(t["median"] > 0 and t["quartiles"] >= 0 for t in times.values())
    assert {"a", "b"} == set(calls)


def test_every_point_of_a_sweep_has_a_name_of_its_own():
    names = [case.name for _, case in bench_simulate.cases()]
    assert len(names) == len(set(names)) > 30


@pytest.mark.deep
def test_memory_is_measured_in_this_process():
    added, process = bench_memory.resident(lambda: np.ones(2**22).sum())  # 32 MiB
    assert 2**24 < added < 2**27
    assert process > added


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_say_where_they_come_from(path):
    content = json.loads(path.read_text())
    assert content["question"]
    assert {"date", "processor", "device", "versions", "command"} <= content["machine"].keys()
    assert content["rows"]


def test_the_tables_are_those_of_the_results(monkeypatch):
    monkeypatch.setattr("sys.argv", ["table", "--check"])
    assert table.main() == 0


@pytest.mark.deep
@pytest.mark.parametrize("name", bench_hooks.TRAINERS)
def test_a_fit_is_its_steps_and_callbacks_are_told_of_them(name, tmp_path):
    net, data = bench_hooks.magnet(60)
    found = bench_hooks.contenders(net, data, bench_hooks.TRAINERS[name], 3, tmp_path)
    assert found["a fit"]().tolist() == found["its steps"]().tolist()
    found["CSVLog"]()
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("rows", "command", "words"),
    [
        ([], None, "no case was measured"),
        ([{"case": "one"}], "python -m benchmarks.bench_simulate", "holds results of benchmarks.bench_simulate"),
    ],
    ids=["nothing measured", "results of another benchmark"],
)
def test_results_are_not_overwritten_by_nothing_or_by_others(rows, command, words, tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(harness, "_module", lambda: "benchmarks.bench_gradients")
    path = tmp_path / "simulate_cpu.json"
    if command is not None:
        path.write_text(json.dumps({"machine": {"command": command}}))
    before = path.read_text() if path.exists() else None
    with pytest.raises(SystemExit, match=words):
        harness.write("simulate_cpu", "How long?", 1, rows)
    assert (path.read_text() if path.exists() else None) == before


@dataclasses.dataclass
class Loaded:
    """An object as other packages load records."""

    u: np.ndarray
    y: np.ndarray
    state_initialization_window_length: int = 4


def a_plant(rows, seed):
    u, y = np.random.default_rng(seed).normal(size=rows), np.zeros(rows)
    for t in range(1, rows):
        y[t] = 0.8 * y[t - 1] + u[t - 1]
    return Loaded(u, y)


def test_objects_of_other_packages_are_records():
    case = records.case_of("plant", (a_plant(60, 0), a_plant(50, 1)), [a_plant(40, 2)], unit="mV", per=1e3)
    assert [len(record) for record in case.train] == [60, 50]
    assert (len(case.test), case.skip) == (40, 4)
    found = types.SimpleNamespace(model=true_model(None), trained=None)
    row = identification.measured(case, (0, 1), lambda case, seed: found)
    assert row["structures"] == [[], []]
    assert row["coverage"] == [None, None]
    assert row["rows"] == [110, 40]
    assert row["error"]["linear"][0] < 1e-6
    y = case.test.targets["y"][:, 0]
    assert row["error"]["persistence"][0] == pytest.approx(1e3 * np.sqrt(np.mean(np.diff(y)[3:] ** 2)))
    assert row["error"]["deviation"][0] == pytest.approx(1e3 * np.std(y[4:]))
    assert max(row["error"]["default"]) < 1e-3
    assert len(row["later_seconds"]) == 1
    assert "plant" in identification.line(row)


def test_ranks_of_out_of_fold_and_test_errors():
    def tried(*pairs):
        return [{"structure": "", "out_of_fold": a, "test": b} for a, b in pairs]

    rows = [
        {"structures": [tried((1, 10), (2, 20), (3, 30)), tried((1, 30), (2, 20), (3, 10))]},
        {"structures": [tried((1, 1), (2, 2)), tried((1, 1), (2, 3), (3, 2), (4, None))]},
    ]
    np.testing.assert_allclose(identification.rank_correlations(rows), [1.0, -1.0, 0.8])


def true_model(_):
    """The plant as a network: an equation of its last output and input."""
    topology = lddn.models.narx({"u": 1}, {"y": 1}, hidden=1, input_delays=(1,), feedback_delays=(1,), linear_path=True)
    weights = {("y", "u"): [[[1.0]]], ("y", "measured_y"): [[[0.8]]]}
    net = lddn.Network(topology, init="zeros").with_weights(IW=weights)
    one = lddn.data.MinMax.fit(np.array([[-1.0], [1.0]]))
    return lddn.Scaled(net, {"u": one, "measured_y": one, "y": one})


def test_a_forecast_from_the_end_of_the_training_record():
    whole = lddn.data.Record({}, {"y": 5 + 0.9 ** np.arange(60.0)[:, None]})
    case = records.Case("decay", [whole.piece(0, 50)], whole.piece(50, 60), continues=True)
    found = identification.yardsticks(case)
    assert found["linear"] < 1e-6
    y = whole.targets["y"][:, 0]
    assert found["persistence"] == pytest.approx(np.sqrt(np.mean((y[50:] - y[49]) ** 2)))


def test_rows_that_are_not_scored():
    case = records.case_of("plant", a_plant(60, 0), a_plant(40, 2))
    y = case.test.targets["y"][:, 0]
    wrong = y.copy()
    wrong[:4] = 1e6
    assert identification.error_of(case, {"y": wrong}) == 0
    assert identification.error_of(case, {"y": wrong[2:]}) == 0  # the first rows filled the delays
    wrong[4] += 6
    assert identification.error_of(case, {"y": wrong}) == pytest.approx(1.0)


def test_records_that_are_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    assert records.cases() == []
    assert records.KNOWN.keys() == records.FILES.keys()


def test_a_table_of_test_errors():
    row = {"case": "tanks", "unit": "cm", "rows": [100, 50], "error": {"default": [1.0, None, 2.0], "linear": [3.0]}}
    row |= {"published": {"GRU": 2.5}, "first_seconds": 9.04, "later_seconds": [1.0, 3.0]}
    tried = [{"structure": str(k), "out_of_fold": k, "test": 2 * k} for k in range(3)]
    row |= {"coverage": [0.93, None, 0.85], "structures": [tried, [], []]}
    text = table.errors([row])
    assert "| tanks (cm) | 100 / 50 | **2** (1 … diverged) | 3 | GRU 2.5 | 89% | 9.0 | 2.0 |" in text
    assert "correlation is 1.00 (median over records and seeds), and positive in 1 of 1 searches" in text


def test_an_unknown_peer_is_rejected():
    assert harness.some_of("torch", "numpy")("numpy,torch") == ["numpy", "torch"]
    with pytest.raises(argparse.ArgumentTypeError, match="'torhc' is not one of torch, numpy"):
        harness.some_of("torch", "numpy")("torhc")
