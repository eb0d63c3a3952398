"""What is saved comes back, and what is damaged is rejected."""

import json
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from altered import rewrite

import lddn_jax as lddn

TOPOLOGY = lddn.Topology(
    [lddn.Input("u", 2)],
    [lddn.Layer("hidden", 3, bias=False), lddn.Layer("y", 1, "linear")],
    [lddn.Connection("u", "hidden", (0, 2)), lddn.Connection("y", "hidden", (1,)), lddn.Connection("hidden", "y")],
    ["y"],
)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=["float32", "float64"])
def test_a_network_comes_back_bit_for_bit(tmp_path, dtype):
    net = lddn.Network(TOPOLOGY, key=jax.random.key(0), dtype=dtype)
    lddn.save(tmp_path / "net.npz", net)
    again = lddn.load(tmp_path / "net.npz")
    assert again.topology == net.topology
    assert again.topology.layers == net.topology.layers  # the order of declaration too
    assert again.dtype == dtype
    assert jax.tree.structure(again) == jax.tree.structure(net)
    jax.tree.map(np.testing.assert_array_equal, again, net)


def test_the_header_is_json_and_nothing_is_pickled(tmp_path):
    lddn.save(tmp_path / "net.npz", lddn.Network(TOPOLOGY, init="zeros"))
    with np.load(tmp_path / "net.npz", allow_pickle=False) as file:
        header = json.loads(bytes(file["header"]))
    assert header["topology"] == TOPOLOGY.to_dict()
    assert header["dtype"] == "float64"


def test_zip_tools_open_it(tmp_path):
    lddn.save(tmp_path / "net.npz", lddn.Network(TOPOLOGY, init="zeros"))
    with zipfile.ZipFile(tmp_path / "net.npz") as opened:
        assert opened.testzip() is None
        assert opened.comment.startswith(b"sha256:")


def test_saving_replaces_a_file_whole_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "net.npz"
    lddn.save(path, lddn.Network(TOPOLOGY, init="zeros"))
    net = lddn.Network(TOPOLOGY, key=jax.random.key(1))
    lddn.save(path, net)
    jax.tree.map(np.testing.assert_array_equal, lddn.load(path), net)
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


RECORD = lddn.Sequences(jnp.linspace(-1, 1, 24).reshape(12, 2), jnp.linspace(0, 1, 12).reshape(12, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def values(folder) -> dict[str, object]:
    """A value of each kind; a checkpoint lies in the folder."""
    net, loss = lddn.Network(TOPOLOGY, key=jax.random.key(0)), lddn.losses.MeanSquaredError()
    checkpoints = lddn.callbacks.Checkpoint(folder / "checkpoints", every=1)
    adam = lddn.fit(net, RECORD, loss, lddn.Optax(optax.adam(0.01)), epochs=3, callbacks=[checkpoints])
    br = lddn.fit(net, RECORD, loss, lddn.BayesianRegularization(groups="layer"), epochs=3)
    return {
        "network": net,
        "scaled": lddn.Scaled.fit(net, RECORD),
        "posterior": lddn.posterior(br, RECORD),
        "fitted": adam,
        "bayesian": br,
    }


@pytest.fixture(scope="module")
def originals(values, folder) -> dict[str, Path]:
    """A file of each kind."""
    for name, value in values.items():
        lddn.save(folder / f"{name}.npz", value)
    return {name: folder / f"{name}.npz" for name in values} | {
        "checkpoint": folder / "checkpoints/epoch_000000002.npz"
    }


KINDS = ("network", "scaled", "posterior", "fitted", "bayesian", "checkpoint")
CORRUPTIONS = 40  # of each kind, half of them truncations


@pytest.mark.parametrize("kind", KINDS)
def test_every_corruption_is_rejected(originals, tmp_path, kind):
    """Bits flipped and tails lost at places drawn at random: all of them, so that a single one let through is named."""
    content, draw = originals[kind].read_bytes(), np.random.default_rng(KINDS.index(kind))
    path, accepted = tmp_path / "damaged.npz", []
    for k in range(CORRUPTIONS):
        place = int(draw.integers(len(content)))
        damaged = bytearray(content[:place] if k % 2 else content)
        if k % 2 == 0:
            damaged[place] ^= 1 << int(draw.integers(8))
        path.write_bytes(damaged)
        try:
            lddn.load(path)
        except lddn.CheckpointError as error:
            assert "damaged" in str(error)  # noqa: PT017 - beside those that raise nothing
            assert "damaged.npz" in str(error)  # noqa: PT017
        else:
            accepted.append((place, k))
    assert accepted == []


@pytest.mark.parametrize("place", [0, 10, 14, -1, -64, -71, -72, -74])
def test_dates_and_seals_count_as_well(tmp_path, place):
    """Bytes that no reader of zip looks at, the seal itself, and what says how long it is."""
    path = tmp_path / "net.npz"
    lddn.save(path, lddn.Network(TOPOLOGY, key=jax.random.key(0)))
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(lddn.CheckpointError, match="damaged"):
        lddn.load(path)


def test_bytes_behind_the_end_are_rejected(originals, tmp_path):
    (tmp_path / "net.npz").write_bytes(originals["network"].read_bytes() + b"more")
    with pytest.raises(lddn.CheckpointError, match="damaged"):
        lddn.load(tmp_path / "net.npz")


@pytest.fixture
def saved(originals) -> Path:
    return originals["network"]


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("network", lambda h, a: h.update(format="something else"), "not written by lddn.save"),
        ("network", lambda h, a: h.update(format="lddn_jax of tomorrow"), "unknown format"),
        ("network", lambda h, a: h.update(version=99), "version 99"),
        ("network", lambda h, a: h["topology"]["layers"].pop(), "topology"),
        ("network", lambda h, a: h["topology"]["layers"][0].update(size=4), "does not fit"),
        ("network", lambda h, a: h.pop("topology"), "topology"),
        ("network", lambda h, a: a.popitem(), "instead of"),
        ("scaled", lambda h, a: h["scaling"].pop("u"), "scalers"),
        ("scaled", lambda h, a: h.update(bands={"coverage": 0.9}), "bands and sampling"),
        ("scaled", lambda h, a: h.update(sampling={"sample_time": "often", "decimate": 1}), "bands and sampling"),
        ("posterior", lambda h, a: h.pop("groups"), "groups"),
        ("fitted", lambda h, a: h.pop("reasons"), "its run"),
        ("fitted", lambda h, a: h.update(stop="boredom"), "boredom"),
        ("fitted", lambda h, a: h["trainer"].pop("leaves"), "trainer's state"),
    ],
)
def test_an_altered_file_is_rejected(originals, tmp_path, kind, change, words):
    rewrite(originals[kind], tmp_path / "net.npz", change)
    with pytest.raises(lddn.LDDNError, match=words):
        lddn.load(tmp_path / "net.npz")


@pytest.mark.parametrize("name", ["network", "scaled", "posterior"])
def test_files_of_version_1_are_brought_up_to_date(tmp_path, name):
    """Their parameters are 1/8, 2/8 … in the order of the flat vector; those of the posterior were written down."""
    old = Path(__file__).parent / "fixtures/version_1" / f"{name}.npz"
    found = lddn.load(old)
    net = found if name == "network" else found.net
    if name == "posterior":
        assert float(found.log_evidence) == 4.660383028670811
        np.testing.assert_allclose(found.gamma, [1.98918215, 1.34920703e-03, 1.49183938e-04], rtol=1e-8)
    else:
        assert net.topology == TOPOLOGY
        np.testing.assert_array_equal(net.ravel()[0], np.arange(1, net.parameter_count + 1) / 8)
    lddn.save(tmp_path / "new.npz", found)
    again = lddn.load(tmp_path / "new.npz")
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(again), jax.tree.leaves(found))


def test_a_network_of_version_2_is_brought_up_to_date():
    """Its parameters are 1/8, 2/8 … in the order of the flat vector."""
    net = lddn.load(Path(__file__).parent / "fixtures/version_2/network.npz")
    assert net.topology == TOPOLOGY
    np.testing.assert_array_equal(net.ravel()[0], np.arange(1, net.parameter_count + 1) / 8)


def test_a_damaged_file_of_version_1_is_rejected(tmp_path):
    old = Path(__file__).parent / "fixtures/version_1/network.npz"
    with np.load(old) as file:
        arrays = dict(file)
    np.savez(tmp_path / "net.npz", **(arrays | {"0000": arrays["0000"] + 1}))
    with pytest.raises(lddn.CheckpointError, match="SHA-256"):
        lddn.load(tmp_path / "net.npz")


@pytest.mark.parametrize("kind", ["fitted", "bayesian"])
def test_a_fit_comes_back(values, originals, kind):
    """What is read off it, its network bit for bit, and what can be computed from it."""
    fitted, again = values[kind], lddn.load(originals[kind])
    assert str(again) == str(fitted)
    assert again.to_dict() == fitted.to_dict()
    assert jax.tree.structure(again.net) == jax.tree.structure(fitted.net)
    jax.tree.map(np.testing.assert_array_equal, again.net, fitted.net)
    np.testing.assert_array_equal(again.history["loss"], fitted.history["loss"])
    for mine, other in zip(jax.tree.leaves(again.state), jax.tree.leaves(fitted.state), strict=True):
        np.testing.assert_array_equal(mine, other)
    if kind == "bayesian":
        assert again.state.groups == fitted.state.groups
        evidence = [lddn.posterior(each, RECORD).log_evidence for each in (again, fitted)]
        np.testing.assert_array_equal(*evidence)
    else:
        assert "[0].mu.b['hidden']" not in again.state  # that layer has no bias
        assert sorted(name for name in again.state if "count" in name) == ["[0].count"]


def test_trained_states_come_back(tmp_path):
    data = lddn.Sequences(RECORD.inputs, RECORD.targets, train_state=True)
    net = lddn.Network(TOPOLOGY, key=jax.random.key(0))
    trainer = lddn.LevenbergMarquardt(restarts=2)
    fitted = lddn.fit(net, data, lddn.losses.MeanSquaredError(), trainer, epochs=3)
    lddn.save(tmp_path / "fit.npz", fitted)
    again = lddn.load(tmp_path / "fit.npz")
    assert again.best_restart == fitted.best_restart
    assert again.initial_state.keys() == fitted.initial_state.keys()
    jax.tree.map(np.testing.assert_array_equal, again.initial_state, fitted.initial_state)
    jax.tree.map(np.testing.assert_array_equal, again.restarts, fitted.restarts)


def test_a_checkpoint_holds_the_best_network_so_far(originals):
    again = lddn.load(originals["checkpoint"])
    assert (again.stop_reason, again.success) == ("unfinished", False)
    assert len(again.history["loss"]) == 2
    assert again.best_epoch == int(np.argmin(again.history["loss"]))
    with pytest.raises(lddn.LDDNError, match=r"resume="):
        again.raise_for_status()


def test_other_files_are_rejected(tmp_path):
    (tmp_path / "text.npz").write_text("not an archive")
    np.savez(tmp_path / "arrays.npz", x=np.zeros(3))
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        archive.writestr("header.npy", "nonsense")
    for name in ("text.npz", "arrays.npz", "zip.npz", "absent.npz"):
        with pytest.raises(lddn.CheckpointError, match=name):
            lddn.load(tmp_path / name)


def test_float64_needs_x64(saved):
    with jax.enable_x64(False), pytest.raises(lddn.PrecisionError, match="jax_enable_x64"):
        lddn.load(saved)


def test_a_fit_in_float32_needs_no_x64(tmp_path):
    """Its history is float64 all the same, and stays in NumPy."""
    net = lddn.Network(TOPOLOGY, key=jax.random.key(0), dtype=jnp.float32)
    fitted = lddn.fit(net, RECORD, lddn.losses.MeanSquaredError(), lddn.Optax(optax.sgd(0.01)), epochs=2)
    lddn.save(tmp_path / "fit.npz", fitted)
    with jax.enable_x64(False):
        again = lddn.load(tmp_path / "fit.npz")
    assert again.net.dtype == jnp.float32
    np.testing.assert_array_equal(again.history["loss"], fitted.history["loss"])


@pytest.mark.usefixtures("unchecked")
def test_saving_errors_teach(tmp_path, saved):
    with pytest.raises(lddn.LDDNError, match="Make the folder first"):
        lddn.save(tmp_path / "absent" / "net.npz", lddn.load(saved))
    with pytest.raises(lddn.LDDNError, match=r"fitted\.net"):
        lddn.save(tmp_path / "net.npz", "net")
