"""A network without inputs, such as a NAR model with its loop closed, works wherever another one does."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax import diagnostics
from lddn_jax.__main__ import main
from lddn_jax.data import FromRecord, Given, Record, Trained, WarmUp, Zeros

Y = np.sin(np.arange(60.0) / 5)[:, None]
RECORDS = [Record({}, {"y": Y}), Record({}, {"y": Y[:40]})]
OPEN = lddn.Network(lddn.models.nar({"y": 1}, hidden=2), key=jax.random.key(0))
NET = lddn.close_loop(OPEN, "y", "measured_y")
MSE = lddn.losses.MeanSquaredError()

DATA = {
    "from the record": lambda: lddn.data.begin(NET.topology, RECORDS),
    "from zeros": lambda: lddn.data.begin(NET.topology, RECORDS, Zeros()),
    "after a warm-up": lambda: lddn.data.begin(NET.topology, RECORDS, WarmUp(5)),
    "from a state": lambda: lddn.data.begin(NET.topology, RECORDS, Given({"y": jnp.ones((2, 1))})),
    "one": lambda: lddn.Sequences({}, Y),
    "several without a state": lambda: lddn.Sequences(None, {"y": np.stack([Y, -Y])}),
    "windows": lambda: lddn.windows(NET.topology, RECORDS, length=10),
}
USES = {
    "value_and_grad": lambda d: lddn.value_and_grad(MSE, NET, d),
    "by BPTT": lambda d: lddn.value_and_grad(MSE, NET, d, lddn.BPTT()),
    "jacobian": lambda d: lddn.jacobian(NET, d)["y"],
    "gauss_newton": lambda d: lddn.gauss_newton(NET, d, MSE).eTe,
    "lm": lambda d: lddn.fit(NET, d, MSE, lddn.LevenbergMarquardt(), epochs=2).net,
    "adam": lambda d: lddn.fit(NET, d, MSE, lddn.Optax(optax.adam(1e-3), 1), epochs=2, key=jax.random.key(0)).net,
    "br": lambda d: lddn.posterior(lddn.fit(NET, d, MSE, lddn.BayesianRegularization(), epochs=2), d).root,
    "restarts": lambda d: (
        lddn.fit(NET, d, MSE, lddn.LevenbergMarquardt(restarts=2), epochs=2, key=jax.random.key(0)).net
    ),
    "report": lambda d: (
        lddn.report(lddn.fit(NET, d, MSE, lddn.Optax(optax.adam(1e-3)), epochs=1), d).sections and jnp.zeros(1)
    ),
    "stability": lambda d: diagnostics.stability(NET, d.inputs, d.state, steps=d.steps).radius,
    "estimate_state": lambda d: lddn.estimate_state(NET, d)["y"],
    "adapt": lambda d: lddn.adapt(NET, d, optax.sgd(1e-3)).net,
    "horizon_profile": lambda d: lddn.horizon_profile(NET, d, (1, 3)).rmse["y"],
    "k_step": lambda d: lddn.k_step(NET, d, 2)["y"],
}
PAIRS = [(use, data) for use in USES for data in DATA]
FAST = [("value_and_grad", "from zeros"), ("jacobian", "several without a state"), ("lm", "from zeros"),
        ("k_step", "from zeros"), ("adapt", "several without a state")]  # fmt: skip


@pytest.mark.parametrize("pair", in_tiers({f"{u}-{d}": (u, d) for u, d in PAIRS}, [f"{u}-{d}" for u, d in FAST]))
def test_it_works_with(pair):
    use, data = pair
    found = USES[use](DATA[data]())
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(found))


def test_sequences_without_a_state_start_from_zeros_each():
    bare = lddn.Sequences(None, {"y": np.stack([Y, -Y])})
    told = lddn.Sequences(None, {"y": np.stack([Y, -Y])}, lddn.zero_state(NET.topology, (2,)))
    for one, other in zip(*(jax.tree.leaves(lddn.value_and_grad(MSE, NET, d)) for d in (bare, told)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert lddn.jacobian(NET, bare)["y"].shape == lddn.jacobian(NET, told)["y"].shape
    assert lddn.data.begin(NET.topology, RECORDS, Zeros()).state["y"].shape == (2, 2, 1)


def test_its_initial_states_can_be_trained():
    for start in (Trained(), Trained(Zeros())):
        fitted = lddn.fit(NET, lddn.data.begin(NET.topology, RECORDS, start), MSE, lddn.LevenbergMarquardt(), epochs=1)
        assert fitted.initial_state["y"].shape == (2, 2, 1)
    assert lddn.data.begin(NET.topology, RECORDS, FromRecord()).state["y"].shape == (2, 2, 1)


def test_sample_by_sample_is_the_free_run():
    state, seen = {"y": jnp.asarray(Y[:2])}, []
    expected = lddn.predict(NET, None, state, steps=4)["y"]
    for _ in range(4):
        outputs, state = lddn.step(NET, None, state)
        seen.append(outputs["y"])
    np.testing.assert_allclose(np.stack(seen), expected, rtol=1e-12)


def test_a_scaled_one_is_simulated_saved_and_loaded(tmp_path):
    model = lddn.Scaled.fit(OPEN, lddn.Sequences({"measured_y": Y}, Y)).close_loop("y", "measured_y")
    expected = model.predict({}, {"y": Y[:2]}, steps=5)["y"]
    lddn.save(tmp_path / "nar.npz", model)
    loaded = lddn.load(tmp_path / "nar.npz")
    np.testing.assert_array_equal(loaded.predict(None, {"y": Y[:2]}, steps=5)["y"], expected)
    np.testing.assert_array_equal(loaded.simulate({}, {"y": Y[:2]}, steps=5).outputs["y"], expected)
    np.testing.assert_allclose(loaded.step({}, {"y": Y[:2]})[0]["y"], expected[0], rtol=1e-12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the command line writes for a series."""
    folder = tmp_path_factory.mktemp("series")
    lddn.data.Table({"y": Y[:, 0]}).to_csv(folder / "series.csv")
    line = ["fit", str(folder / "series.csv"), "--targets", "y", "--hidden", "1", "--restarts", "1"]
    assert main([*line, "--epochs", "3", "--horizons", "1", "--no-report", "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["predict"], "y, free run"),
        (["predict", "--steps", "3", "--ahead", "1,5"], "forecast of 3 steps after the last measured outputs, from 60"),
        (["report"], "wrote"),
    ],
    ids=["predict", "predict beyond the end", "report"],
)
def test_the_command_line_knows_the_number_of_steps(folder, command, words, tmp_path, capsys):
    out = tmp_path / ("report.html" if command[0] == "report" else "")
    file, model = str(folder / "series.csv"), str(folder / "network.npz")
    assert main([command[0], file, "--model", model, "--out", str(out), *command[1:]]) == 0
    text = capsys.readouterr().out
    assert words in text
    assert "pass steps" not in text


def test_sizes_and_delays_of_a_series_are_compared():
    found = lddn.compare_narx({"y": Y[:, 0]}, [], ["y"], hidden=[1], settings=lddn.Settings(epochs=2, restarts=1))
    assert found.comparison.best.name == "1 hidden, feedback delays 1,2"
