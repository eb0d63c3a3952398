"""Several networks stacked by `jax.vmap` in place of one, and training inside a function that JAX traces."""

import jax
import numpy as np
import optax

import lddn_jax as lddn

MANY = r"net is 4 stacked networks, but "
LM, ADAM = lddn.LevenbergMarquardt, lddn.Optax(optax.adam(0.1))


def run(k):
    return k.nets, k.data, k.mse


CALLS = {
    "predicted": (lambda k: lddn.predict(k.nets, k.inputs), rf"{MANY}predict\(net.*jax\.vmap\(lambda net: predict"),
    "simulated": (lambda k: lddn.simulate(k.nets, k.inputs), rf"{MANY}simulate\(net.*jax\.vmap\(lambda net: simul"),
    "stepped": (
        lambda k: lddn.step(k.nets, {"u": k.u[0], "measured_y": k.y[0]}),
        rf"{MANY}step\(net.*jax\.vmap\(lambda net: step",
    ),
    "differentiated": (
        lambda k: lddn.value_and_grad(k.mse, k.nets, k.data),
        rf"{MANY}value_and_grad\(loss.*jax\.vmap\(lambda net: value_and_grad",
    ),
    "with a Jacobian": (lambda k: lddn.jacobian(k.nets, k.data), rf"{MANY}jacobian\(net.*jax\.vmap"),
    "with a chosen Jacobian": (lambda k: lddn.jacobian(k.nets, k.data, "auto"), rf"{MANY}jacobian\(net.*jax\.vmap"),
    "in Gauss-Newton": (lambda k: lddn.gauss_newton(k.nets, k.data, k.mse), rf"{MANY}gauss_newton\(net.*jax\.vmap"),
    "compared by gradient": (
        lambda k: lddn.check_gradients(k.mse, k.nets, k.data),
        rf"{MANY}check_grad.*leaf\[0\], nets\)\.$",
    ),
    "as a function": (lambda k: lddn.differentiable(lddn.BPTT())(k.nets, k.inputs), rf"{MANY}run\(net.*jax\.vmap"),
    "raveled": (lambda k: k.nets.ravel(), rf"{MANY}net\.ravel\(\).*jax\.vmap\(lambda net: net\.ravel\(\)\[0\]\)"),
    "saved": (lambda k: lddn.save(k.folder / "nets.npz", k.nets), rf"{MANY}save\(path, net\).*lddn\.Committee\(nets\)"),
    "saved with scalers": (
        lambda k: lddn.save(k.folder / "nets.npz", jax.tree.map(lambda leaf: np.stack([leaf] * 4), k.scaled)),
        rf"{MANY}save\(path, net\).*lddn\.Committee\(nets\)",
    ),
    "with scalers": (lambda k: lddn.Scaled(k.nets, k.scaled.scalers), rf"{MANY}Scaled\(net.*leaf\[0\], nets\)\.$"),
    "scaled": (lambda k: lddn.Scaled.fit(k.nets, k.data), rf"{MANY}Scaled\.fit\(net.*leaf\[0\], nets\)\.$"),
    "stability": (
        lambda k: lddn.diagnostics.stability(k.nets, k.data.inputs),
        rf"{MANY}stability\(net.*leaf\[0\], nets\)\.$",
    ),
    "ahead": (lambda k: lddn.k_step(k.nets, k.data, 2), rf"{MANY}k_step\(net.*leaf\[0\], nets\)\.$"),
    "at all horizons": (
        lambda k: lddn.horizon_profile(k.nets, k.data, (1, 3)),
        rf"{MANY}horizon_profile\(net.*leaf\[0\], nets\)\.$",
    ),
    "carried over": (lambda k: lddn.carry_over(k.nets, k.topology), rf"{MANY}carry_over.*jax\.vmap"),
    "adapted": (lambda k: lddn.adapt(k.nets, k.data, optax.sgd(0.1)), rf"{MANY}.*leaf\[0\], nets\)\.$"),
    "trained by adam": (
        lambda k: lddn.fit(*run(k), ADAM),
        r"net is 4 stacked networks, and Optax trains one.*restarts=4.*scan over lddn\.value_and_grad",
    ),
    "trained without restarts": (lambda k: lddn.fit(*run(k), LM()), r"LevenbergMarquardt trains one.*restarts=4"),
    "trained with other restarts": (
        lambda k: lddn.fit(*run(k), LM(restarts=3)),
        r"net is 4 stacked networks, and LevenbergMarquardt trains restarts=3.*\(restarts=4\)",
    ),
    "trained on two axes": (
        lambda k: lddn.fit(jax.tree.map(lambda leaf: np.stack([leaf]), k.nets), k.data, k.mse, LM(restarts=4)),
        r"net is 1 x 4 stacked networks.*along one axis.*restarts=4",
    ),
    "trained in jit": (
        lambda k: jax.jit(lambda net: lddn.fit(net, k.data, k.mse, ADAM).net)(k.net),
        r"fit\(net, data, loss, trainer\) was called inside jax\.jit.*jax\.lax\.scan over lddn\.value_and_grad",
    ),
    "trained in vmap": (
        lambda k: jax.vmap(lambda net: lddn.fit(net, k.data, k.mse, ADAM).net)(k.nets),
        r"was called inside jax\.jit, jax\.vmap.*restarts",
    ),
    "trained in grad": (
        lambda k: jax.grad(lambda y: lddn.fit(k.net, lddn.Sequences(k.inputs, y), k.mse, ADAM).history["loss"][0])(k.y),
        r"was called inside jax\.jit, jax\.vmap or jax\.grad",
    ),
    "closed in jit": (
        lambda k: jax.jit(lambda net: lddn.fit_closed_loop(net, k.data, k.lm).opened)(k.net),
        r"fit_closed_loop\(net, data, trainer.*was called inside jax\.jit",
    ),
}


def rows():
    yield from ((f"stacked: {name}", (call, lddn.LDDNError, words)) for name, (call, words) in CALLS.items())


def files(folder):
    """Four networks of the kit's topology, stacked by NumPy, so that nothing is compiled."""
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=3), init="zeros")
    return {"nets": jax.tree.map(lambda leaf: np.stack([leaf] * 4), net)}
