"""A committee: several networks of one topology that predict as one model.

    y(t) = median_k a_k(t)        a_k the output of member k; with combine="mean" their mean

Members that were trained from different starts, or on different folds, agree where the record decided and differ where
it did not, so their spread is an error bar. With the median, a member that explodes outside of the training range
changes nothing. A member that becomes NaN or infinite, or that explodes,

    max_t |a_k(t) − m(t)| > 1000 · max( range of m,  max |m|,  median_k max_t |a_k(t) − m(t)| )      m = median_k a_k

is left out of the sequence in which it does so.

Perrone & Cooper (1993), "When networks disagree: ensemble methods for hybrid neural networks", in *Neural Networks for
Speech and Image Processing*, 126-142.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lddn_jax.checks import called, check_choice, whole_number
from lddn_jax.errors import LDDNError, ShapeError
from lddn_jax.network.network import Network, check_network, stack_axes
from lddn_jax.network.signals import as_array
from lddn_jax.topology.topology import Topology

COMBINATIONS = ("mean", "median")
EXPLOSION = 1000.0  # distance from the median, relative to its size and to usual distances, of an explosion
LOW_PERCENTILE, HIGH_PERCENTILE = 15.87, 84.13  # one standard deviation of a normal distribution from its mean

# Signals of all members by layer; `OfEach` has the axis of the members only where there are members.
OfEach: TypeAlias = dict[str, Float[Array, "... time size=_"]]
OfMembers: TypeAlias = dict[str, Float[Array, "members *batch time size=_"]]


class Committee(eqx.Module):
    """Several networks of one topology that predict as one: the pointwise median, or mean, of their outputs.

    It stands where a `Network` stands in `predict`, `simulate`, `step`, `k_step`, `horizon_profile`, `Scaled`,
    `forecast`, `report`, `save` and in the functions that rewire networks. It is not trained: train its members.

    Args:
        nets: Stacked networks, as `jax.vmap` makes them: every array has one more axis, the members, in front.
        combine: "median", or "mean".
        noise: Standard deviation of the measurement noise by output layer, `(size,)`, in the units of the network; it
            is part of the error bars. None if it is not known.

    Raises:
        ShapeError: If `nets` is not several networks on one axis.
        LDDNError: If `combine` is unknown.

    Example:
        >>> import jax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.models.fir({"u": 1}, {"y": 1}, delays=(0,))
        >>> zero = lddn.Network(topology, init="zeros")
        >>> committee = lddn.Committee.of([zero.with_weights(b={"y": [b]}) for b in (1.0, 2.0, 30.0)])
        >>> lddn.predict(committee, jnp.zeros((2, 1)))["y"][:, 0].tolist()
        [2.0, 2.0]
    """

    nets: Network
    combine: str = eqx.field(static=True, default="median")
    noise: dict[str, Float[Array, " size=_"]] = eqx.field(default_factory=dict)

    def __init__(self, nets: Network, combine: str = "median", noise: Mapping[str, Any] | None = None):
        call = "Committee(nets, combine)"
        if isinstance(nets, (list, tuple)):
            raise LDDNError(f"{call} takes stacked networks, not {called(nets)}. Write Committee.of([net, net, ...]).")
        check_network(nets, call, several=True)
        axes = stack_axes(nets)
        if len(axes) != 1:
            what = "a single network" if not axes else f"{' x '.join(map(str, axes))} stacked networks"
            raise ShapeError(
                f"{call} takes networks stacked on one axis, and was given {what}. Write Committee.of([net, net, ...])."
            )
        check_choice("combine", combine, COMBINATIONS)
        self.nets, self.combine = nets, combine
        sizes = {name: nets.topology.sizes[name] for name in nets.topology.outputs}
        self.noise = {} if noise is None or noise == {} else _checked_noise(noise, sizes, nets.dtype)

    @classmethod
    def of(
        cls, networks: Sequence["Network | Committee"], combine: str = "median", noise: Mapping[str, Any] | None = None
    ) -> "Committee":
        """Returns the committee of several networks of one topology.

        Args:
            networks: The members; a committee among them stands for its members.
            combine: As in `Committee`.
            noise: As in `Committee`.

        Raises:
            LDDNError: If there is no network, or topologies or dtypes differ.
        """
        call = "Committee.of(networks)"
        if not isinstance(networks, Sequence) or not networks:
            raise LDDNError(f"{call} takes a list of networks, not {called(networks)}: Committee.of([net, net, ...]).")
        members = [each for net in networks for each in (net.networks if isinstance(net, Committee) else (net,))]
        for net in members:
            check_network(net, call)
        for k, net in enumerate(members):
            if net.topology != members[0].topology or net.dtype != members[0].dtype:
                raise LDDNError(
                    f"{call}: network {k} has another topology or dtype than the first one. Members of a committee "
                    "have one topology; make a committee of each, and combine their predictions yourself."
                )
        return cls(jax.tree.map(lambda *leaves: jnp.stack(leaves), *members), combine, noise)

    @property
    def topology(self) -> Topology:
        """Topology of the members."""
        return self.nets.topology

    @property
    def dtype(self) -> jnp.dtype:
        """Dtype of the members."""
        return self.nets.dtype

    @property
    def members(self) -> int:
        """Number of members."""
        return stack_axes(self.nets)[0]

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases of all members."""
        return self.members * self.nets.parameter_count

    @property
    def networks(self) -> tuple[Network, ...]:
        """The members, each as a `Network`."""
        return tuple(self.member(k) for k in range(self.members))

    def member(self, k: int) -> Network:
        """Returns member number k.

        Raises:
            LDDNError: If no member has that number.
        """
        k = whole_number(k, "member(k)", least=0)
        if k >= self.members:
            raise LDDNError(f"member({k}): the committee has {self.members} members, numbered from 0.")
        return jax.tree.map(lambda leaf: leaf[k], self.nets)

    def with_nets(self, nets: Network) -> "Committee":
        """Returns a committee of other networks that combines them in the same way."""
        return dataclasses.replace(self, nets=nets)

    def summary(self) -> str:
        """Returns a table of the layers of a member, and how members are combined."""
        return f"{self.nets.summary()}\ncommittee of {self.members} members, combined by their {self.combine}"

    def kept(self, outputs: OfMembers) -> Bool[Array, "members *batch"]:
        """Returns which members are used in each sequence: those that neither become NaN or infinite nor explode.

        Args:
            outputs: Outputs of all members, from `lddn_jax.predict_members`.
        """
        return _kept(outputs)

    def combined(self, outputs: OfMembers) -> dict[str, Float[Array, "*batch time size=_"]]:
        """Returns the pointwise median or mean of the members that are kept; NaN where none is.

        Args:
            outputs: Outputs of all members, from `lddn_jax.predict_members`.
        """
        return _combined(outputs, self.combine)

    def spread(self, outputs: OfMembers) -> dict[str, Float[Array, "*batch time size=_"]]:
        """Returns the standard deviation over the members that are kept.

        With the median it is half the distance of the 16th and the 84th percentile, which single members do not spoil;
        with the mean, √(Σ (a_k − mean)² / (members − 1)). The spread of a single member is 0.

        Args:
            outputs: Outputs of all members, from `lddn_jax.predict_members`.

        Example:
            >>> import jax.numpy as jnp, lddn_jax as lddn
            >>> zero = lddn.Network(lddn.models.fir({"u": 1}, {"y": 1}, delays=(0,)), init="zeros")
            >>> members = [zero.with_weights(b={"y": [b]}) for b in (1.0, 2.0, 3.0)]
            >>> committee = lddn.Committee.of(members, combine="mean")
            >>> float(committee.spread(lddn.predict_members(committee, jnp.zeros((1, 1))))["y"][0, 0])
            1.0
        """
        return _spread(outputs, self.combine)


Model: TypeAlias = Network | Committee  # what predicts


def check_model(given: object, call: str, *, mapped: bool = False) -> None:
    """Raises an error unless `given` is a committee, or a single network; `mapped` as in `check_network`."""
    if not isinstance(given, Committee):
        check_network(given, call, mapped=mapped)


def representative(model: Model) -> Network:
    """Returns the network, or the first member of a committee, for what can be shown of one network only."""
    return model.member(0) if isinstance(model, Committee) else model


@jax.jit
def _kept(outputs: OfMembers) -> Bool[Array, "members *batch"]:
    return jnp.stack([_near(a) for a in outputs.values()]).all(axis=0)


@jax.jit(static_argnames="combine")
def _combined(outputs: OfMembers, combine: str) -> dict[str, Float[Array, "*batch time size=_"]]:
    centre = jnp.nanmedian if combine == "median" else jnp.nanmean
    return {name: centre(a, axis=0) for name, a in _without_others(outputs).items()}


@jax.jit(static_argnames="combine")
def _spread(outputs: OfMembers, combine: str) -> dict[str, Float[Array, "*batch time size=_"]]:
    if next(iter(outputs.values())).shape[0] == 1:
        return {name: jnp.zeros_like(a[0]) for name, a in outputs.items()}
    found = {}
    for name, a in _without_others(outputs).items():
        if combine == "median":
            low, high = jnp.nanpercentile(a, jnp.array([LOW_PERCENTILE, HIGH_PERCENTILE], a.dtype), axis=0)
            found[name] = (high - low) / 2
        else:
            found[name] = jnp.nanstd(a, axis=0, ddof=1)
    return found


def _without_others(outputs: OfMembers) -> OfMembers:
    """The outputs with NaN in place of members that are not kept."""
    kept = _kept(outputs)[..., None, None]
    return {name: jnp.where(kept, a, jnp.nan) for name, a in outputs.items()}


def _near(a: Float[Array, "members *batch time size"]) -> Bool[Array, "members *batch"]:
    """Which members stay finite and near the median in one output; see the module."""
    finite = jnp.isfinite(a).all(axis=(-2, -1))
    usual = jnp.where(finite[..., None, None], a, jnp.nan)
    middle = jnp.nanmedian(usual, axis=0)
    distance = jnp.abs(usual - middle[None]).max(axis=(-2, -1))
    low, high = jnp.nanmin(middle), jnp.nanmax(middle)
    size = jnp.nan_to_num(jnp.maximum(high - low, jnp.maximum(jnp.abs(low), jnp.abs(high))))
    ordinary = jnp.nan_to_num(jnp.nanmedian(distance))
    return finite & ~(distance > EXPLOSION * jnp.maximum(ordinary, size))


def _checked_noise(
    noise: Mapping[str, Any], sizes: Mapping[str, int], dtype: Any
) -> dict[str, Float[Array, " size=_"]]:
    if not isinstance(noise, Mapping) or noise.keys() != sizes.keys():
        given = sorted(noise) if isinstance(noise, Mapping) else called(noise)
        raise ShapeError(
            f"noise was given for {given}; needed is the standard deviation of each output, (size,), by name: "
            f"noise={{{', '.join(f'{name!r}: [0.1]' for name in sizes)}}}."
        )
    found = {name: as_array(f"noise of {name!r}", noise[name], dtype) for name in sizes}
    for name, value in found.items():
        if value.shape != (sizes[name],):
            raise ShapeError(f"noise of {name!r} has shape {value.shape}; needed is ({sizes[name]},).")
    return found
