"""Where a network left the finite numbers: one forward pass, and the first layer and time step of it that did."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from lddn_jax.simulation.simulate import simulate
from lddn_jax.topology.plan import plan
from lddn_jax.training.state_parameters import Trained
from lddn_jax.training.trainer import Problem


@dataclass(frozen=True, kw_only=True)
class NonFinite:
    """The first place that is no finite number.

    Attributes:
        epoch: Steps that led to the network.
        restart: Which of several networks it is.
        layer: The layer.
        time: The time step.
        sequence: The sequence.
        what: "net input" or "layer output"; or "loss" where every layer is finite and the loss of it is not: then the
            place is that of the largest output.
        value: The number there.
        parameters: Blocks of weights and biases that are themselves not finite.
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
        if self.what == "loss":
            return f"the loss {after}, though all layers are finite: the largest output is {self.value:.3g}, {place}"
        blocks = f"; not finite are already {', '.join(self.parameters)}" if self.parameters else ""
        return f"the {self.what} of {place} is {self.value} {after}{blocks}"


def locate(trained: Trained, problem: Problem, epoch: int, restart: int = 0) -> NonFinite:
    """Simulates once and names the first layer and time step that is not finite, in the order in which layers run."""
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
        # The earliest; of one time step the layer that runs first, and its net input before its output.
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
        what="loss",
        value=value,
        parameters=blocks,
    )


def _first(gone: Bool[np.ndarray, "sequences time size"]) -> tuple[int, int, int]:
    """The first time step at which anything of `(sequences, time, size)` is True, and sequence and element there."""
    time = int(np.argmax(gone.any(axis=(0, 2))))
    sequence, element = np.argwhere(gone[:, time])[0]
    return time, int(sequence), int(element)
