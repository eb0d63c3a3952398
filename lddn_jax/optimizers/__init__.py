"""Gradient transformations that optax does not have, and the counterparts of MATLAB's training functions.

| MATLAB | here |
|---|---|
| trainlm | `lddn.LevenbergMarquardt()` |
| trainbr | `lddn.BayesianRegularization()` |
| trainscg | `lddn.Optax(scaled_conjugate_gradient())` |
| traincgf | `lddn.Optax(conjugate_gradient("fletcher-reeves"))` |
| traincgp | `lddn.Optax(conjugate_gradient("polak-ribiere"))` |
| traincgb | `lddn.Optax(conjugate_gradient("powell-beale"))` |
| trainoss | `lddn.Optax(one_step_secant())` |
| trainbfg | `lddn.Optax(bfgs())` |
| traingdx | `lddn.Optax(variable_learning_rate())` |
| traingda | `lddn.Optax(variable_learning_rate(momentum=0.0))` |
| traingd | `lddn.Optax(optax.sgd(0.01))` |
| traingdm | `lddn.Optax(optax.sgd(0.001, momentum=0.9))`: MATLAB's lr = 0.01 times 1 − mc, mc = 0.9 |
| trainrp | `lddn.Optax(optax.rprop(0.07))` |
| adam | `lddn.Optax(optax.adam(1e-3))` |
| L-BFGS | `lddn.Optax(optax.lbfgs())` |
| srchgol | `golden_section_search()` |
| srchbac | `optax.scale_by_backtracking_linesearch(max_backtracking_steps=20)` |

The transformations work on any pytree of parameters. They evaluate the loss themselves, so `update` takes `value_fn`,
as in `optax.lbfgs`; `lddn.Optax` passes it. They need the full batch in every update, not mini-batches.

Example:
    >>> import jax, jax.numpy as jnp
    >>> def loss(params):
    ...     return params["a"] ** 2 + 10 * (params["b"] - 1) ** 2
    >>> solver, params = conjugate_gradient("polak-ribiere"), {"a": jnp.array(3.0), "b": jnp.array(0.0)}
    >>> state = solver.init(params)
    >>> for _ in range(4):
    ...     value, grad = jax.value_and_grad(loss)(params)
    ...     updates, state = solver.update(grad, state, params, value=value, grad=grad, value_fn=loss)
    ...     params = jax.tree.map(jnp.add, params, updates)
    >>> bool(loss(params) < 1e-8)
    True
"""

from lddn_jax.optimizers.bfgs import bfgs
from lddn_jax.optimizers.golden_section import golden_section_search
from lddn_jax.optimizers.nonlinear_conjugate_gradient import conjugate_gradient
from lddn_jax.optimizers.one_step_secant import one_step_secant
from lddn_jax.optimizers.scaled_conjugate_gradient import scaled_conjugate_gradient
from lddn_jax.optimizers.variable_learning_rate import variable_learning_rate

__all__ = [
    "bfgs",
    "conjugate_gradient",
    "golden_section_search",
    "one_step_secant",
    "scaled_conjugate_gradient",
    "variable_learning_rate",
]
