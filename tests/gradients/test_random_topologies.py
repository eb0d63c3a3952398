"""All gradient methods on random topologies, compared with the complex step of the oracle.

Topology K follows from its number alone: `pytest --topologies 300` compares numbers 0 to 299, `--topology K` one. Each
is a test of its own, drawn by a seeded `random.Random` rather than by hypothesis: every draw is a new topology anyway,
costs seconds of compilation, and has to be told at once when it fails. With `--shrink`, hypothesis looks for a simpler
one.
"""

import functools
import random

import compilation
import hypothesis
from agreement import BY_HAND, METHODS, assert_method_agrees
from hypothesis import strategies as st
from networks import Case, declare

# Functions that are analytic everywhere: a complex step and a finite difference never meet a corner.
ANALYTIC = ("linear", "tanh", "logistic", "softplus", "radbas", "softmax")
NAMES = "efabcd"  # the order of simulation is not that of the alphabet


def drawn(random: random.Random, name: str) -> Case:
    """1–6 layers of 1–5 neurons, 0–2 inputs, delays from {0 … 5}; a zero delay only from an earlier layer.

    Of the layers with several connections some multiply; weights are of all kinds, with masks, and some not trained.
    """

    def some(items, least, most):
        items = list(items)
        return [items.pop(random.randrange(len(items))) for _ in range(random.randint(least, min(most, len(items))))]

    layers = NAMES[: min(random.randint(1, 6), random.randint(2, 6))]  # fewer of the large ones, which take longest
    inputs = "uv"[: random.randint(0, 2)]
    sizes = {name: random.randint(1, 5) for name in inputs + layers}
    connections, read, longest = [], dict.fromkeys(layers, 0), 0
    for k, to in enumerate(layers):
        for source in some(inputs + layers, 0, 3):
            delays = sorted(some(range(0 if source in inputs + layers[:k] else 1, 6), 1, 3))
            words = kind_of_weights(random, sizes[to], sizes[source], len(delays))
            connections.append(f"{source}>{to}@{','.join(map(str, delays))}{':' * bool(words)}{'+'.join(words)}")
            longest, read[to] = max(longest, *delays), read[to] + 1

    def marked(name):
        return "*" if read[name] > 1 and random.random() < 0.4 else random.choice(["", "", "!"])

    notation = (
        " ".join(f"{name}:{sizes[name]}" for name in inputs),
        " ".join(f"{name}:{sizes[name]}:{random.choice(ANALYTIC)}{marked(name)}" for name in layers),
        " ".join(connections),
        " ".join(some(layers, 1, 3)),
    )
    return Case(
        name,
        functools.partial(declare, *notation),
        batch=random.choice([(2,), (), (1, 2)]) if inputs or longest else (),  # else nothing tells of a batch
        steps=random.randint(1, 8),
        idle=True,  # a random topology may well have a part that does nothing
    )


def kind_of_weights(random: random.Random, to: int, from_: int, delays: int) -> list[str]:
    """Returns what the notation says of weights: nothing of half of them, else kind, mask, or that they are fixed."""
    if random.random() < 0.5:
        return []
    kinds = ["mask", "fixed"] + ["diagonal", "identity", "identity", "diagonal+fixed"] * (to == from_)
    kind = random.choice(kinds)
    if kind != "mask":
        return [kind]
    rows = ["/".join("".join(random.choice("01") for _ in range(from_)) for _ in range(to)) for _ in range(delays)]
    return [f"mask={'|'.join(rows if random.random() < 0.5 else rows[:1])}", *random.choice([[], [], ["fixed"]])]


def numbered(number: int) -> Case:
    return drawn(random.Random(f"topology {number}"), f"topology {number}")


def assert_agrees(case: Case, method: str) -> None:
    """As `assert_method_agrees`; what goes wrong also tells which line makes the case."""
    try:
        assert_method_agrees(case, method)
    except Exception as error:
        error.add_note(
            f"{method} on Case({case.name!r}, lambda: declare{case.build.args}, batch={case.batch}, "
            f"steps={case.steps}, idle=True)"
        )
        raise


def compared(number: int) -> list[str]:
    """The methods that topology K is for: each takes a second or two to compile.

    BPTT on every one; the other two written by hand in turn; on every tenth all, with the yardsticks, which see no
    mistake that the oracle does not.
    """
    return list(METHODS) if number % 10 == 0 else ["BPTT", BY_HAND[1 + number % 2]]


def test_all_methods_agree(topology_number, request):
    case = numbered(topology_number)
    for method in compared(topology_number):
        try:
            assert_agrees(case, method)
        except Exception:
            if request.config.getoption("--shrink"):
                fail_on_a_simpler_topology(method)
            raise
    compilation.drop_programs_before_memory_maps_run_out()


def fail_on_a_simpler_topology(method: str) -> None:
    """Raises for the simplest topology that hypothesis finds the method wrong on; for none if it finds none."""

    @hypothesis.settings(phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink], max_examples=100)
    @hypothesis.given(st.randoms(use_true_random=False))
    def agrees(random):
        assert_agrees(drawn(random, "simpler topology"), method)

    agrees()
