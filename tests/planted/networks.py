"""Mistakes in first weights, transfer functions and optimizers."""

import dataclasses

import jax.numpy as jnp
from planting import alter, caught_by

from lddn_jax import transfer
from lddn_jax.network.initializers import nguyen_widrow
from lddn_jax.network.network import Network
from lddn_jax.numerics.platform import in_groups
from lddn_jax.optimizers import one_step_secant, scaled_conjugate_gradient, variable_learning_rate
from lddn_jax.optimizers.nonlinear_conjugate_gradient import polak_ribiere
from lddn_jax.topology.plan import Plan

# --- first weights ----------------------------------------------------------------------------------------------------


@caught_by("test_initializers.py::test_nguyen_widrow[logsig]")
def whole_range_for_half(monkeypatch):
    """Weights are mapped onto the active range by its width, where that of [−1, 1] is 2."""
    alter(monkeypatch, nguyen_widrow, "(active[1] - active[0]) / 2", "(active[1] - active[0])")


@caught_by("test_initializers.py::test_layers_that_are_fed_alike_start_apart[glorot]")
def one_key_for_all_layers(monkeypatch):
    """Layers of one size that read the same source start with the same weights, and remain twins."""
    alter(monkeypatch, Network.__init__, "initializers.name_number(layer.name)", "0")


# --- the platform -----------------------------------------------------------------------------------------------------


@caught_by("test_platform.py::test_a_program_for_a_gpu_has_no_barriers_and_no_segments[predict]")
def segments_of_a_cpu_everywhere(monkeypatch):
    """Time is cut for the cache of a CPU in programs for a GPU too."""
    alter(monkeypatch, Plan.segments, "if not platform.cuts_time:", "if False:")


@caught_by("test_platform.py::test_restarts_on_a_gpu_are_all_side_by_side")
def groups_of_a_cpu_everywhere(monkeypatch):
    """Networks are trained in the groups of a CPU on a GPU too."""
    alter(monkeypatch, in_groups, "lambda p: p.group_size", "lambda p: 8")


# --- transfer functions -----------------------------------------------------------------------------------------------


def slope(monkeypatch, name, wrong):
    """Gives a transfer function a wrong slope."""
    monkeypatch.setitem(transfer._FUNCTIONS, name, dataclasses.replace(transfer.get(name), slope=wrong))


@caught_by("test_transfer.py::test_a_replaced_function_is_used_at_once[predict]")
def old_function_in_compiled_programs(monkeypatch):
    """A program that was compiled before a function was replaced keeps the old one."""
    alter(monkeypatch, transfer.register, "replacements.count += 1", "pass")


@caught_by("test_transfer.py::test_slope_is_the_complex_step[elu]")
def slope_of_elu_without_its_one(monkeypatch):
    """a for a + 1, where a = eⁿ − 1."""
    slope(monkeypatch, "elu", lambda n, a: jnp.where(n > 0, 1, a))


@caught_by("test_transfer.py::test_slope_is_the_complex_step[elliotsig]")
def slope_of_elliotsig_without_its_square(monkeypatch):
    """1 / (1 + |n|) for 1 / (1 + |n|)²."""
    slope(monkeypatch, "elliotsig", lambda n, a: 1 / (1 + jnp.abs(n)))


@caught_by("test_transfer.py::test_softmax_slope_is_a_matrix")
def slope_of_softmax_without_its_neighbors(monkeypatch):
    """The diagonal aᵢ (1 − aᵢ) alone, as of a logistic layer."""
    slope(monkeypatch, "softmax", lambda n, a: (a * (1 - a))[..., None] * jnp.eye(3)[None])


# --- optimizers -------------------------------------------------------------------------------------------------------


@caught_by("test_directions.py::test_directions_follow_the_rule[polak-ribiere]")
def fletcher_and_reeves_for_polak_and_ribiere(monkeypatch):
    """g'g in the numerator of β."""
    alter(monkeypatch, polak_ribiere, "dot(g, past.y)", "dot(g, g)")


@caught_by("test_scaled_conjugate_gradient.py::test_scaled_conjugate_gradients_follow_the_paper[rosenbrock]")
def conjugacy_with_a_wrong_sign(monkeypatch):
    """β = (r'r + r'r_{k−1}) / p'r."""
    alter(
        monkeypatch,
        scaled_conjugate_gradient,
        "dot(r, r) - dot(r, state.residual)",
        "dot(r, r) + dot(r, state.residual)",
    )


@caught_by("test_directions.py::test_one_step_secant_is_bfgs_from_the_identity")
def secant_without_its_second_term(monkeypatch):
    """A = −(1 + y'y / s'y) B, without y'g / s'y."""
    alter(monkeypatch, one_step_secant, " + dot(y, g) / sy", "")


@caught_by("test_variable_learning_rate.py::test_a_bad_step_is_undone_and_forgotten")
def momentum_after_a_bad_step(monkeypatch):
    """The step after one that was undone has momentum."""
    alter(
        monkeypatch,
        variable_learning_rate,
        "jnp.where(state.accepted, jnp.asarray(momentum, alpha.dtype), 0)",
        "momentum",
    )
