"""Would the suite notice? BPTT is broken on purpose, in the ways that people get it wrong, and must be caught.

Each mistake is planted in the real pieces of the package, and the comparison of `test_gradients.py` is run on the
awkward network. That the usual demonstration network misses most of them shows that they are the subtle kind.
"""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from agreement import assert_method_agrees
from networks import BY_NAME, Case

from lddn_jax import transfer
from lddn_jax.delays import extend
from lddn_jax.gradients import bptt, gather


def replace(monkeypatch, module, name, broken):
    """Puts `broken(original, *args, **kwargs)` in the place of a function of a module."""
    original = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args, **kwargs: broken(original, *args, **kwargs))


def delay_off_by_one(monkeypatch):
    """Weight gradients pair n̄(t) with a(t−d−1)."""

    def late(taps, line, delays, steps):
        longer = extend(jnp.zeros_like(line[:1]), line)
        return taps(longer, [d + 1 for d in delays], steps)

    replace(monkeypatch, gather, "taps", late)


def initial_states_ignored(monkeypatch):
    """Weight gradients read zeros before the first step."""

    def from_zero(summed, net, signals, before, n_bar):
        return summed(net, signals, {name: jnp.zeros_like(held) for name, held in before.items()}, n_bar)

    replace(monkeypatch, bptt, "parameter_gradient", from_zero)


def layers_in_the_wrong_order(monkeypatch):
    """Backward, layers are visited in the order of simulation, so n̄(t) of the layers that they feed is still zero."""

    def forwards(prepare, blocks, delays, weights, lanes):
        wrong = [dataclasses.replace(block, layers=block.layers[::-1], instant=()) for block in reversed(blocks)]
        recursion = prepare(wrong, delays, weights, lanes)

        def run(node, *, known, drive, extras, steps, **rest):
            nothing_yet = {name: jnp.zeros((steps, value.shape[1], *lanes)) for name, value in drive.items()}
            a_bar, _ = recursion(node, known=nothing_yet, drive=drive, extras=extras, steps=steps, **rest)
            return a_bar, {name: node(name, value, extras[name]) for name, value in a_bar.items()}

        return run

    replace(monkeypatch, bptt, "prepare", forwards)


def only_the_first_output(monkeypatch):
    """The loss of other outputs is forgotten."""

    def first(pullback, self, cotangents):
        name = min(cotangents)
        return pullback(self, {name: cotangents[name]})

    replace(monkeypatch, bptt._BPTTLinearization, "pullback", first)


def square_weight_not_transposed(monkeypatch):
    """n̄ is sent back through W where Wᵀ would have the same shape."""

    def untransposed(einsum, subscripts, weights):
        return weights if weights.shape[1] == weights.shape[2] else einsum(subscripts, weights)

    replace(monkeypatch, bptt, "einsum", untransposed)


def batch_mean_for_batch_sum(monkeypatch):
    """Gradients are averaged over sequences."""

    def mean(summed, net, signals, before, n_bar):
        sequences = next(iter(n_bar.values())).shape[-1]
        return jax.tree.map(lambda g: g / sequences, summed(net, signals, before, n_bar))

    replace(monkeypatch, bptt, "parameter_gradient", mean)


def only_the_first_tap_sent_back(monkeypatch):
    """A connection sends n̄ back through its shortest delay only."""

    def first(einsum, subscripts, weights):
        return einsum(subscripts, weights).at[1:].set(0)

    replace(monkeypatch, bptt, "einsum", first)


def slope_of_tanh_on_a_logistic_layer(monkeypatch):
    """1 − a² in place of a (1 − a)."""
    wrong = dataclasses.replace(transfer.get("logistic"), slope=transfer.get("tanh").slope)
    replace(monkeypatch, transfer, "get", lambda get, name: wrong if name == "logistic" else get(name))


def output_slope_forgotten(monkeypatch):
    """n̄ = ā at the outputs, as if all were linear."""

    def linear(pullback, self, cotangents):
        outputs = self.net.topology.outputs

        def without(prepare, *given):
            recursion = prepare(*given)

            def run(node, **rest):
                return recursion(lambda name, a, now: a if name in outputs else node(name, a, now), **rest)

            return run

        with monkeypatch.context() as inner:
            replace(inner, bptt, "prepare", without)
            return pullback(self, cotangents)

    replace(monkeypatch, bptt._BPTTLinearization, "pullback", linear)


MISTAKES = (
    delay_off_by_one,
    initial_states_ignored,
    layers_in_the_wrong_order,
    only_the_first_output,
    square_weight_not_transposed,
    batch_mean_for_batch_sum,
    only_the_first_tap_sent_back,
    slope_of_tanh_on_a_logistic_layer,
    output_slope_forgotten,
)

TAME = Case("tame", BY_NAME["narx-closed"].build, batch=(1,), at_rest=True)
BLIND = (
    initial_states_ignored,
    only_the_first_output,
    square_weight_not_transposed,
    batch_mean_for_batch_sum,
    slope_of_tanh_on_a_logistic_layer,
    output_slope_forgotten,
)


def by_name(mistake):
    return mistake.__name__.replace("_", "-")


@pytest.fixture(autouse=True)
def _nothing_compiled_is_kept():
    jax.clear_caches()  # a program compiled before knows nothing of the mistake,
    yield
    jax.clear_caches()  # and one compiled with it must not outlive the test


def test_the_awkward_network_passes_unbroken():
    assert assert_method_agrees(BY_NAME["awkward"], "BPTT") < 1e-13


@pytest.mark.parametrize("mistake", MISTAKES, ids=by_name)
def test_a_mistake_is_noticed(mistake, monkeypatch):
    mistake(monkeypatch)
    with pytest.raises(AssertionError, match=r"^BPTT: (IW|LW|b|state)\[.* differs by"):
        assert_method_agrees(BY_NAME["awkward"], "BPTT")


@pytest.mark.parametrize("mistake", BLIND, ids=by_name)
def test_a_tame_network_is_blind_to_it(mistake, monkeypatch):
    # A closed NARX network, one sequence, zero state: the reason why the zoo is what it is.
    mistake(monkeypatch)
    assert_method_agrees(TAME, "BPTT")
