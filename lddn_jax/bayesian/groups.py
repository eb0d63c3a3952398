"""Groups of parameters that share one prior strength α.

A prior states the expected size of the weights, which may differ between groups. One α for all weights is the Bayesian
regularization of Foresee & Hagan. One α for each delay of each connection is automatic relevance determination (ARD):
where a delay is irrelevant, its α grows and its weights vanish. Excluded parameters have no prior: they form a group
with α = 0.

MacKay (1992), Neural Computation 4(3); Neal (1996), *Bayesian Learning for Neural Networks*.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from lddn_jax.errors import LDDNError, listed, shown
from lddn_jax.network.network import assemble
from lddn_jax.numerics.contraction import einsum
from lddn_jax.topology.topology import Topology
from lddn_jax.topology.trained_weights import trained_places

Tap = tuple[str, str | None, int | None]  # to, source and delay; (layer, None, None) is that layer's bias
Labelling = Callable[[str, str | None, int | None], str]
# What has no prior: layers (their biases), (to, source) or (to, source, delay); or a function of a tap.
Excluded = Iterable[str | tuple] | Callable[[str, str | None, int | None], bool]
NO_PRIOR = "no prior"  # label of the group of excluded parameters

LABELS: dict[str, Labelling] = {
    "all": lambda to, source, delay: "all",
    "layer": lambda to, source, delay: to,
    "connection": lambda to, source, delay: f"bias of {to}" if source is None else f"{source} -> {to}",
    "delay": lambda to, source, delay: f"bias of {to}" if source is None else f"{source} -> {to} delay {delay}",
    "source": lambda to, source, delay: "bias" if source is None else source,
}


def labelling(groups: str | Labelling) -> Labelling:
    """Returns the function that maps a weight to the name of its group; see `Groups.of`.

    Raises:
        LDDNError: If `groups` is neither a function nor one of the known names.
    """
    label = LABELS.get(groups) if isinstance(groups, str) else groups
    if not callable(label):
        raise LDDNError(
            f"groups={groups!r} is unknown; known are {sorted(LABELS)}. Or write a function that names the group, "
            "groups=lambda to, source, delay: source or 'bias'."
        )
    return label


def as_excluded(given: object) -> Any:
    """Returns a list, a set or keys of a dict as a tuple, which is hashable; anything else unchanged."""
    return tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else given


def check_excluded(given: object) -> None:
    """Raises an LDDNError unless this is a function, or a tuple of names and tuples; see `Groups.of`."""
    if callable(given) or (isinstance(given, tuple) and all(isinstance(each, (str, tuple)) for each in given)):
        return
    one = f" For one bias write exclude=({given!r},)." if isinstance(given, str) else ""
    raise LDDNError(
        f"exclude={shown(given)}: needed are connections (to, source), delays (to, source, delay) and layers, whose "
        "biases are meant: exclude=[('state', 'u'), ('state', 'state'), 'state']; or a function of (to, source, delay) "
        f"that is True for them.{one}"
    )


def _excluded(taps: list[Tap], exclude: Excluded) -> set[Tap]:
    """Returns the taps that have no prior.

    Raises:
        LDDNError: If one does not exist.
    """
    check_excluded(exclude)
    if callable(exclude):
        return {tap for tap in taps if exclude(*tap)}
    chosen: set[Tap] = set()
    for each in exclude:
        given = (each, None) if isinstance(each, str) else each
        same = {tap for tap in taps if tap[: len(given)] == given}
        if not same:
            known = [to if source is None else (to, source) for to, source, _ in taps]
            raise LDDNError(
                f"exclude: {each!r} is no bias, connection or delay of this network; it has "
                f"{listed([str(name) for name in dict.fromkeys(known)], 30)}. A connection is (to, source), and a "
                "layer stands for its bias."
            )
        chosen |= same
    return chosen


@dataclass(frozen=True)
class Groups:
    """A partition of the parameters of a network into groups.

    Attributes:
        labels: Names of the groups.
        taps: All delays of all connections, and all biases.
        of_taps: The group of each tap, as an index into `labels`.
        members: The tap of each parameter, as an index into `taps`, in the order of `net.ravel()`.
        flat: The group without a prior, as an index into `labels`; None if all parameters have one.
    """

    labels: tuple[str, ...]
    taps: tuple[Tap, ...]
    of_taps: tuple[int, ...]
    members: tuple[int, ...]
    flat: int | None = None

    @classmethod
    def of(cls, topology: Topology, groups: str | Labelling, exclude: Excluded | Iterable = ()) -> "Groups":
        """Sorts the parameters of a topology into groups.

        Args:
            topology: The topology.
            groups: "all"; "layer", by the layer that weights and biases belong to; "connection"; "delay", each delay of
                each connection; "source", by the input or layer that a weight reads. Biases are groups of their own
                except in "all" and "layer". Or a function of (to, source, delay) that returns a group's name; source
                and delay of a bias are None.
            exclude: Parameters without a prior: connections `(to, source)`, single delays `(to, source, delay)`, and
                names of layers, for their biases; or a function of (to, source, delay) that is True for them.

        Raises:
            LDDNError: If `groups` is neither, or the function does not return a string; if something excluded does not
                exist, or nothing else is left.

        Example:
            >>> from lddn_jax import Connection, Input, Layer, Topology
            >>> topology = Topology([Input("u", 1)], [Layer("y", 1)], [Connection("u", to="y", delays=(0, 2))], ["y"])
            >>> Groups.of(topology, "delay").labels
            ('u -> y delay 0', 'u -> y delay 2', 'bias of y')
            >>> Groups.of(topology, "all", exclude=[("y", "u", 0), "y"]).sizes.tolist()
            [1, 2]
        """
        label = labelling(groups)
        taps: list[Tap] = [
            (to, source, d) for to, source in topology.weight_shapes for d in _delays(topology, (to, source))
        ]
        taps += [(layer.name, None, None) for layer in topology.layers if layer.bias]
        names = [label(*tap) for tap in taps]
        for tap, name in zip(taps, names, strict=True):
            if not isinstance(name, str):
                raise LDDNError(f"groups: the function returned {name!r} for (to, source, delay) = {tap}, not a name.")
        without = _excluded(taps, as_excluded(exclude))
        labels = tuple(dict.fromkeys(name for tap, name in zip(taps, names, strict=True) if tap not in without))
        if not labels and taps:
            raise LDDNError(
                "exclude leaves no parameter with a prior, so there is nothing to regularize; exclude less, or train "
                "with lddn.LevenbergMarquardt()."
            )
        flat = None
        if without:
            if NO_PRIOR in labels:
                raise LDDNError(f"groups: {NO_PRIOR!r} is the group of excluded parameters; name this one otherwise.")
            labels, flat = (*labels, NO_PRIOR), len(labels)
        of_taps = tuple(
            len(labels) - 1 if tap in without else labels.index(name) for tap, name in zip(taps, names, strict=True)
        )
        members = tuple(int(k) for k in _flat({tap: k for k, tap in enumerate(taps)}, topology))
        return cls(labels, tuple(taps), of_taps, members, flat)

    @classmethod
    def from_dict(cls, known: Mapping[str, Any]) -> "Groups":
        """Returns the groups from the result of `dataclasses.asdict`, also after a round trip through JSON."""
        taps = tuple((to, source, delay) for to, source, delay in known["taps"])
        parts = (tuple(known[name]) for name in ("labels", "of_taps", "members"))
        labels, of_taps, members = parts
        return cls(labels, taps, of_taps, members, known.get("flat"))

    @property
    def of_parameters(self) -> Int[np.ndarray, " parameters"]:
        """The group of each parameter, `(parameters,)`."""
        return np.asarray(self.of_taps, int)[np.asarray(self.members, int)]

    @property
    def sizes(self) -> Int[np.ndarray, " groups"]:
        """Number of parameters of each group, `(groups,)`."""
        return np.bincount(self.of_parameters, minlength=len(self.labels))

    @property
    def has_prior(self) -> Bool[np.ndarray, " groups"]:
        """True for the groups that have a prior, `(groups,)`."""
        return np.arange(len(self.labels)) != (-1 if self.flat is None else self.flat)

    def errors(
        self, x: Float[Array, " parameters"], mean: Float[Array, " parameters"] | None
    ) -> Float[Array, " groups"]:
        """Returns E_c = Σ (x − m)² of each group, `(groups,)`; zero without a prior.

        Args:
            x: Parameters, `(parameters,)`.
            mean: m, the mean of the prior, `(parameters,)`; None for zero.
        """
        off = x if mean is None else x - mean
        total = self.sum(off * off)
        return total if self.flat is None else jnp.where(self.has_prior, total, 0)

    def sum(self, values: Float[Array, "parameters *rest"]) -> Float[Array, "groups *rest"]:
        """Returns the sum over each group, `(groups, ...)`, of values `(parameters, ...)`."""
        inside = np.arange(len(self.labels))[:, None] == self.of_parameters
        return einsum("cp,p...->c...", jnp.asarray(inside, values.dtype), values)

    def spread(self, values: Shaped[Array, " groups"]) -> Shaped[Array, " parameters"]:
        """Returns for each parameter, `(parameters,)`, the value of its group from `values`, `(groups,)`."""
        return values[self.of_parameters]


def _delays(topology: Topology, pair: tuple[str, str]) -> list[int]:
    """Returns the delays of a connection at which it has parameters."""
    trained = np.ones(topology.weight_shapes[pair], bool).reshape(-1)
    if pair in trained_places(topology):
        trained[:] = False
        trained[trained_places(topology)[pair]] = True
    delays = np.array(topology.delays[pair])
    return delays[trained.reshape(len(delays), -1).any(axis=1)].tolist()


def _flat(numbers: dict[Tap, Any], topology: Topology) -> Shaped[np.ndarray, " parameters"]:
    """Returns the number of its tap for each parameter, `(parameters,)`, in the order of `net.ravel()`."""
    IW, LW = {}, {}
    for (to, source), shape in topology.weight_shapes.items():
        block = np.array([numbers.get((to, source, d), -1) for d in topology.delays[to, source]])
        where = IW if source in topology.input_names else LW
        where[to, source] = np.broadcast_to(block.reshape(-1, *(1,) * (len(shape) - 1)), shape)
    b = {layer.name: np.full(layer.size, numbers[layer.name, None, None]) for layer in topology.layers if layer.bias}
    leaves = assemble(topology, IW, LW, b).parameter_arrays()
    return np.concatenate([np.ravel(leaf) for leaf in leaves]) if leaves else np.zeros(0, int)
