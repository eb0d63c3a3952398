"""The zoo: networks that are awkward on purpose, each with random numbers of its own.

A tame network hides mistakes: with one sequence, a zero state and one linear output, most of the classic errors in a
gradient change nothing. So every network here has random weights, inputs, delay states and cotangents, and each one an
awkwardness more. To add one, write a line: every test that runs over `ZOO` meets it.

The short notation: `"u:2"` is an input of two elements, `"h:3:tanh"` a layer of three neurons, `"h:3:tanh!"` the same
without a bias, `"u>h@0,2"` a connection with delays 0 and 2, `"u>h"` one with delay 0, `"u>h@1:diagonal"` one with
weights of that kind, `"u>h:fixed"` or `"u>h:diagonal+fixed"` one that is not trained, `"u>h:mask=10/01"` one with a
mask by rows (of several delays `"10/01|11/00"`), and `"k:3:linear*"` a layer that multiplies what it reads.
"""

import functools
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from tiers import deep_unless

import lddn_jax as lddn


def declare(inputs: str, layers: str, connections: str, outputs: str) -> lddn.Topology:
    """Reads the short notation."""

    def layer(text):
        name, size, transfer = text.split(":")
        multiplies = transfer.endswith("*")
        biased, kind = transfer[-1] not in "!*", "product" if multiplies else "sum"
        return lddn.Layer(name, int(size), transfer.rstrip("!*"), bias=biased, net_input=kind)

    def connection(text):
        text, _, kind = text.partition(":")
        source, to = text.split("@")[0].split(">")
        delays = text.split("@")[1] if "@" in text else "0"
        words = dict.fromkeys(word for word in kind.split("+") if word)
        (weights,) = [word for word in words if word != "fixed" and "=" not in word] or ["dense"]
        masks = [word.removeprefix("mask=") for word in words if "=" in word]
        rows = [
            [[int(one) for one in row] for row in matrix.split("/")] for mask in masks for matrix in mask.split("|")
        ]
        mask = None if not rows else rows[0] if len(rows) == 1 else rows
        return lddn.Connection(source, to, tuple(map(int, delays.split(","))), weights, "fixed" not in words, mask)

    return lddn.Topology(
        [lddn.Input(name, int(size)) for name, size in (text.split(":") for text in inputs.split())],
        [layer(text) for text in layers.split()],
        [connection(text) for text in connections.split()],
        outputs.split(),
    )


def is_parameter(topology: lddn.Topology, kind: str, name) -> np.ndarray | bool:
    """Whether the elements of a block are parameters, by the declaration alone; the delay state counts as such."""
    if kind not in ("IW", "LW"):
        return True
    ((trained, mask),) = [(c.trained, c.mask) for c in topology.connections if (c.to, c.source) == name]
    return trained and (True if mask is None else np.array(mask, bool))


@dataclass(frozen=True)
class Case:
    """A topology with random numbers, as NumPy arrays for the oracle and as JAX arrays for the package.

    Attributes:
        name: What tests call it; the random numbers follow from it.
        build: Makes the topology.
        batch: Batch axes.
        steps: Number of time steps.
        idle: Whether a part of it can have no effect, of which a declaration warns.
        at_rest: Whether its delay state is zero.
    """

    name: str
    build: Callable[[], lddn.Topology]
    batch: tuple[int, ...] = (2,)
    steps: int = 8
    idle: bool = False
    at_rest: bool = False

    def __str__(self):
        return self.name

    @functools.cached_property
    def topology(self) -> lddn.Topology:
        with warnings.catch_warnings():
            if self.idle:
                warnings.simplefilter("ignore", lddn.TopologyWarning)
            return self.build()

    @functools.cached_property
    def weights(self) -> dict[str, dict]:
        """`{"IW": ..., "LW": ..., "b": ...}`, so small that loops neither explode nor saturate."""
        draw, t = self._draw("weights"), self.topology
        weights = {"IW": {}, "LW": {}, "b": {layer.name: 0.5 * draw(layer.size) for layer in t.layers if layer.bias}}
        for (to, source), delays in t.delays.items():
            kind = t.connected[to, source].weights
            if kind == "identity":
                continue
            fan_in = sum(len(d) * t.sizes[s] for (m, s), d in t.delays.items() if m == to)
            from_ = [t.sizes[source]] if kind == "dense" else []
            block = draw((len(delays), t.sizes[to], *from_)) / np.sqrt(fan_in)
            if t.connected[to, source].mask is not None:
                block = block * np.array(t.connected[to, source].mask)
            weights["IW" if source in t.input_names else "LW"][to, source] = block
        return weights

    @functools.cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        draw = self._draw("inputs")
        return {i.name: draw((*self.batch, self.steps, i.size)) for i in self.topology.inputs}

    @functools.cached_property
    def state(self) -> dict[str, np.ndarray]:
        draw, t = np.zeros if self.at_rest else self._draw("state"), self.topology
        longest = {}
        for (_, source), delays in t.delays.items():
            longest[source] = max(longest.get(source, 0), delays[-1])
        return {name: draw((*self.batch, d, t.sizes[name])) for name, d in sorted(longest.items()) if d > 0}

    @functools.cached_property
    def cotangents(self) -> dict[str, np.ndarray]:
        """∂ᵉF/∂a of the outputs."""
        draw = self._draw("cotangents")
        return {
            name: draw((*self.batch, self.steps, self.topology.sizes[name])) for name in sorted(self.topology.outputs)
        }

    @functools.cached_property
    def net(self) -> lddn.Network:
        return lddn.Network(self.topology, init="zeros").with_weights(**self.weights)

    @property
    def signals(self) -> tuple[dict, dict]:
        """Inputs and delay state as JAX arrays."""
        return {k: jnp.asarray(v) for k, v in self.inputs.items()}, {k: jnp.asarray(v) for k, v in self.state.items()}

    @property
    def data(self) -> lddn.Sequences:
        """The same with random targets."""
        inputs, state = self.signals
        return lddn.Sequences(inputs, {k: jnp.asarray(v) for k, v in self.cotangents.items()}, state)

    @property
    def arguments(self) -> tuple:
        """What the oracle takes."""
        return self.topology, self.weights, self.inputs, self.state, self.steps

    def _draw(self, what: str) -> Callable[..., np.ndarray]:
        return np.random.default_rng(zlib.crc32(f"{self.name}: {what}".encode())).standard_normal


def awkward() -> lddn.Topology:
    """Every awkwardness that a mistake in backpropagation can hide from, in three layers of one size.

    Two inputs; two outputs, one of them a nonlinear hidden layer; a layer that is neither tanh nor linear and has no
    bias; gaps in the delays; delays 0 and 2 on one connection; a zero-delay skip; self-loops; names whose order is not
    the order of simulation.
    """
    return declare(
        "u:2 v:2",
        "h:2:tanh g:2:logistic! y:2:linear",
        "u>h@0,2 v>g@1,4 h>h@1,3 h>g@0,2 g>g@2 g>y h>y y>h@2,5 y>g@1",
        "h y",
    )


def swish(n):
    """n / (1 + exp(−n)), written so that JAX's derivative is finite too where exp(−n) is not."""
    return n * jax.nn.sigmoid(n)


def swish_slope(n, a):
    s = jax.nn.sigmoid(n)
    return s + a * (1 - s)


def sphere(n):
    """n / √(1 + |n|²), both divided by a scale that n / scale / √(scale⁻² + |n / scale|²) does not depend on."""
    # A quarter of the largest |n|: no square overflows, and the reciprocal is not so small that it is rounded to 0.
    scale = jax.lax.stop_gradient(jnp.maximum(jnp.abs(n).max(axis=-1, keepdims=True) / 4, 1))
    n = n / scale
    return n / jnp.sqrt(jnp.square(1 / scale) + jnp.square(n).sum(axis=-1, keepdims=True))


def registered() -> lddn.Topology:
    """Transfer functions of a user's own, without slopes."""
    if "own_swish" not in lddn.transfer.names():
        lddn.transfer.register("own_swish", swish)
        lddn.transfer.register("own_sphere", sphere, elementwise=False)
    return declare("u:1", "s:3:own_sphere w:2:own_swish y:1:linear", "u>w w>s s>w@1,2 s>y", "y s")


SMOOTH = ("linear", "complement", "tanh", "logistic", "softplus", "radbas", "softmax", "elliotsig", "elu")
KINKED = ("relu", "leaky_relu", "satlin", "satlins", "tribas", "hardlim")


def side_by_side(transfers: tuple[str, ...]) -> lddn.Topology:
    """One layer of each kind, in a common loop, so that a slope of zero in one hides none of the others."""
    return declare(
        "u:2",
        " ".join(f"{name}_layer:3:{name}" for name in transfers) + " y:2:tanh",
        " ".join(f"u>{name}_layer@0,1 {name}_layer>y y>{name}_layer@1" for name in transfers),
        "y",
    )


def p14_2() -> lddn.Topology:
    return reference.topology("p14_2_sigmoid")


def zero_factors() -> lddn.Topology:
    """Four factors, of which `off` is zero at some steps: one that a derivative must not divide by."""
    return declare(
        "u:2", "off:2:hardlim! h:2:tanh k:2:linear* y:1:linear",
        "u>off@1 u>k:diagonal off>k:identity h>k y>k@1 u>h k>h@1 h>y k>y", "y",
    )  # fmt: skip


def gated(name: str, size: int, source: str = "u") -> lddn.Topology:
    """A long short-term memory, written out."""
    return declare(f"{source}:2", *lstm_parts(name, size, source), name)


def lstm_parts(name: str, size: int, source: str, peepholes: bool = False) -> tuple[str, str]:
    """Layers and connections of a long short-term memory whose output is layer `name`."""
    n, p = name, f"{name}_"
    gates = [f"{p}{gate}" for gate in "ifo"]
    layers = [f"{gate}:{size}:logistic" for gate in gates]
    layers += [f"{p}g:{size}:tanh", f"{p}kept:{size}:linear*", f"{p}new:{size}:linear*", f"{p}cell:{size}:linear!"]
    layers += [f"{p}squashed:{size}:tanh!", f"{n}:{size}:linear*"]
    read = [f"{source}>{to} {n}>{to}@1" for to in (*gates, f"{p}g")]
    if peepholes:
        read += [f"{p}cell>{p}i@1:diagonal {p}cell>{p}f@1:diagonal {p}cell>{p}o:diagonal"]
    return " ".join(layers), " ".join([
        *read,
        f"{p}f>{p}kept:identity {p}cell>{p}kept@1:identity {p}i>{p}new:identity {p}g>{p}new:identity",
        f"{p}kept>{p}cell:identity {p}new>{p}cell:identity {p}cell>{p}squashed:identity",
        f"{p}o>{n}:identity {p}squashed>{n}:identity",
    ])  # fmt: skip


def lstm_with_peepholes() -> lddn.Topology:
    """Two long short-term memories in series, whose gates read the cells too."""
    first, second = lstm_parts("a", 2, "u", peepholes=True), lstm_parts("b", 3, "a", peepholes=True)
    return declare("u:2", f"{first[0]} {second[0]} y:1:linear", f"{first[1]} {second[1]} b>y", "y")


ZOO = [
    Case("awkward", awkward),
    Case("awkward-one-sequence", awkward, batch=()),
    Case("awkward-two-batch-axes", awkward, batch=(2, 3), steps=4),
    Case("awkward-one-step", awkward, steps=1),
    Case("feed-forward", lambda: declare("u:3", "h:4:tanh y:2:linear", "u>h h>y u>y", "y")),
    Case("fir", lambda: declare("u:2", "y:3:linear", "u>y@0,1,4", "y"), batch=(3,)),
    Case("fir-in-series", lambda: declare("u:1", "z:2:tanh y:2:logistic", "u>z@1,3 z>y@2,4 u>y@5", "y"), steps=7),
    Case("narx-open", lambda: declare("i:1 m:1", "h:4:tanh y:1:linear", "i>h@1,2 m>h@1,2 h>y", "y")),
    Case("narx-closed", lambda: declare("i:1", "h:4:tanh y:1:linear", "i>h@1,2 y>h@1,2 h>y", "y")),
    Case("elman", lambda: declare("u:2", "h:4:tanh y:2:linear", "u>h h>h@1 h>y", "y")),
    Case("jordan", lambda: declare("u:2", "h:4:logistic y:2:linear", "u>h h>y y>h@1 y>y@1", "y")),
    Case("long-delays", lambda: declare("u:2", "r:3:tanh", "u>r r>r@3,5", "r"), steps=10),
    Case("long-delays-whole-chunks", lambda: declare("u:2", "r:3:tanh", "u>r@0,4 r>r@3,5", "r"), steps=9),
    Case("long-delays-short-run", lambda: declare("u:2", "r:3:tanh!", "u>r@1 r>r@3,5", "r"), steps=2),
    Case("long-delays-in-a-ring", lambda: declare("u:1", "c:2:tanh b:2:radbas", "u>c c>b@0,2 b>c@3,4 c>c@5", "b c")),
    Case("autonomous", lambda: declare("", "x:3:tanh y:2:linear", "x>x@1 x>y@0,2 y>x@2,3", "y"), steps=6),
    Case("autonomous-constant", lambda: declare("", "x:3:tanh y:2:logistic", "x>y", "y"), batch=(), steps=3),
    Case("softmax-in-a-loop", lambda: declare("u:2", "s:3:softmax y:1:linear", "u>s s>s@1 s>y@0,1 y>s@2", "y s")),
    Case("p14_2", p14_2, steps=6),
    Case("smooth", lambda: side_by_side(SMOOTH), steps=5),
    Case("registered", registered, steps=6),
    Case("matlab-names", lambda: declare("u:1", "h:3:tansig g:2:logsig y:1:purelin", "u>h@1 h>g g>y y>h@1", "y")),
    Case("multi-rate", lambda: declare("u:1", "q:2:tanh s:3:logistic", "u>q u>s@6 q>q@1 s>s@4 q>s@4 s>q@6", "s q")),
    Case("idle-layers", lambda: declare("u:1", "x:2:tanh y:1:tanh z:2:tanh",
                                        "u>y u>x@2 x>x@1 y>x z>z@1 z>y@2", "y"), idle=True),
    # What reaches no output must have a finite difference of exactly zero, not one of rounding errors.
    Case("idle-behind-a-loop", lambda: declare("u:3", "e:1:linear! f:5:radbas a:2:softplus b:3:logistic!",
                                               "e>e@5 e>f@1,3,4 b>b@1", "b e"), steps=4, idle=True),
    Case("instant-web", lambda: declare("u:2", "d:2:tanh c:3:radbas b:2:tanh a:2:linear",
                                        "u>d d>c d>b@0,1 c>b c>a b>a d>a a>d@2 a>b@3", "a c")),
    Case("loops-in-series", lambda: declare("u:1", "z:2:tanh y:2:logistic x:1:linear",
                                            "u>z z>z@1,2 z>y@0,3 y>y@2 y>x@4 z>x x>x@1", "x z")),
    Case("no-parameters", lambda: declare("", "y:2:logistic!", "", "y"), batch=(), steps=3),
    Case("diagonal-self-loop", lambda: declare("u:3", "s:3:tanh y:2:linear", "u>s s>s@1,3:diagonal s>y@0,1", "y")),
    Case("identity-through-delays", lambda: declare("u:2 v:1", "a:2:tanh b:2:logistic! c:2:linear",
         "u>a u>b@0,3:identity v>b@2 a>b@1,2:identity b>a@3:identity a>c:identity b>c@0,4:diagonal", "c b"), steps=9),
    Case("elementwise-loop-of-several-steps", lambda: declare("u:2", "a:2:tanh b:2:radbas",
         "u>a@0,1:diagonal a>b@0,2:diagonal b>a@3,5:identity a>a@4:diagonal", "b"), steps=9),
    Case("leaky-elman", lambda: declare("u:2", "h:4:tanh x:4:linear! y:2:linear",
         "u>h x>h@1 h>x:diagonal x>x@1:diagonal x>y", "y")),
    Case("identity-alone", lambda: declare("u:2", "y:2:logistic!", "u>y@0,2:identity y>y@1:identity", "y"), batch=()),
    Case("product-of-three", lambda: declare("u:2 v:3", "h:3:tanh k:3:tanh* y:2:linear",
         "u>h u>k@0,2 v>k:identity h>k@1 h>y k>y", "y k"), batch=(2, 2), steps=5),
    Case("factors-of-zero", zero_factors, steps=6),
    Case("product-in-a-loop", lambda: declare("u:1", "h:2:tanh k:2:logistic* y:1:linear",
         "u>h@0,1 k>h h>k@2 y>k@1,3 h>y@0,1 k>y", "y")),
    Case("product-of-products", lambda: declare("u:2", "a:2:linear* b:2:softmax* c:2:tanh*",
         "u>a a>a@1:diagonal a>b:identity u>b@0,3 c>b@2:identity b>c:diagonal a>c@1", "c a"), steps=6),
    Case("product-of-inputs", lambda: declare("u:2 w:1", "y:3:linear*", "u>y w>y@0,1", "y"), batch=()),
    Case("autonomous-product", lambda: declare("", "x:2:tanh k:2:linear* y:1:linear",
         "x>x@1 y>x@1 x>k@0,1 x>y k>y y>k@2", "y"), steps=6),
    Case("products-of-several-steps", lambda: declare("u:2", "a:2:linear* b:2:tanh",
         "u>a:identity b>a@3,5:diagonal a>b@0,2 b>b@4:identity", "b a"), steps=9),
    Case("lstm", lambda: gated("hidden", 5), steps=4),
    Case("lstm-of-two-layers-with-peepholes", lstm_with_peepholes, steps=5),
    Case("fixed-weights-in-a-loop", lambda: declare("u:2", "x:3:linear h:2:tanh y:1:linear!",
         "u>x@1:fixed x>x@1:fixed x>h@1,2 u>h:fixed h>x x>y:fixed y>h@2", "y")),
    Case("fixed-factors", lambda: declare("u:2", "k:2:tanh* x:2:linear y:1:linear",
         "u>k@0,1:fixed x>k@1:diagonal+fixed y>k@1 k>x:identity u>x x>x@2:diagonal+fixed x>y", "y"), steps=6),
    Case("nothing-trained", lambda: declare("u:1", "y:2:tanh!", "u>y:fixed y>y@1:diagonal+fixed", "y"), steps=4),
    Case("masks", lambda: declare("u:3", "h:3:tanh k:2:linear* y:2:linear",
         "u>h@0,2:mask=101/000/011 h>h@1,2:mask=100/110/001|001/000/100 h>k:mask=010/111 u>k y>h@1 k>y "
         "h>y:mask=000/000", "y")),
    Case("single-neuron", lambda: declare("u:1", "y:1:tanh", "u>y y>y@1", "y")),
]  # fmt: skip
BY_NAME = {case.name: case for case in ZOO}

# Between them: batches, two outputs, skips, gaps, self-loops; no input; a matrix slope; several steps at once;
# diagonal weights and identities, with and without delay; products; masks.
FEW = (
    "awkward",
    "autonomous",
    "softmax-in-a-loop",
    "multi-rate",
    "identity-through-delays",
    "product-in-a-loop",
    "masks",
)


# Every network of the zoo: in each tier, or in the fast one only those four.
EACH_CASE = pytest.mark.parametrize("case", ZOO, ids=str)
FEW_CASES = pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name, marks=deep_unless(case.name in FEW)) for case in ZOO]
)
