"""Functions to minimize, and a loop that does it, which tests of optimizers share."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lddn_jax.optimizers import (
    golden_section_search,
)

EXACT = golden_section_search(tolerance=0.01, max_evaluations=60)


HESSIAN = jnp.array(np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0])
HESSIAN = HESSIAN @ jnp.diag(jnp.logspace(0, 2, 5)) @ HESSIAN.T  # condition 100


def parabola(x):
    return 0.5 * x @ HESSIAN @ x


def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


VALLEY = jnp.array([-1.2, 1.0])


def run(optimizer, loss, params, updates):
    """Losses before each update and after the last, the parameters after the last, and the states after each."""
    optimizer = optax.with_extra_args_support(optimizer)

    def step(carry, _):
        params, state = carry
        value, grad = jax.value_and_grad(loss)(params)
        with jax.numpy_dtype_promotion("standard"):  # optax relies on it
            change, state = optimizer.update(grad, state, params, value=value, grad=grad, value_fn=loss)
        return (optax.apply_updates(params, change), state), (value, state)

    (params, _), (values, states) = jax.lax.scan(step, (params, optimizer.init(params)), None, updates)
    return jnp.append(values, loss(params)), params, states


# Here compiling takes longer than running, so less is spent on it.
QUICKLY = {"xla_backend_optimization_level": 0}
run_compiled = jax.jit(run, static_argnums=(0, 1, 3), compiler_options=QUICKLY)
