"""Jacobians by every method: forward, backward in full and by windows, with and without delay states."""

import dataclasses
import functools
import logging

import jax
import numpy as np
import oracle
import pytest
from agreement import METHODS, TOLERANCE
from networks import BY_NAME, Case, declare, is_parameter
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax.gradients.autodiff import plain_scan
from lddn_jax.gradients.reduced import carried
from lddn_jax.topology.product_factors import factored_topology

PART = ["awkward", "autonomous", "softmax-in-a-loop", "long-delays-in-a-ring", "product-in-a-loop"]
WITH_STATE = pytest.mark.parametrize("with_state", [False, True], ids=["parameters", "parameters-and-state"])


@functools.cache
def expected_jacobian(case: Case) -> dict[str, np.ndarray]:
    """By the oracle: (*batch, time, size, x) by output, in the order of the flat vector and then the delay state."""
    found = {}
    for name in case.topology.outputs:
        by_block = oracle.gradient(lambda a, name=name: a[name], *case.arguments)
        signal = (*case.batch, case.steps, case.topology.sizes[name])
        flat = []
        for key in sorted(by_block):  # IW, LW, b, state, each by name
            block = by_block[key]
            if key[0] == "state":  # a sequence depends on its own state alone
                block = block.sum(axis=tuple(range(len(case.batch))))
            else:
                block = block[np.broadcast_to(is_parameter(case.topology, *key), block.shape[: -len(signal)])]
            flat.append(block.reshape(-1, *signal))
        found[name] = np.moveaxis(np.concatenate(flat), 0, -1)
    return found


def assert_close(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for output, jacobian in expected.items():
        assert found[output].shape == jacobian.shape, output
        distance = np.abs(found[output] - jacobian).max(initial=0)
        assert distance <= tolerance * np.abs(jacobian).max(initial=0), output


@WITH_STATE
@pytest.mark.parametrize(
    ("name", "method"),
    # RTRL, the default, on each; every method on one.
    in_tiers(
        [(name, method) for name in PART for method in METHODS],
        fast=[(name, "RTRL") for name in PART] + [("autonomous", method) for method in METHODS],
    ),
)
def test_jacobian(name, method, with_state):
    case = BY_NAME[name]
    found = lddn.jacobian(case.net, case.data, METHODS[method], with_state=with_state)
    expected = expected_jacobian(case)
    if not with_state:
        expected = {output: rows[..., : case.net.parameter_count] for output, rows in expected.items()}
    assert_close(found, expected, TOLERANCE[method])


@pytest.mark.parametrize("name", in_tiers(PART, fast=["awkward"]))
def test_the_jacobian_is_that_of_the_plain_scan(name):
    case = BY_NAME[name]
    inputs, state = case.signals
    flat, unravel = case.net.ravel()
    plain = jax.jit(jax.jacfwd(lambda flat: plain_scan(unravel(flat), inputs, state, case.steps)))(flat)
    found = lddn.jacobian(case.net, case.data)
    assert_close(found, {name: np.asarray(plain[name]) for name in found}, 1e-12)


def test_a_column_of_the_jacobian_has_the_name_of_its_parameter():
    case = BY_NAME["narx-closed"]
    names = case.net.parameter_names()
    column = names.index("LW['h', 'y'] delay 2 [3, 0]")
    moved = case.weights["LW"]["h", "y"].copy()
    moved[1, 3, 0] += 1e-6
    inputs, state = case.signals
    shifted = lddn.predict(case.net.with_weights(LW={("h", "y"): moved}), inputs, state)["y"]
    slope = (shifted - lddn.predict(case.net, inputs, state)["y"]) / 1e-6
    jacobian = lddn.jacobian(case.net, case.data)["y"]
    assert jacobian.shape[-1] == len(names)
    np.testing.assert_allclose(jacobian[..., column], slope, atol=1e-5)  # a one-sided difference


# --- windows ---------------------------------------------------------------------------------------------------------

WINDOWED = ["narx-closed", "elman", "jordan", "softmax-in-a-loop", "long-delays-in-a-ring", "idle-layers"]


@pytest.mark.parametrize("name", in_tiers(WINDOWED, fast=["softmax-in-a-loop"]))
def test_what_a_window_neglects_is_bounded(name):
    longer = dataclasses.replace(BY_NAME[name], steps=24)
    found, neglected = lddn.jacobian(
        longer.net, longer.data, lddn.BPTT(jacobian_window=3), with_state=True, return_neglected=True
    )
    full = lddn.jacobian(longer.net, longer.data, lddn.RTRL(), with_state=True)
    for output, rows in full.items():
        off = np.linalg.norm(found[output] - rows, axis=-1)
        rounding = 1e-12 * np.abs(rows).max()
        assert np.all(off <= neglected[output] * (1 + 1e-9) + rounding), output


def test_the_bound_adds_up_what_a_slow_loop_remembers():
    """A loop of gain 0.98: far more is neglected than one block contributes."""
    net = lddn.Network(declare("u:1", "y:1:linear!", "u>y y>y@1", "y"), init="zeros")
    net = net.with_weights(IW={("y", "u"): [[[1.0]]]}, LW={("y", "y"): [[[0.98]]]})
    data = lddn.Sequences(np.ones((40, 1)), np.zeros((40, 1)))
    found, neglected = lddn.jacobian(net, data, lddn.BPTT(jacobian_window=3), return_neglected=True)
    off = np.linalg.norm(found["y"] - lddn.jacobian(net, data)["y"], axis=-1)
    assert np.all(off <= neglected["y"] * (1 + 1e-9))


@pytest.mark.parametrize("name", in_tiers(["narx-closed", "elman"], fast=["elman"]))
def test_the_bound_is_near_what_is_neglected(name):
    case = dataclasses.replace(BY_NAME[name], steps=30)
    found, neglected = lddn.jacobian(case.net, case.data, lddn.BPTT(jacobian_window=3), return_neglected=True)
    full = lddn.jacobian(case.net, case.data)
    off = np.linalg.norm(found["y"] - full["y"], axis=-1)
    assert off.max() > 1e-4  # there is something to see
    assert neglected["y"].max() < 100 * off.max()


@WITH_STATE
@pytest.mark.parametrize("window", in_tiers([8, 50], fast=[50]))
def test_a_window_as_long_as_the_record_neglects_nothing(window, with_state):
    case = BY_NAME["awkward"]
    found, neglected = lddn.jacobian(
        case.net, case.data, lddn.BPTT(jacobian_window=window), with_state=with_state, return_neglected=True
    )
    assert_close(found, lddn.jacobian(case.net, case.data, lddn.BPTT(), with_state=with_state), 1e-13)
    assert all(not np.any(bound) for bound in neglected.values())


def test_a_window_as_long_as_the_memory_of_a_network_without_loops_neglects_nothing():
    case = dataclasses.replace(BY_NAME["fir-in-series"], steps=40)
    window = sum(delays[-1] for delays in case.topology.delays.values())
    found, neglected = lddn.jacobian(case.net, case.data, lddn.BPTT(jacobian_window=window), return_neglected=True)
    assert_close(found, lddn.jacobian(case.net, case.data), 1e-12)
    assert all(not np.any(bound) for bound in neglected.values())


@pytest.mark.deep
def test_a_longer_window_neglects_less():
    case = dataclasses.replace(BY_NAME["elman"], steps=60)
    bounds = [
        lddn.jacobian(case.net, case.data, lddn.BPTT(jacobian_window=window), return_neglected=True)[1]["y"].max()
        for window in (2, 6, 18)
    ]
    assert bounds[0] > 10 * bounds[1] > 100 * bounds[2] > 0


def test_a_window_leaves_gradients_as_they_are():
    case = BY_NAME["awkward"]
    loss = lddn.losses.SumSquaredError()
    expected = lddn.value_and_grad(loss, case.net, case.data, lddn.BPTT())
    found = lddn.value_and_grad(loss, case.net, case.data, lddn.BPTT(jacobian_window=1))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_other_methods_neglect_nothing(method):
    case = BY_NAME["narx-closed"]
    found, neglected = lddn.jacobian(case.net, case.data, METHODS[method], return_neglected=True)
    assert neglected["y"].shape == found["y"].shape[:-1]
    assert not np.any(neglected["y"])


def test_truncation_has_no_bound():
    case = BY_NAME["narx-closed"]
    with pytest.raises(lddn.LDDNError, match=r"has no bound on what it neglects.*BPTT\(jacobian_window="):
        lddn.jacobian(case.net, case.data, lddn.BPTT(truncation=2), return_neglected=True)


@pytest.mark.parametrize("window", [0, -1, True])
def test_a_window_is_a_number_of_steps(window):
    with pytest.raises(lddn.LDDNError, match=r"BPTT\(jacobian_window=.*positive number of steps"):
        lddn.BPTT(jacobian_window=window)


def test_a_window_and_truncation_contradict_each_other():
    with pytest.raises(lddn.LDDNError, match="Give one of them"):
        lddn.BPTT(jacobian_window=3, truncation=3)


# --- the cheaper way -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("neurons", "steps", "chosen"), [(3, 1000, "RTRL"), (30, 1000, "RTRL"), (30, 20, "BPTT"), (3, 2, "BPTT")]
)
def test_auto_takes_what_costs_less(neurons, steps, chosen):
    topology = declare("u:1", f"h:{neurons}:tanh y:1:linear", "u>h h>h@1 h>y", "y")
    choice = lddn.choose_jacobian(topology, steps)
    count = lddn.Network(topology, init="zeros").parameter_count
    assert choice.costs == {
        "RTRL": 2 * neurons**2 * count * steps,
        "BPTT": 2 * steps**2 * (neurons**2 + count),
    }
    assert choice.method.name == chosen
    assert str(choice).startswith(f"{chosen}: ")


def test_a_network_without_loops_goes_forward():
    assert lddn.choose_jacobian(BY_NAME["fir-in-series"].topology, 5).method == lddn.RTRL()


def test_auto_says_what_it_chose(caplog):
    case = BY_NAME["narx-closed"]
    with caplog.at_level(logging.INFO, logger="lddn_jax"):
        found = lddn.jacobian(case.net, case.data, "auto")
    assert "jacobian by RTRL: " in caplog.text or "jacobian by BPTT: " in caplog.text
    assert_close(found, lddn.jacobian(case.net, case.data), 1e-12)


def test_an_unknown_method_is_named():
    case = BY_NAME["narx-closed"]
    with pytest.raises(lddn.LDDNError, match="method='rtrl' is unknown"):
        lddn.jacobian(case.net, case.data, "rtrl")


# --- few layers carried ----------------------------------------------------------------------------------------------

REDUCED = ["feed-forward", "narx-open", "jordan", "autonomous-constant", "smooth", "matlab-names", "idle-behind-a-loop"]
REDUCED += ["lstm", "product-of-three"]


def test_a_closed_narx_carries_its_output_alone():
    assert carried(BY_NAME["narx-closed"].topology, ("y",)) == ("y",)


def test_an_elman_network_carries_everything():
    assert carried(BY_NAME["elman"].topology, ("y",)) is None


@pytest.mark.parametrize("name", in_tiers(REDUCED, fast=["jordan", "autonomous-constant", "idle-behind-a-loop"]))
def test_eliminated_layers_leave_the_jacobian_as_it_is(name):
    case = BY_NAME[name]
    assert carried(factored_topology(case.topology), case.topology.outputs)
    count = case.net.parameter_count
    whole = lddn.jacobian(case.net, case.data, with_state=True)  # with the state, no layer is eliminated
    assert_close(lddn.jacobian(case.net, case.data), {name: rows[..., :count] for name, rows in whole.items()}, 1e-13)


ELIMINATING = {
    "two outputs, one read back at delay 0": (
        "u:2",
        "a:6:tanh b:6:logistic y:1:linear z:2:tanh!",
        "u>a@0,2 y>a@1,3 z>b@2 a>b b>y b>z y>z",
        "y z",
    ),
    "softmax on the static path": ("u:1", "a:4:softmax b:5:tanh y:1:linear", "u>a y>a@1 a>b b>y y>y@2", "y"),
    "gates": (
        "u:2",
        "a:3:tanh b:3:logistic k:3:linear* m:3:tanh* y:3:linear",
        "u>a u>b@0,1 y>a@1 a>k:identity b>k:diagonal k>m:identity y>m@1,2:identity a>m m>y:diagonal k>y",
        "y",
    ),
    "no loop": ("u:2", "a:7:tanh b:5:tanh y:2:linear", "u>a@0,1 a>b u>b a>y b>y", "y"),
    "a loop after a loop": ("u:1", "a:5:tanh x:1:tanh b:5:tanh y:1:linear", "u>a x>a@1 a>x x>b@0,2 y>b@1,2 b>y", "y"),
}


@pytest.mark.parametrize(
    "name", in_tiers(list(ELIMINATING), fast=["softmax on the static path", "no loop", "gates", "a loop after a loop"])
)
def test_elimination_on_static_paths_of_every_kind(name):
    case = Case(name, functools.partial(declare, *ELIMINATING[name]), batch=(3,), steps=9)
    assert carried(factored_topology(case.topology), case.topology.outputs)
    expected = {output: rows[..., : case.net.parameter_count] for output, rows in expected_jacobian(case).items()}
    assert_close(lddn.jacobian(case.net, case.data), expected, 1e-11)
