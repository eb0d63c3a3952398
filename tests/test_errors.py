"""What goes wrong has a kind of its own, whichever call of the public API meets it, and never a bare builtin error."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lddn_jax as lddn
from lddn_jax.__main__ import main
from lddn_jax.data import scaling

TOPOLOGY = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, "linear")], [lddn.Connection("u", "y")], ["y"])
U = np.linspace(-1, 1, 8)[:, None]
DATA = lddn.Sequences(U, 2 * U)
MSE = lddn.losses.MeanSquaredError()


def net() -> lddn.Network:
    return lddn.Network(TOPOLOGY, init="zeros")


def train(rate: float = 0.1, **more) -> lddn.Fitted:
    return lddn.fit(net(), DATA, MSE, lddn.Optax(optax.sgd(rate)), epochs=3, **more)


def tolerant(tolerance):
    return lddn.check_gradients(MSE, net(), DATA, methods=(lddn.BPTT(), lddn.Autodiff()), tolerance=tolerance)


def load_text(folder):
    (folder / "net.npz").write_text("not an archive", encoding="utf-8")
    return lddn.load(folder / "net.npz")


def load_other_run(folder):
    lddn.save(folder / "run.npz", train(0.1))
    return train(0.2, resume=folder / "run.npz")


def in_32_bits(folder):
    with jax.enable_x64(False):
        return lddn.Network(TOPOLOGY, init="zeros", dtype=jnp.float64)


def described(**changes):
    return scaling.from_dict(lddn.data.MinMax.fit(U).to_dict() | changes)


CALLS = {
    "no such layer": (lambda folder: TOPOLOGY.layer("z"), lddn.TopologyError, "no layer 'z'"),
    "declaration that is a list": (
        lambda folder: lddn.Topology.from_dict(json.loads("[]")),
        lddn.TopologyError,
        r"a dict with .*, not \[\]",
    ),
    "input of another shape": (lambda folder: lddn.predict(net(), U.T), lddn.ShapeError, r"\(1, 8\).*swapaxes"),
    "column that a table lacks": (lambda folder: lddn.data.Table({"u": U[:, 0]})["v"], lddn.DataError, "'v'.*has u"),
    "scaler that is a list": (lambda folder: scaling.from_dict(json.loads("[]")), lddn.DataError, "not from list"),
    "scaler of a listed kind": (lambda folder: described(kind=["MinMax"]), lddn.DataError, "no scaler of kind"),
    "scaler of a misspelt kind": (lambda folder: described(kind="MinMx"), lddn.DataError, "Did you mean 'MinMax'"),
    "scaler of words": (lambda folder: described(lowest=["low"]), lddn.DataError, r"lowest is \['low'\].*\[0\.5, 2"),
    "scaler of one number": (lambda folder: described(lowest=1.0), lddn.DataError, "lowest is 1.0.*a list of numbers"),
    "scaler of a ragged list": (lambda folder: described(lowest=[[1.0], []]), lddn.DataError, "a list of numbers"),
    "scaler of no dtype": (lambda folder: described(dtype="flaot"), lddn.DataError, "'flaot'.*'float64'"),
    "scaler of whole numbers": (lambda folder: described(dtype="int64"), lddn.DataError, "'int64'.*'float64'"),
    "float64 in 32 bits": (in_32_bits, lddn.PrecisionError, "jax_enable_x64"),
    "training that explodes": (lambda folder: train(1e200).raise_for_status(), lddn.NumericalError, "NaN|finite"),
    "file of another kind": (load_text, lddn.CheckpointError, "net.npz"),
    "file of another run": (load_other_run, lddn.CheckpointError, r"-0\.1 and is -0\.2"),
    "resume of a number": (lambda folder: train(resume=3), lddn.LDDNError, "resume=3 is not a saved run"),
    "path that is a number": (lambda folder: lddn.load(3), lddn.LDDNError, r"path is 3.*load\(path\)"),
    "file in no folder": (
        lambda folder: lddn.save(folder / "absent/net.npz", net()),
        lddn.LDDNError,
        "Make the folder first",
    ),
    "what cannot be saved": (lambda folder: lddn.save(folder / "net.npz", U), lddn.LDDNError, "not a ndarray"),
    "folder that is a file": (
        lambda folder: train(callbacks=[lddn.callbacks.Checkpoint(__file__)]),
        lddn.LDDNError,
        "test_errors.py could not be written: a file of this name.*choose another",
    ),
    "tolerance of another dtype": (
        lambda folder: tolerant({"float32": 1e-3}),
        lddn.LDDNError,
        r"has no entry for float64; write tolerance=\{'float64'",
    ),
    "tolerance in words": (lambda folder: tolerant("small"), lddn.LDDNError, "tolerance='small' must be a positive"),
    "negative tolerance": (lambda folder: tolerant(-1.0), lddn.LDDNError, r"tolerance=-1\.0 must be a positive number"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "kind", "words"), CALLS.values(), ids=CALLS)
def test_the_kind_fits(tmp_path, call, kind, words):
    with pytest.raises(lddn.LDDNError, match=f"(?s){words}") as caught:
        call(tmp_path)
    assert type(caught.value) is kind


def test_a_history_is_a_mapping_all_the_same():
    """What it does not hold is a `DataError` that `in` and `get` take for a `KeyError`."""
    history = train().history
    with pytest.raises(lddn.DataError, match=r"^'los' was not recorded; recorded are .*Did you mean 'loss'\?$"):
        history["los"]
    assert "los" not in history
    assert history.get("los") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "a topology must be a dict"),
        ("{}", "lacks the key 'inputs'"),
        ('{"inputs": 3, "layers": [], "connections": [], "outputs": []}', "inputs is 3"),
        ('{"inputs": [], "layers": [{"name": "y", "size": "1"}], "connections": [], "outputs": ["y"]}', "'y' is '1'"),
    ],
)
def test_a_malformed_topology_file_is_told_on_the_command_line(tmp_path, capsys, text, words):
    (tmp_path / "topology.json").write_text(text, encoding="utf-8")
    assert main(["check", str(tmp_path / "topology.json")]) == 2
    assert words in capsys.readouterr().err
