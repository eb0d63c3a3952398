"""What is saved comes back, and what is damaged is refused."""

import json
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def test_saving_replaces_a_file_whole_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "net.npz"
    lddn.save(path, lddn.Network(TOPOLOGY, init="zeros"))
    net = lddn.Network(TOPOLOGY, key=jax.random.key(1))
    lddn.save(path, net)
    jax.tree.map(np.testing.assert_array_equal, lddn.load(path), net)
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "net.npz"
    lddn.save(path, lddn.Network(TOPOLOGY, key=jax.random.key(0)))
    return path


@pytest.mark.parametrize("kept", [0, 1, 40, 400, -30, -1])
def test_a_truncated_file_is_refused(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(lddn.CheckpointError, match=r"net\.npz"):
        lddn.load(saved)


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_is_refused_or_harmless(saved, seed):
    """A flip in a part of the archive that nothing reads (a date, say) may leave the network as it was."""
    net, content = lddn.load(saved), bytearray(saved.read_bytes())
    place = int(np.random.default_rng(seed).integers(len(content)))
    content[place] ^= 1 << (seed % 8)
    saved.write_bytes(content)
    try:
        again = lddn.load(saved)
    except lddn.CheckpointError:
        return
    jax.tree.map(np.testing.assert_array_equal, again, net)


def _rewritten(path, change):
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(bytes(arrays.pop("header")))
    change(header, arrays)
    np.savez(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h, a: h.update(format="something else"), "not a network"),
        (lambda h, a: h.update(version=99), "version 99"),
        (lambda h, a: a.update({"0000": a["0000"] + 1}), "SHA-256"),
        (lambda h, a: h["topology"]["layers"].pop(), "topology"),
        (lambda h, a: h["topology"]["layers"][0].update(size=4), "do not fit"),
        (lambda h, a: h.pop("topology"), "topology"),
    ],
    ids=["format", "version", "values", "layer lost", "layer grown", "topology lost"],
)
def test_an_altered_file_is_refused(saved, change, words):
    _rewritten(saved, change)
    with pytest.raises(lddn.CheckpointError, match=words):
        lddn.load(saved)


def test_other_files_are_refused(tmp_path):
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


@pytest.mark.usefixtures("unchecked")
def test_saving_errors_teach(tmp_path, saved):
    with pytest.raises(lddn.CheckpointError, match="Make the folder first"):
        lddn.save(tmp_path / "absent" / "net.npz", lddn.load(saved))
    with pytest.raises(lddn.CheckpointError, match=r"fitted\.net"):
        lddn.save(tmp_path / "net.npz", "net")
