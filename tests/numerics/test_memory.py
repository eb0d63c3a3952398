"""The memory that there is, and that nothing is rejected which fits into it."""

import jax
import jax.numpy as jnp
import optax
import pytest

import lddn_jax as lddn
from lddn_jax.numerics import memory

NET = lddn.Network(lddn.models.fir({"u": 1}, {"y": 1}, delays=(0, 1)), init="zeros")
DATA = lddn.Sequences(jnp.ones((50, 1)), jnp.ones((50, 1)))
CALLS = {
    "a network": lambda: lddn.Network(NET.topology, init="zeros"),
    "a simulation": lambda: lddn.predict(NET, DATA.inputs),
    "a delay state": lambda: lddn.zero_state(NET.topology, (20,)),
    "a Jacobian": lambda: lddn.jacobian(NET, DATA),
    "JᵀJ": lambda: lddn.gauss_newton(NET, DATA, lddn.losses.SumSquaredError()),
    "training": lambda: lddn.fit(NET, DATA, lddn.losses.MeanSquaredError(), lddn.Optax(optax.sgd(0.1)), epochs=1),
}
NEEDED = {"a network": 24, "a simulation": 400, "a delay state": 160, "a Jacobian": 1200, "JᵀJ": 144, "training": 48}


@pytest.fixture
def machine(monkeypatch):
    """Sets the memory of the machine in bytes; every need is compared with it."""

    def small(size):
        monkeypatch.setattr(memory, "UNCHECKED_BYTES", 0)
        monkeypatch.setattr(memory, "memory_bytes", lambda device: size)

    return small


@pytest.mark.parametrize("name", CALLS)
def test_what_needs_more_than_there_is_is_rejected(name, machine):
    machine(NEEDED[name] - 1)
    with pytest.raises(lddn.LDDNError, match=r"take .*; this machine has"):
        CALLS[name]()


@pytest.mark.parametrize("name", CALLS)
def test_what_fits_is_not_rejected(name, machine):
    """Only what surely does not fit: a simulation needs its outputs, but may need more."""
    machine(max(NEEDED["a simulation"], NEEDED[name]))
    assert CALLS[name]() is not None


def test_the_second_order_system_is_counted_for_networks_side_by_side(machine):
    def train(restarts):
        trainer = lddn.LevenbergMarquardt(restarts=restarts)
        return lddn.fit(NET, DATA, lddn.losses.MeanSquaredError(), trainer, epochs=1)

    machine(2 * 4 * 3**2 * 8 - 1)
    with pytest.raises(lddn.LDDNError, match="for 4 networks at once, JᵀJ of 3 weights"):
        train(4)
    machine(2 * 4 * 3**2 * 8)
    train(4)


def test_the_memory_of_this_machine_is_known():
    device = jax.devices("cpu")[0]
    found = memory.memory_bytes(device)
    assert found is None or found > 2**28


def test_a_container_has_less_than_its_machine(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("300000000\n")
    (tmp_path / "unlimited").write_text("max\n")
    paths = [str(tmp_path / name) for name in ("memory.max", "unlimited", "absent")]
    monkeypatch.setattr(memory, "_LIMITS", paths)
    assert memory.memory_bytes(jax.devices("cpu")[0]) == 300_000_000


class Device:
    """A device that is not a CPU."""

    platform, device_kind = "gpu", "H200"

    def __init__(self, stats):
        self.stats = stats

    def memory_stats(self):
        return self.stats


def test_a_gpu_tells_its_own_memory(monkeypatch):
    assert memory.memory_bytes(Device({"bytes_limit": 5})) == 5
    assert memory.memory_bytes(Device(None)) is None
    monkeypatch.setattr(memory, "default_device", lambda: Device({"bytes_limit": 2**30}))
    with pytest.raises(lddn.LDDNError, match=r"^it takes? 2 GiB; the H200 has 1 GiB\. Use less\.$"):
        memory.check_memory(2**31, "it", "Use less.")
    monkeypatch.setattr(memory, "default_device", lambda: Device(None))
    memory.check_memory(2**80, "it", "Use less.")


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (2560, "2.5 KiB"), (89 * 2**30, "89 GiB"), (2**90, "1.1e+09 EiB")],
)
def test_sizes_are_shown_in_units(size, words):
    assert memory.in_units(size) == words


def test_a_plan_of_many_layers_takes_no_time():
    """Its cost grows with the number of layers, not with its square."""
    count = 5_000
    names = [f"h{k}" for k in range(count)]
    topology = lddn.Topology(
        [lddn.Input("u", 1)],
        [lddn.Layer(name, 1) for name in names],
        [lddn.Connection(a, b) for a, b in zip(["u", *names], names, strict=False)],
        [names[-1]],
    )
    assert lddn.plan(topology).simulation_order == tuple(names)
