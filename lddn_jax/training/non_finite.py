"""Locates the first layer and time step at which a network becomes NaN or infinite, by one forward pass."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from lddn_jax.simulation.simulate import simulate
from lddn_jax.topology.plan import plan
from lddn_jax.training.state_parameters import Trained
from lddn_jax.training.trainer import Problem


@dataclass(frozen=True, kw_only=True)
class NonFinite:
    """The first NaN or infinity in a forward pass.

    Attributes:
        epoch: Number of steps after which the network was reached.
        restart: Index of the network among the restarts.
        layer: Name of the layer.
        time: Index of the time step.
        sequence: Index of the sequence.
        what: "net input" or "layer output"; or, if all layers are finite, the quantity of the history that is not, such
            as "loss" or "gradient_norm". The place is then that of the largest output.
        value: The value there.
        parameters: Names of weights and biases that contain NaN or infinity.
    """

    epoch: int
    restart: int
    layer: str
    time: int
    sequence: int
    what: str
    value: float
    parameters: tuple[str, ...] = ()

    def __str__(self):
        place = f"layer {self.layer!r} at time step {self.time} of sequence {self.sequence}"
        after = f"after {self.epoch} epochs"
        if self.what not in ("net input", "layer output"):
            what = self.what.replace("_", " ")
            return f"the {what} {after}, though all layers are finite: the largest output is {self.value:.3g}, {place}"
        blocks = f"; parameters already not finite: {', '.join(self.parameters)}" if self.parameters else ""
        return f"the {self.what} of {place} is {self.value} {after}{blocks}"


def locate(trained: Trained, problem: Problem, epoch: int, restart: int = 0, quantity: str = "loss") -> NonFinite:
    """Simulates once and returns the earliest time step that is not finite, with the first such layer in it.

    Args:
        trained: The network.
        problem: The data.
        epoch: Number of steps after which the network was reached.
        restart: Index of the network among the restarts.
        quantity: The quantity that is not finite, reported if all layers are finite.
    """
    net, state = problem.parts(trained)
    found = simulate(net, problem.inputs, state, steps=None if net.topology.inputs else problem.steps)
    kinds = {"net input": found.n, "layer output": found.a}
    known = {what: {name: np.asarray(signal) for name, signal in signals.items()} for what, signals in kinds.items()}
    outputs = known["layer output"]
    weights = {f"IW[{to!r}, {source!r}]": block for (to, source), block in net.IW.items()}
    weights |= {f"LW[{to!r}, {source!r}]": block for (to, source), block in net.LW.items()}
    weights |= {f"b[{layer!r}]": block for layer, block in net.b.items()}
    blocks = tuple(name for name, block in weights.items() if not np.isfinite(np.asarray(block)).all())
    order = plan(net.topology).simulation_order
    places = [
        (*_first(~np.isfinite(signals[layer])), position, what, layer)
        for position, layer in enumerate(order)
        for what, signals in known.items()
        if not np.isfinite(signals[layer]).all()
    ]
    if places:
        # Ties within a time step go to the layer that is simulated first, and to its net input.
        time, sequence, element, _, what, layer = min(places, key=lambda place: (place[0], place[3]))
        value = float(known[what][layer][sequence, time, element])
        return NonFinite(
            epoch=epoch,
            restart=restart,
            layer=layer,
            time=time,
            sequence=sequence,
            what=what,
            value=value,
            parameters=blocks,
        )
    layer = max(net.topology.outputs, key=lambda name: np.abs(outputs[name]).max())
    sequence, time, element = np.unravel_index(np.abs(outputs[layer]).argmax(), outputs[layer].shape)
    value = float(outputs[layer][sequence, time, element])
    return NonFinite(
        epoch=epoch,
        restart=restart,
        layer=layer,
        time=int(time),
        sequence=int(sequence),
        what=quantity,
        value=value,
        parameters=blocks,
    )


def _first(gone: Bool[np.ndarray, "sequences time size"]) -> tuple[int, int, int]:
    """The first time step at which any entry is True, with the sequence and element of that entry."""
    time = int(np.argmax(gone.any(axis=(0, 2))))
    sequence, element = np.argwhere(gone[:, time])[0]
    return time, int(sequence), int(element)
