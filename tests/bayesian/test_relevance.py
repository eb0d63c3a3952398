"""Which delays matter: relevance, pruning, and comparison by evidence."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from bad_input.kit import posterior as untrained_posterior
from bayesian_records import MSE, delays_found, fir, linear_problem, one_step
from networks import declare

import lddn_jax as lddn
from lddn_jax import plots
from lddn_jax.bayesian.comparison import Candidate
from lddn_jax.bayesian.evidence import Strengths
from lddn_jax.bayesian.groups import Groups
from lddn_jax.bayesian.posterior import Posterior
from lddn_jax.training.history import History


def ranked_first(posterior):
    return tuple(sorted([row.delay for row in lddn.relevance(posterior) if row.source == "u"][:2]))


def test_the_true_delays_rank_first():
    true, posterior = delays_found(0)
    assert ranked_first(posterior) == true


@pytest.mark.deep
def test_the_true_delays_rank_first_in_nine_of_ten_records():
    hits = [ranked_first(posterior) == true for true, posterior in map(delays_found, range(10))]
    assert sum(hits) >= 9


def test_pruning_keeps_the_true_delays_and_says_what_it_changes():
    true, found = delays_found(0)
    pruned = lddn.prune(found.net, found, threshold=0.3)
    assert pruned.net.topology.delays["h", "u"] == true
    assert {(to, source) for to, source, _ in pruned.removed} == {("h", "u")}
    data = pruned.data(found.data)
    change = lddn.predict(pruned.net, data.inputs)["y"] - lddn.predict(found.net, found.data.inputs)["y"]
    assert pruned.change["y"] == pytest.approx(float(jnp.sqrt(jnp.mean(change**2))))
    assert pruned.change["y"] < 0.2 * float(found.noise["y"])
    refitted = lddn.fit(pruned.net, data, MSE, lddn.BayesianRegularization(groups="delay"), epochs=20)
    assert float(lddn.posterior(refitted, data).log_evidence) > float(found.log_evidence) - 1


def test_what_is_determined_is_gamma_of_each_tap():
    """1 − 2α (H⁻¹)_ii for the one weight of each delay of a linear layer, with H = 2β XᵀX + 2A."""
    net, data, X, _ = linear_problem(seed=3, steps=20)
    alpha, beta = np.linspace(0.5, 60.0, 6), 0.5
    groups = Groups.of(net.topology, "delay")
    found = lddn.relevance(Posterior.at(net, data, Strengths(jnp.asarray(alpha), jnp.asarray(beta)), groups))
    expected = 1 - 2 * alpha * np.diag(np.linalg.inv(2 * beta * X.T @ X + 2 * np.diag(alpha)))
    assert [row.delay for row in found] == list(range(6))  # the weaker its prior, the more relevant
    np.testing.assert_allclose([row.determined for row in found], expected, rtol=1e-10)
    np.testing.assert_allclose([row.scale for row in found], 1 / np.sqrt(2 * alpha), rtol=1e-12)


def test_pruning_drops_what_reaches_no_output_and_cuts_delay_states():
    topology = declare("u:1 v:1", "g:2:tanh h:2:tanh y:1:linear", "v>g@1 u>h@1,4 g>y@2 h>y y>h@3", "y")
    net, rng = lddn.Network(topology, key=jax.random.key(0)), np.random.default_rng(0)
    inputs = {"u": rng.standard_normal((3, 9, 1)), "v": rng.standard_normal((3, 9, 1))}
    state = {"u": rng.standard_normal((3, 4, 1)), "v": rng.standard_normal((3, 1, 1)), "y": np.ones((3, 3, 1))}
    state |= {"g": np.zeros((3, 2, 2))}
    data = lddn.Sequences(*jax.tree.map(jnp.asarray, (inputs, rng.standard_normal((3, 9, 1)), state)))
    strong = {"y <- g": 1e9, "h <- u 4": 1e9, "rest": 1e-3}

    def name(to, source, delay):
        return {("y", "g", 2): "y <- g", ("h", "u", 4): "h <- u 4"}.get((to, source, delay), "rest")

    groups = Groups.of(topology, name)
    alpha = jnp.array([strong[label] for label in groups.labels])
    found = Posterior.at(net, data, Strengths(alpha, jnp.asarray(10.0)), groups)
    pruned = lddn.prune(net, found, threshold=0.05)
    assert [layer.name for layer in pruned.net.topology.layers] == ["h", "y"]
    assert pruned.net.topology.input_names == {"u"}
    assert pruned.net.topology.delays["h", "u"] == (1,)
    assert set(pruned.removed) == {("y", "g", 2), ("h", "u", 4), ("g", "v", 1)}
    less = pruned.data(data)
    np.testing.assert_array_equal(less.state["u"], data.state["u"][:, -1:])
    np.testing.assert_array_equal(pruned.net.IW["h", "u"], net.IW["h", "u"][:1])
    zeroed = net.with_weights(
        IW={("h", "u"): net.IW["h", "u"].at[1].set(0)}, LW={("y", "g"): jnp.zeros_like(net.LW["y", "g"])}
    )
    expected = lddn.predict(zeroed, data.inputs, data.state)["y"]
    np.testing.assert_allclose(lddn.predict(pruned.net, less.inputs, less.state)["y"], expected, rtol=1e-12)


def test_relevance_as_a_table():
    _, found = delays_found(0)
    table = lddn.relevance(found)
    assert len(table) == 8 + 1 + 2  # delays, the read-out, two biases
    by_group = {}
    for row, group in zip(found.groups.taps, found.groups.of_taps, strict=True):
        by_group[row] = group
    for row in table:
        group = by_group[row.tap]
        assert row.determined == pytest.approx(float(found.gamma[group]) / row.parameters, abs=1e-9)
        assert row.scale == pytest.approx(float(1 / jnp.sqrt(2 * found.strengths.alpha[group])))
    assert "u -> h delay 7" in str(table)
    assert table.to_csv().splitlines()[0] == "to,source,delay,parameters,determined,scale,weight"
    assert json.loads(json.dumps(table.to_dict()))[0]["to"] == table.rows[0].to


def test_pruning_asks_for_what_it_needs():
    _, found, _ = one_step(150, epochs=20)
    with pytest.raises(lddn.LDDNError, match="between 0"):
        lddn.prune(found.net, found, threshold=2.0)
    closed = found.close_loop(output="y", input="measured_y")
    with pytest.raises(lddn.LDDNError, match="data=sequences"):
        lddn.prune(closed.net, closed)
    with pytest.raises(lddn.LDDNError, match=r"prune\(posterior.net"):
        lddn.prune(lddn.Network(fir(), init="zeros"), found)


def test_relevance_as_a_figure():
    chart = plots.relevance(lddn.relevance(delays_found(0)[1]))
    assert len(chart.patches) == 2 * 11
    plt.close("all")


# --- comparison -------------------------------------------------------------------------------------------------------


@pytest.mark.deep
def test_evidence_compares_delays(tmp_path):
    """The truth reads delays 0 and 2; more of them fit better, and are paid for."""
    rng = np.random.default_rng(0)
    u = rng.standard_normal((300, 1))
    y = u - 0.8 * np.concatenate([np.zeros((2, 1)), u[:-2]]) + 0.2 * rng.standard_normal((300, 1))
    topologies = {str(n): fir(delays=tuple(range(n))) for n in (3, 9)}
    trainer = lddn.BayesianRegularization()
    found = lddn.compare(topologies, lddn.Sequences(u, y), trainer=trainer, held_out=lddn.Sequences(u, y))
    assert found.best.name == "3"
    assert found.best.held_out_rmse == pytest.approx(found.best.train_rmse)
    rows = found.to_dict()
    assert [row["parameters"] for row in rows] == [3, 9]
    assert rows[0]["train_rmse"] > rows[1]["train_rmse"]
    assert json.loads(json.dumps(rows)) == rows
    assert found.to_csv(tmp_path / "table.csv") == (tmp_path / "table.csv").read_text()
    line = next(line for line in str(found).splitlines() if line.startswith("3 "))
    assert line.endswith("<- largest evidence")


def compared(*evidences):
    """A comparison of networks that nobody trained, with the given evidences."""
    net = lddn.Network(fir(delays=(0,)), init="zeros")
    fitted = lddn.Fitted(
        net=net, state=None, history=History({"loss": []}), stop_reason=lddn.StopReason.EPOCHS, best_epoch=1
    )
    posterior = untrained_posterior(net, None)
    candidates = [
        Candidate(str(k), fitted, replace(posterior, log_evidence=value), 1.0, None, 1.0)
        for k, value in enumerate(map(jnp.asarray, evidences))
    ]
    return lddn.Comparison(tuple(candidates))


def test_an_evidence_that_is_not_a_number_is_never_the_largest():
    found = compared(np.nan, -3.0, -2.0, np.inf)
    assert found.best.name == "2"
    assert [row["log_evidence"] for row in found.to_dict()] == [None, -3.0, -2.0, None]
    assert str(found).splitlines()[3].endswith("<- largest evidence")
    axes = plots.comparison(found)
    assert len(axes) == 2
    plt.close("all")


def test_a_comparison_without_any_evidence_says_so():
    found = compared(np.nan, np.nan)
    assert "largest" not in str(found)
    with pytest.raises(lddn.NumericalError, match=r"no topology has a finite evidence .*'0': epochs"):
        _ = found.best


def test_a_comparison_needs_the_same_targets():
    u = np.random.default_rng(0).standard_normal((50, 1))
    trainer = lddn.BayesianRegularization()
    with pytest.raises(lddn.DataError, match=r"has 48 residuals and .* 50, but evidence"):
        lddn.compare(
            [fir(1), fir(delays=(2,))],
            lambda topology: lddn.windows(topology, u, u, 50 - max(topology.delays["y", "u"])),
            trainer=trainer,
            epochs=2,
        )
    with pytest.raises(lddn.LDDNError, match="no topology"):
        lddn.compare({}, lddn.Sequences(u, u))
