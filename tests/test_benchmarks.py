"""The parts of the benchmarks that are not measurements: comparisons, tables, crossovers, and what is committed."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

import lddn_jax as lddn
from benchmarks import bench_gpu, bench_gradients, bench_memory, bench_simulate, harness, peers, table
from benchmarks.networks import Case, closed_narx, elman, ten_layers

RESULTS = sorted(table.RESULTS.glob("*.json"))


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
    peers.agree(found, 1e-11)
    peers.agree({"predict": peers.predict(net, data), "plain scan": peers.plain_scan_forward(net, data)}, 1e-12)


def test_a_difference_is_noticed_and_so_is_a_nan():
    net, data = Case("", elman(2, (1,)), 2, 3).draw(jnp.float64)
    found = {"BPTT": peers.hand_written(net, data, lddn.BPTT()), "plain scan": peers.plain_scan(net, data)}
    value, gradient = found["BPTT"].result()
    for broken in (1.001, math.nan):
        wrong = peers.Peer(lambda: None, lambda broken=broken: (value, {k: broken * g for k, g in gradient.items()}))
        with pytest.raises(AssertionError, match="wrong"):
            peers.agree(found | {"wrong": wrong}, 1e-6)


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


def test_comparing_times():
    calls = []
    times = harness.compare({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, least=1e-5)
    assert times.keys() == {"a", "b"}
    assert all(t["median"] > 0 and t["quartiles"] >= 0 for t in times.values())
    assert {"a", "b"} == set(calls)


def test_every_point_of_a_sweep_has_a_name_of_its_own():
    names = [case.name for _, case in bench_simulate.cases()]
    assert len(names) == len(set(names)) > 30


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
