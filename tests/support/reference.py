"""Reads the reference networks of `fixtures/`: numbers that other programs computed.

They store weights as (to, from, delay); here they come out as (delay, to, from).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import lddn_jax as lddn

FOLDER = Path(__file__).parents[1] / "fixtures"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


@dataclass(frozen=True)
class Reference:
    """A network with its inputs and targets, and what it must give."""

    net: lddn.Network
    data: lddn.Sequences
    a: dict[str, np.ndarray]
    loss: float
    gradient: dict[tuple[str, Any], np.ndarray]  # by the complex step


def topology(name: str) -> lddn.Topology:
    described = json.loads((FOLDER / f"{name}.json").read_text())
    transfer = {"linear": "linear", "sigmoid": "logistic", "relu": "relu"}
    return lddn.Topology(
        [lddn.Input(*item) for item in described["inputs"].items()],
        [lddn.Layer(layer["name"], layer["size"], transfer[layer["act"]]) for layer in described["layers"]],
        [lddn.Connection(c["from"], c["to"], c["delays"]) for c in described["connections"]],
        [layer["name"] for layer in described["layers"] if layer["output"]],
    )


def read(name: str) -> Reference:
    with np.load(FOLDER / f"{name}.npz") as file:
        stored = dict(file)

    def named(prefix):
        return {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}

    def weights(kind, prefix=""):
        return {tuple(k.split("|")): np.moveaxis(v, -1, 0) for k, v in named(f"{prefix}{kind}|").items()}

    net = lddn.Network(topology(name), init="zeros").with_weights(weights("IW"), weights("LW"), named("b|"))
    gradient = {
        **{("IW", pair): block for pair, block in weights("IW", "grad_cs|").items()},
        **{("LW", pair): block for pair, block in weights("LW", "grad_cs|").items()},
        **{("b", layer): block for layer, block in named("grad_cs|b|").items()},
    }
    inputs, targets = ({k: jnp.asarray(v) for k, v in named(prefix).items()} for prefix in ("p|", "t|"))
    return Reference(net, lddn.Sequences(inputs, targets), named("a|"), float(stored["loss"]), gradient)
