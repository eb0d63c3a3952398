"""Networks that `identify` knows by name, declared for the signals of the records."""

import inspect
from collections.abc import Callable, Mapping

from lddn_jax import models
from lddn_jax.identification.declared import reads_outputs
from lddn_jax.topology.topology import Topology

NAMED: dict[str, Callable[..., Topology]] = {
    "lstm": models.lstm,
    "gru": models.gru,
    "elman": models.elman,
    "layer-recurrent": models.layer_recurrent,
    "bilinear": models.bilinear,
    "narma-l2": models.narma_l2,
    "hammerstein": models.hammerstein,
    "wiener": models.wiener,
    "hammerstein-wiener": models.hammerstein_wiener,
    "wiener-hammerstein": models.wiener_hammerstein,
}


def settings_of(name: str) -> list[str]:
    """Returns the arguments of a network's declaration, by which settings are named."""
    return list(inspect.signature(NAMED[name]).parameters)


def topology_named(
    name: str, inputs: Mapping[str, int], targets: Mapping[str, int], settings: Mapping[str, object]
) -> Topology:
    """Returns the topology of a name.

    Args:
        name: One of `NAMED`.
        inputs: Sizes of the inputs by name.
        targets: Sizes of the targets by name.
        settings: Settings by name; those that the network does not have are left out.

    Example:
        >>> [layer.size for layer in topology_named("gru", {"u": 1}, {"y": 1}, {"hidden": 3, "states": 2}).layers][:2]
        [3, 3]
    """
    known = settings_of(name)
    return NAMED[name](dict(inputs), dict(targets), **{key: value for key, value in settings.items() if key in known})


def named_reads_outputs(name: str) -> bool:
    """Whether the network has inputs with measured outputs, so that it is trained over growing horizons."""
    return reads_outputs(NAMED[name]({"u": 1}, {"y": 1}))
