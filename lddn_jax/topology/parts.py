"""The parts of a topology: inputs, layers and connections, each checked when it is created.

A declaration is data and often comes from a JSON file. Names, numbers and lists are checked here; checks that need the
whole network are in `validation.py`.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from lddn_jax.checks import LARGEST_COUNT, did_you_mean, is_number, whole_number
from lddn_jax.errors import TopologyError, shown

LONGEST_NAME = 10_000  # letters
ALWAYS_WRITTEN = ("name", "size", "transfer", "bias", "source", "to", "delays")  # in JSON; others if not the default
# In names of the factors of products, see `product_factors.py`. It sorts before every other letter of a name, so that
# their weights and parameters are in the order of the declared ones.
FACTOR_MARK = "\x01"
NET_INPUTS = ("sum", "product")
Mask: TypeAlias = tuple[tuple[int, ...], ...] | tuple[tuple[tuple[int, ...], ...], ...]
WEIGHT_KINDS = ("dense", "diagonal", "identity")


@dataclass(frozen=True)
class Input:
    """An external signal `p` of `size` elements.

    Args:
        name: Unique among all inputs and layers.
        size: Number of elements, at least 1.
    """

    name: str
    size: int

    def __post_init__(self):
        check_name("an input", self.name)
        object.__setattr__(self, "size", whole_number(self.size, f"the size of input {shown(self.name)}", least=1))


@dataclass(frozen=True)
class Layer:
    """A layer `a = f(n)` of `size` neurons.

        n(t) = Σ_c z_c(t) + b   (net_input="sum")        n(t) = ⊙_c z_c(t)   (net_input="product")

    over the connections c that lead to the layer, see `Connection`.

    Args:
        name: Unique among all inputs and layers.
        size: Number of neurons, at least 1.
        transfer: Name of the transfer function; see `lddn_jax.network.transfer`.
        bias: Whether the layer has a bias `b`; False for a product.
        net_input: "sum", or "product" for a layer that multiplies what its connections contribute, as a gate does.

    Raises:
        TopologyError: If the name, the size or another argument is invalid, or a product has a bias.

    Example:
        >>> Layer("kept", 8, "linear", net_input="product", bias=False).net_input
        'product'

    De Jesús & Hagan (2007) for sums; MATLAB's `netsum` and `netprod`.
    """

    name: str
    size: int
    transfer: str = "tanh"
    bias: bool = True
    net_input: str = "sum"

    def __post_init__(self):
        check_name("a layer", self.name)
        object.__setattr__(self, "size", whole_number(self.size, f"the size of layer {shown(self.name)}", least=1))
        if not isinstance(self.transfer, str):
            raise TopologyError(
                f"the transfer function of layer {self.name!r} is {shown(self.transfer)}, but must be given by name. "
                "Register the function with lddn.transfer.register(name, function) and write "
                f"Layer({self.name!r}, {self.size}, transfer=name)."
            )
        if not isinstance(self.bias, bool):
            raise TopologyError(f"layer {self.name!r}: bias is {shown(self.bias)}; write bias=True or bias=False.")
        check_choice(f"layer {shown(self.name)}: net_input", self.net_input, NET_INPUTS)
        if self.net_input == "product" and self.bias:
            raise TopologyError(
                f"layer {self.name!r}: a product has no bias, because the net input is the product of its connections "
                f"alone. Write Layer({self.name!r}, {self.size}, {self.transfer!r}, net_input='product', bias=False), "
                "or give one of the layers that it multiplies a bias."
            )


@dataclass(frozen=True)
class Connection:
    """Weights from `source` (an input or a layer) to layer `to`: its contribution z to the net input of `to`.

        z(t) = Σ_d W(d) s(t−d),  over the delays d, s the source

    Args:
        source: Name of the source, an input or a layer.
        to: Name of the target layer.
        delays: Delays of the tapped delay line in samples, ascending, without repetition. `(0,)` is a connection
            without delay.
        weights: "dense", a matrix W(d) for each delay; "diagonal", one weight for each neuron and delay; "identity",
            W(d) = 1, without weights in the network. The last two need equal sizes.
        trained: False for weights that are in the network and no training changes: they are no parameters, and zero in
            gradients. Set them by `net.with_weights`.
        mask: Rows of 0 and 1, `(to, from)`, or one such matrix for each delay: where it is 0, weights are zero and no
            parameters. None for all ones. Dense weights only.

    Raises:
        TopologyError: If delays are missing, repeated or out of order, `weights` is unknown, or the mask does not
            consist of rows of 0 and 1.

    Example:
        >>> print(Connection("cell", to="cell", delays=(1,), weights="diagonal"))
        cell -> cell delay 1, diagonal
        >>> print(Connection("force", to="speed", mask=((1, 0), (0, 1)), trained=False))
        force -> speed delay 0, fixed, masked
    """

    source: str
    to: str
    delays: tuple[int, ...] = (0,)
    weights: str = "dense"
    trained: bool = True
    mask: Mask | None = None

    def __post_init__(self):
        label = f"connection {shown(self.source)} -> {shown(self.to)}"
        check_name("the source of a connection", self.source)
        check_name("the target of a connection", self.to)
        if isinstance(self.delays, str) or not isinstance(self.delays, Iterable):
            example = (
                f"({self.delays},)" if is_number(self.delays, int, below=LARGEST_COUNT) else "(0,) or delays=(1, 2)"
            )
            raise TopologyError(
                f"{label}: delays={shown(self.delays)} must be a tuple of whole numbers. Write delays={example}."
            )
        delays = tuple(whole_number(d, f"a delay of {label}", least=0) for d in self.delays)
        if not delays:
            raise TopologyError(
                f"{label} has an empty delay list, so it would have no weights. "
                "Write delays=(0,) for a connection without delay, or leave the connection out."
            )
        if list(delays) != sorted(set(delays)):
            raise TopologyError(
                f"{label}: delays {shown(delays)} must be ascending without repetition, because the weights follow "
                f"their order. Write delays={shown(tuple(sorted(set(delays))))}."
            )
        object.__setattr__(self, "delays", delays)
        check_choice(f"{label}: weights", self.weights, WEIGHT_KINDS)
        if not isinstance(self.trained, bool):
            raise TopologyError(f"{label}: trained is {shown(self.trained)}; write trained=True or trained=False.")
        if self.weights == "identity" and not self.trained:
            raise TopologyError(
                f"{label}: an identity has no weights, so there is nothing to fix. Leave trained=False out, or write "
                "weights='diagonal' for fixed gains."
            )
        if self.mask is not None:
            if self.weights != "dense":
                raise TopologyError(
                    f"{label}: mask is for dense weights, but they are {self.weights}. Write weights='dense', or leave "
                    "the mask out."
                )
            object.__setattr__(self, "mask", as_mask(label, self.mask))

    def __str__(self):
        return ", ".join([f"{self.source} -> {self.to} delay {', '.join(map(str, self.delays))}", *self.properties])

    @property
    def properties(self) -> tuple[str, ...]:
        """What distinguishes the weights from a trained dense matrix for each delay, in words."""
        kind = () if self.weights == "dense" else (self.weights,)
        return (*kind, *(() if self.trained else ("fixed",)), *(() if self.mask is None else ("masked",)))


def items(field: str, given: Any, kind: type) -> tuple:
    """Returns a list of objects of one class as a tuple; raises a TopologyError if it is anything else."""
    noun = "layer names" if kind is str else f"{kind.__name__} objects"
    if isinstance(given, (str, kind)) or not isinstance(given, Iterable):
        raise TopologyError(f"{field}={shown(given)} must be a list of {noun}: write {field}=[{shown(given)}].")
    found = tuple(given)
    for item in found:
        if not isinstance(item, kind):
            raise TopologyError(f"{field} holds {shown(item)}, but needs {noun}.")
    return found


def check_name(what: str, name: Any):
    """Raises a TopologyError unless `name` is a non-empty string of letters that can be written to a file."""
    if isinstance(name, str) and len(name) > LONGEST_NAME:
        raise TopologyError(f"the name of {what} has {len(name)} letters: {shown(name)}. Use at most {LONGEST_NAME}.")
    if isinstance(name, str) and any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in name):
        raise TopologyError(f"the name of {what} is {shown(name)}, with a letter that no file can hold. Rename it.")
    if isinstance(name, str) and FACTOR_MARK in name:
        raise TopologyError(
            f"the name of {what} is {shown(name)}, with the control letter {FACTOR_MARK!r}, which names the factors of "
            "products. Rename it."
        )
    if not isinstance(name, str) or not name.strip():
        raise TopologyError(f"the name of {what} is {shown(name)}; it must be a non-empty string such as 'hidden'.")


def as_mask(label: str, given: Any) -> Mask:
    """Returns a mask as nested tuples of 0 and 1.

    Raises:
        TopologyError: If it is neither rows of 0 and 1 of one length, nor several such matrices of one shape.
    """
    try:
        mask = np.asarray(given)
    except (ValueError, TypeError):  # rows of different lengths
        mask = np.zeros(0)
    if mask.ndim not in (2, 3) or not mask.size or mask.dtype.kind not in "biu" or not np.isin(mask, (0, 1)).all():
        raise TopologyError(
            f"{label}: mask={shown(given)} must consist of rows of 0 and 1, one row for each neuron of the layer and "
            "one column for each element of the source: mask=((1, 0), (1, 1)); or of one such matrix for each delay."
        )

    def nested(part: Any) -> Any:
        return tuple(map(nested, part)) if isinstance(part, list) else int(part)

    return nested(mask.tolist())


def check_choice(what: str, given: Any, known: tuple[str, ...]):
    """Raises a TopologyError unless `given` is one of the known words."""
    if not isinstance(given, str) or given not in known:
        hint = did_you_mean(given, known) if isinstance(given, str) else ""
        raise TopologyError(f"{what} is {shown(given)}; known are {', '.join(map(repr, known))}.{hint}")


def as_data(part: Any) -> dict[str, Any]:
    """Returns a part as plain data, without newer fields that have their default.

    So the JSON of a declaration does not change when fields are added to its parts.
    """
    found = {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if field.name in ALWAYS_WRITTEN or value != field.default:
            found[field.name] = _as_list(value)
    return found


def _as_list(value: Any) -> Any:
    return [_as_list(one) for one in value] if isinstance(value, tuple) else value


def unknown(what: str, name: str, known: list[str]) -> str:
    """Returns the error message for an unknown name, with the known ones and the closest of them."""
    hint = did_you_mean(name, known, "Declare it first, or use one of these.")
    return f"there is no {what} {shown(name)}; known are {shown(known)}.{hint}"


def check_keys(what: str, entry: Mapping, required: list[str], known: list[str]):
    """Raises a TopologyError if a key is missing or unknown."""
    for key in entry:
        if key not in known:
            raise TopologyError(f"{what}: {unknown('key', str(key), known)}")
    for key in required:
        if key not in entry:
            raise TopologyError(f"{what} lacks the key {key!r}; it has {shown(list(entry))} and needs {required}.")
