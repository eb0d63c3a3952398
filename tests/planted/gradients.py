"""Mistakes in gradients: the nine classic ones in BPTT, those of other methods, and those in what is built on them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from planting import alter, caught_by, replace

from lddn_jax import transfer
from lddn_jax.gradients import (
    api,
    bptt,
    columns,
    finite_difference,
    gather,
    jacobian_window,
    method,
    reduced,
    rtrl,
    sensitivity,
    slopes,
)
from lddn_jax.gradients import gradient_report as check
from lddn_jax.numerics import connection_product
from lddn_jax.simulation.delays import extend
from lddn_jax.simulation.simulate import run_in_segments
from lddn_jax.trainers import first_order
from lddn_jax.training import compiled, trainer

# --- BPTT, on the awkward network -------------------------------------------------------------------------------------


@caught_by("test_gradients.py::test_gradient[awkward-BPTT]")
def delay_off_by_one(monkeypatch):
    """Weight gradients pair n̄(t) with a(t−d−1)."""

    def late(taps, line, delays, steps):
        longer = extend(jnp.zeros_like(line[:1]), line)
        return taps(longer, [d + 1 for d in delays], steps)

    replace(monkeypatch, gather, "taps", late)


@caught_by("test_gradients.py::test_gradient[awkward-BPTT]")
def initial_states_ignored(monkeypatch):
    """Weight gradients read zeros before the first step."""

    def from_zero(summed, net, signals, before, n_bar):
        return summed(net, signals, {name: jnp.zeros_like(held) for name, held in before.items()}, n_bar)

    replace(monkeypatch, bptt, "parameter_gradient", from_zero)


@caught_by("test_gradients.py::test_gradient[awkward-BPTT]")
def layers_in_the_wrong_order(monkeypatch):
    """Backward, layers are visited in the order of simulation, so n̄(t) of the layers that they feed is still zero."""

    def forwards(prepare, blocks, delays, weights, lanes, dtype):
        wrong = [dataclasses.replace(block, layers=block.layers[::-1], instant=()) for block in reversed(blocks)]
        recursion = prepare(wrong, delays, weights, lanes, dtype)

        def run(node, *, known, drive, extras, steps, **rest):
            nothing_yet = {name: jnp.zeros((steps, value.shape[1], *lanes)) for name, value in drive.items()}
            a_bar, _ = recursion(node, known=nothing_yet, drive=drive, extras=extras, steps=steps, **rest)
            return a_bar, {name: node(name, value, extras[name]) for name, value in a_bar.items()}

        return run

    replace(monkeypatch, bptt, "prepare", forwards)


@caught_by("test_gradients.py::test_gradient[awkward-BPTT]")
def only_the_first_output(monkeypatch):
    """The loss of other outputs is forgotten."""

    def first(pullback, self, cotangents):
        name = min(cotangents)
        return pullback(self, {name: cotangents[name]})

    replace(monkeypatch, bptt._BPTTLinearization, "pullback", first)


@caught_by("test_gradients.py::test_gradient[awkward-BPTT]")
def square_weight_not_transposed(monkeypatch):
    """n̄ is sent back through W where Wᵀ would have the same shape."""

    def untransposed(transposed, weights):
        return weights if weights.shape[1] == weights.shape[2] else transposed(weights)

    replace(monkeypatch, bptt, "transposed", untransposed)


@caught_by("test_gradients.py::test_gradient[awkward-BPTT]")
def batch_mean_for_batch_sum(monkeypatch):
    """Gradients are averaged over sequences."""

    def mean(summed, net, signals, before, n_bar):
        sequences = next(iter(n_bar.values())).shape[-1]
        return jax.tree.map(lambda g: g / sequences, summed(net, signals, before, n_bar))

    replace(monkeypatch, bptt, "parameter_gradient", mean)


@caught_by("test_gradients.py::test_gradient[awkward-BPTT]")
def only_the_first_tap_sent_back(monkeypatch):
    """A connection sends n̄ back through its shortest delay only."""

    def first(transposed, weights):
        return transposed(weights).at[1:].set(0)

    replace(monkeypatch, bptt, "transposed", first)


@caught_by("test_gradients.py::test_gradient[awkward-BPTT]")
def slope_of_tanh_on_a_logistic_layer(monkeypatch):
    """1 − a² in place of a (1 − a)."""
    wrong = dataclasses.replace(transfer.get("logistic"), slope=transfer.get("tanh").slope)
    replace(monkeypatch, transfer, "get", lambda get, name: wrong if name == "logistic" else get(name))


@caught_by("test_gradients.py::test_gradient[awkward-BPTT]")
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


# --- kinds of weights -------------------------------------------------------------------------------------------------


@caught_by("test_gradients.py::test_gradient[diagonal-self-loop-BPTT]")
def diagonal_gradient_of_one_sequence(monkeypatch):
    """The gradient of diagonal weights has the first sequence in it only."""
    alter(
        monkeypatch,
        connection_product.weight_gradient,
        '"tib,tib->i", n_bar, tap',
        '"ti,ti->i", n_bar[..., 0], tap[..., 0]',
    )


@caught_by("test_gradients.py::test_gradient[identity-through-delays-BPTT]")
def first_tap_of_an_identity(monkeypatch):
    """An identity with several delays adds the shortest one only."""
    alter(monkeypatch, connection_product.tapped_product, "for k in range(count)]", "for k in range(1)]")


@caught_by("test_gradients.py::test_gradient[identity-through-delays-RTRL]")
def diagonal_columns_of_other_neurons(monkeypatch):
    """Diagonal weights are said to act on the neurons in the opposite order."""
    alter(monkeypatch, columns.Columns.own, "np.repeat(np.eye(size),", "np.repeat(np.eye(size)[:: 1 if from_ else -1],")


@caught_by("test_gradients.py::test_gradient[lstm-BPTT]")
def gradients_of_one_gate_for_all(monkeypatch):
    """Layers that read the same sources get the gradient of the first of them."""
    alter(monkeypatch, gather.parameter_gradient, "else slice(start, end)", "else slice(0, topology.sizes[name])")


# --- products ---------------------------------------------------------------------------------------------------------


@caught_by("test_gradients.py::test_gradient[factors-of-zero-BPTT]")
def factor_among_the_others(monkeypatch):
    """∂n/∂z of a factor between two others has one of these twice and the other not at all."""
    alter(monkeypatch, slopes._products_of_others, "after[-2::-1]", "after[-1:0:-1]")


@caught_by("test_gradients.py::test_gradient[factors-of-zero-BPTT]")
def product_of_others_by_a_division(monkeypatch):
    """∂n/∂z is n / z, which is NaN where a factor is zero."""

    def divided(products_of_others, z):
        whole = functools.reduce(jnp.multiply, z)
        return [whole / each for each in z]

    replace(monkeypatch, slopes, "_products_of_others", divided)


@caught_by("test_gradients.py::test_gradient[product-in-a-loop-BPTT]")
def slope_of_a_product_forgotten(monkeypatch):
    """The transfer function of a layer that multiplies is taken for linear."""

    def linear(get, name):
        return get("linear") if name == "logistic" else get(name)

    def without(n_bar, *given):
        with monkeypatch.context() as inner:
            replace(inner, bptt.transfer, "get", linear)
            return n_bar(*given)

    replace(monkeypatch, bptt, "_recursion", without)


@caught_by("test_gradients.py::test_gradient[product-in-a-loop-SensitivityBPTT]")
def factors_without_their_slope(monkeypatch):
    """The sensitivities of a product are those of a sum."""
    alter(monkeypatch, sensitivity.static_sensitivities, " if name not in of_factors} | of_factors", "}")


@caught_by("test_jacobian.py::test_elimination_on_static_paths_of_every_kind[gates]")
def eliminated_factors_without_their_slope(monkeypatch):
    """Factors that are eliminated pass on derivatives as linear layers do."""
    alter(monkeypatch, reduced.Reduced.__call__, "if name in of_factors", "if False")


# --- weights that are no parameters -----------------------------------------------------------------------------------


@caught_by("test_gradients.py::test_gradient[masks-BPTT]")
def masked_weights_in_the_gradient(monkeypatch):
    """Weights that a mask sets to zero have a gradient."""
    replace(monkeypatch, gather, "gradient_of_parameters", lambda _, gradient: gradient)
    replace(monkeypatch, method, "gradient_of_parameters", lambda _, gradient: gradient)


@caught_by("test_trained_elements.py::test_no_optimizer_moves_them[weight decay]")
def fixed_weights_decay(monkeypatch):
    """The decay of an optimizer moves what is not trained."""
    for module in (first_order, compiled):
        replace(monkeypatch, module, "only_parameters_moved", lambda _, new, old: new)


@caught_by("test_trained_elements.py::test_no_trainer_moves_them[restarts]")
def fixed_weights_drawn_again(monkeypatch):
    """Restarts draw the weights that are not trained, too."""
    replace(monkeypatch, trainer, "only_parameters_moved", lambda _, new, old: new)


@caught_by("test_gradients.py::test_gradient[masks-RTRL]")
def first_columns_for_those_of_a_mask(monkeypatch):
    """A mask leaves the first parameters of a connection, as many as it has ones."""
    alter(monkeypatch, columns.parameters_of, "+ (places,)", "+ (slice(len(places)),)")


# --- the other methods ------------------------------------------------------------------------------------------------


@caught_by("test_jacobian.py::test_jacobian[autonomous-RTRL-parameters-and-state]")
def own_delay_state_forgotten(monkeypatch):
    """∂a(τ)/∂a(τ) is zero before the first step, where it is one."""
    alter(monkeypatch, rtrl.AllLayers.start, 'key == ("state", name)', 'key == ("state", None)')


@caught_by("test_gradients.py::test_gradient[awkward-RTRL]")
def delays_0_and_2_take_no_delay_state(monkeypatch):
    """A connection whose smallest delay is zero is said to read no delay state."""
    alter(monkeypatch, columns.Columns.reaching, "delays[-1] > 0", "delays[0] > 0")


@caught_by("test_jacobian.py::test_elimination_on_static_paths_of_every_kind[no loop]")
def one_static_path_of_several(monkeypatch):
    """Where two static paths meet in an eliminated layer, the first one is followed."""
    alter(monkeypatch, reduced.Reduced._sensitivities, "sum(back[1:], start=back[0])", "back[0]")


@caught_by("test_jacobian.py::test_eliminated_layers_leave_the_jacobian_as_it_is[jordan]")
def one_reader_of_a_delayed_value(monkeypatch):
    """Where an eliminated layer and a carried one read the same delayed value, the last one counts."""
    right = "found[source, d] + W if (source, d) in found else W"
    alter(monkeypatch, reduced.Reduced._weights, right, "W")


@caught_by("test_gradients.py::test_gradient[awkward-SensitivityBPTT]")
def explicit_derivative_for_phi(monkeypatch):
    """∂ᵉF/∂a is sent back in the place of φ, so nothing passes two positive delays."""
    alter(monkeypatch, sensitivity._Sensitivities._phi, "U, x, phi, future", "U, x, explicit_now, future")


@caught_by("test_gradients.py::test_finite_differences_of_either_order[4-0.001]")
def two_points_for_five(monkeypatch):
    """Order 4 has the error of order 2."""
    monkeypatch.setitem(finite_difference._STENCILS, 4, finite_difference._STENCILS[2])


# --- what is built on the methods -------------------------------------------------------------------------------------


@caught_by("test_differentiable.py::test_differentiable_in_network_inputs_and_state[autonomous-BPTT]")
def cotangent_of_the_state_dropped(monkeypatch):
    """Who differentiates a network within another computation gets no derivative of its delay state."""
    alter(
        monkeypatch,
        api._differentiable,
        "gradient, None, state",
        "gradient, None, jax.tree.map(lambda s: 0 * s, state)",
    )


@caught_by(
    "test_gradients.py::test_value_and_grad_is_the_gradient_of_the_loss_after_the_plain_scan[mean-squared-masked]"
)
def weight_decay_without_its_gradient(monkeypatch):
    """The loss has the decay in it, the gradient has not."""
    alter(monkeypatch, api._value_and_grad, "g + w", "g")


@caught_by("test_segments.py::test_any_checkpoint[5-autonomous]")
def segments_from_the_next_checkpoint(monkeypatch):
    """A segment is simulated again from the delay state at its end."""
    alter(monkeypatch, run_in_segments, "state), (a, state)", "state), (a, final_state(here | a, state))")


@caught_by("test_segments.py::test_truncation_is_a_sum_over_segments_that_start_from_given_states[multi-rate-3-False]")
def truncation_longer_by_one(monkeypatch):
    """Segments have a step more than was asked for."""
    alter(monkeypatch, bptt.BPTT.linearize, "cut(steps, self.truncation,", "cut(steps, self.truncation + 1,")


@caught_by("test_jacobian.py::test_the_bound_adds_up_what_a_slow_loop_remembers")
def bound_of_one_block_alone(monkeypatch):
    """What a window neglects is bounded by the block before it, and not by all blocks before it."""
    alter(monkeypatch, jacobian_window.windowed, "return own + factor * size, size", "return own, size")


@caught_by("test_check_gradients.py::test_a_method_that_gives_nan_disagrees")
def method_compared_with_itself(monkeypatch):
    """`check_gradients` finds nothing but agreement."""
    alter(monkeypatch, check._compare, "blocks[second][field, key]", "blocks[first][field, key]")


@caught_by("test_check_gradients.py::test_a_method_that_gives_nan_disagrees")
def nan_within_tolerance(monkeypatch):
    """What is not above the tolerance passes, NaN too."""
    alter(
        monkeypatch,
        check.Difference.passed.fget,
        "self.relative <= self.tolerance",
        "not self.relative > self.tolerance",
    )


@caught_by("test_extensions.py::test_a_random_method_gets_another_key_at_every_step")
def same_key_at_every_step(monkeypatch):
    """A random method draws the same numbers at every step."""
    alter(monkeypatch, method.AbstractGradient.drawn, "number)", "0)")


@caught_by("test_extensions.py::test_a_biased_random_method_does_not_pass")
def standard_error_of_one_draw(monkeypatch):
    """The mean of many draws may be off by what a single one may."""
    alter(monkeypatch, check._deviation, "(count * (count - 1))", "(count - 1)")
