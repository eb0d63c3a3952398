"""A Hammerstein model: a static nonlinearity of the inputs, followed by linear dynamics.

v(t) = W tanh( Σ IW u(t) + b ) + b'        y(t) = Σ_d LW(d) v(t−d) + Σ_d LW'(d) y(t−d) + b''
"""

import lddn_jax as lddn


def hammerstein(inputs, outputs, *, hidden=10, delays=(1, 2), feedback_delays=(1, 2)):
    """A Hammerstein model of one intermediate signal for each output.

    Args:
        inputs: Sizes of the inputs by name.
        outputs: Sizes of the outputs by name.
        hidden: Neurons of the nonlinearity.
        delays: Delays with which the linear part reads it.
        feedback_delays: Delays of an output's own past; all positive.

    Raises:
        TopologyError: If a feedback delay is 0, or names or sizes are invalid.
    """
    if 0 in feedback_delays:
        raise lddn.TopologyError(
            f"hammerstein: feedback_delays={tuple(feedback_delays)} hold a 0, so y(t) would be computed from itself."
        )
    linear = {name: f"static_{name}" for name in outputs}
    return lddn.Topology(
        [lddn.Input(name, size) for name, size in inputs.items()],
        [
            lddn.Layer("hidden", hidden, "tanh"),
            *(lddn.Layer(linear[name], size, "linear") for name, size in outputs.items()),
            *(lddn.Layer(name, size, "linear") for name, size in outputs.items()),
        ],
        [
            *(lddn.Connection(name, "hidden") for name in inputs),
            *(lddn.Connection("hidden", linear[name]) for name in outputs),
            *(lddn.Connection(linear[name], name, delays) for name in outputs),
            *(lddn.Connection(name, name, feedback_delays) for name in outputs),
        ],
        list(outputs),
    )
