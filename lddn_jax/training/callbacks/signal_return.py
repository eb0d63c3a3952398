"""Lets `fit` return after Ctrl-C or SIGTERM, instead of the signal taking its usual effect."""

import signal

from lddn_jax.training.training_state import TrainingState


class ReturnOnSignal:
    """Lets `fit` return after Ctrl-C or SIGTERM, with the stop reason "interrupted".

    Without it the signal takes its usual effect once the step is completed and all callbacks are finished:
    `KeyboardInterrupt`, or exit code 143. A second signal takes effect at once, with or without it.

    Attributes:
        received: The signal that ended the last training with this object, or None.

    Example:
        >>> import optax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, "linear")],
        ...                          [lddn.Connection("u", to="y")], ["y"])
        >>> net, u = lddn.Network(topology, init="zeros"), jnp.ones((5, 1))
        >>> stop = lddn.callbacks.ReturnOnSignal()
        >>> fitted = lddn.fit(net, lddn.Sequences(u, u), lddn.losses.MeanSquaredError(), lddn.Optax(optax.sgd(0.1)),
        ...                   epochs=5, callbacks=[stop])
        >>> stop.received is None  # otherwise fitted.stop_reason is "interrupted", and fitted.net the best so far
        True
    """

    def __init__(self):
        self.received: signal.Signals | None = None

    def on_start(self, state: TrainingState) -> None:
        """Forgets the signal of an earlier run."""
        self.received = None

    def on_signal(self, received: signal.Signals) -> bool:
        """Notes the signal and lets `fit` return."""
        self.received = received
        return True
