"""Files that somebody made on purpose, with a seal that is right: read, they cost no memory and fail in one line."""

import contextlib
import io
import json
import struct
import tracemalloc
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from altered import rewrite

import lddn_jax as lddn
from lddn_jax.storage import archive
from lddn_jax.storage.members import arrays_in
from lddn_jax.storage.strict_json import parsed

TOPOLOGY = lddn.Topology(
    [lddn.Input("u", 1)], [lddn.Layer("y", 1, "linear")], [lddn.Connection("u", "y", (0, 1))], ["y"]
)
DATA = lddn.Sequences(jnp.linspace(-1, 1, 12)[:, None], jnp.linspace(0, 1, 12)[:, None])
KINDS = ("network", "scaled", "posterior", "adam", "bayesian")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A file of each kind."""
    folder, net = tmp_path_factory.mktemp("saved"), lddn.Network(TOPOLOGY, key=jax.random.key(0))
    loss = lddn.losses.MeanSquaredError()
    bayesian = lddn.fit(net, DATA, loss, lddn.BayesianRegularization(), epochs=2)
    values = {
        "network": net,
        "scaled": lddn.Scaled.fit(net, DATA),
        "posterior": lddn.posterior(bayesian, DATA),
        "adam": lddn.fit(net, DATA, loss, lddn.Optax(optax.adam(0.01)), epochs=2),
        "bayesian": bayesian,
    }
    for name, value in values.items():
        lddn.save(folder / f"{name}.npz", value)
    return {name: folder / f"{name}.npz" for name in values}


def sealed(members, compression=zipfile.ZIP_STORED, change=lambda content: content):
    """The bytes of a file of these members, with the seal that they ask for."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as opened:
        for name, content in members:
            opened.writestr(name, content)
    content = change(buffer.getvalue()[:-2] + archive._SEAL_LENGTH.to_bytes(2, "little"))
    return content + archive._seal(content)


def npy(value):
    file = io.BytesIO()
    np.save(file, value, allow_pickle=True)
    return file.getvalue()


def claims(shape, descr="<f8", data=b""):
    """An array that claims to have this shape and dtype."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (64 - (len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def header(**changes):
    whole = {"format": "lddn_jax network", "version": 2, "topology": TOPOLOGY.to_dict(), "dtype": "float64"}
    return npy(np.frombuffer(json.dumps(whole | {"notes": {}} | changes).encode(), np.uint8))


FIRST = ("header.npy", header())
MEMBERS = {
    "a terabyte of zeros": ([FIRST, ("values/0000.npy", claims((10**12,)))], r"claims the shape \(1000000000000,\)"),
    "an empty shape": ([FIRST, ("values/0000.npy", claims((10**12, 0, 5, -1)))], "claims the shape"),
    "a shape of huge numbers": ([FIRST, ("values/0000.npy", claims((10**400,)))], "claims the shape"),
    "more than its shape": ([FIRST, ("values/0000.npy", claims((1,), data=b"0" * 16))], "has 16 bytes"),
    "a text": ([FIRST, ("values/0000.txt", b"text")], "'values/0000.txt' is not an array"),
    "no array": ([FIRST, ("values/0000.npy", b"not an array")], "magic"),
    "an empty part": ([FIRST, ("values/0000.npy", b"")], "damaged"),
    "objects": ([FIRST, ("values/0000.npy", npy(np.array([print], dtype=object)))], "does not hold numbers.*'O'"),
    "strings": ([FIRST, ("values/0000.npy", npy(np.array(["a"])))], "does not hold numbers.*U1"),
    "records": ([FIRST, ("values/0000.npy", claims((1,), [("a", "<f8")], b"0" * 8))], "does not hold numbers"),
    "nested arrays": ([FIRST, ("values/0000.npy", claims((1,), ("<f8", (10**9,)), b"0" * 8))], "damaged"),
    "dates": ([FIRST, ("values/0000.npy", npy(np.array(["2020"], "M8[D]")))], "does not hold numbers"),
    "a header that is code": ([("header.npy", claims("(__import__('os').getpid(),)"))], "damaged"),
    "a header of brackets": ([("header.npy", claims("(" * 5000))], "damaged"),
    "another version of arrays": ([FIRST, ("values/0000.npy", b"\x93NUMPY\x09\x00" + b" " * 90)], r"version \(9, 0\)"),
    "a name twice": ([FIRST, FIRST], "a name occurs twice"),
    "no header": ([("values/0000.npy", npy(np.zeros(2)))], "lacks 'header'"),
    "a header of numbers": ([("header.npy", npy(np.zeros(3)))], "damaged"),
    "nested JSON": (
        [("header.npy", npy(np.frombuffer(b"[" * 100_000, np.uint8)))],
        "nested too deeply",
    ),
    "names twice in JSON": (
        [("header.npy", npy(np.frombuffer(b'{"version": 2, "version": 1}', np.uint8)))],
        "'version' occurs twice",
    ),
    "NaN in JSON": ([("header.npy", npy(np.frombuffer(b'{"version": NaN}', np.uint8)))], "NaN is not a number"),
    "a list": ([("header.npy", npy(np.frombuffer(b"[]", np.uint8)))], "not written by lddn.save"),
    "no notes": ([("header.npy", header(notes=None))], "damaged.*arrays"),
    "a huge topology": (
        [("header.npy", header(topology={**TOPOLOGY.to_dict(), "layers": [{"name": "y", "size": 10**12}]}))],
        "damaged: its topology",
    ),
    "a topology of Infinity": ([("header.npy", header(topology=1e308))], "damaged: its topology"),
    "a dtype of words": ([("header.npy", header(dtype="O"))], "damaged: its topology"),
    "a version of words": ([("header.npy", header(version="2"))], "format version"),
    "a name with dots": ([FIRST, ("../../values/0000.npy", npy(np.zeros(2)))], "does not fit"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("members", "words"), MEMBERS.values(), ids=MEMBERS)
def test_a_file_made_on_purpose_is_rejected(members, words, tmp_path):
    path = tmp_path / "net.npz"
    path.write_bytes(sealed(members))
    with pytest.raises(lddn.CheckpointError, match=rf"(?s)net\.npz.*{words}") as caught:
        lddn.load(path)
    assert len(str(caught.value)) < 700


def test_a_compressed_file_is_rejected_before_it_is_inflated(tmp_path):
    """Half a megabyte that would become 512."""
    path = tmp_path / "net.npz"
    path.write_bytes(sealed([FIRST, ("values/0000.npy", npy(np.zeros(2**22)))], zipfile.ZIP_DEFLATED))
    tracemalloc.start()
    with pytest.raises(lddn.CheckpointError, match="is compressed"):
        lddn.load(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def _larger_by(number):
    """Claims other sizes in the directory at the end of an archive."""

    def change(content):
        start = content.rindex(b"PK\x01\x02")
        return content[: start + 20] + struct.pack("<LL", number, number) + content[start + 28 :]

    return change


@pytest.mark.parametrize("number", [2 * 10**9, 2**32 - 1, 0], ids=["2 GB", "zip64", "nothing"])
def test_sizes_that_are_lies_are_rejected(number, tmp_path):
    path = tmp_path / "net.npz"
    path.write_bytes(sealed([FIRST, ("values/0000.npy", npy(np.zeros(3)))], change=_larger_by(number)))
    with pytest.raises(lddn.CheckpointError, match=r"net\.npz is damaged"):
        lddn.load(path)


def test_parts_that_overlap_are_counted(tmp_path):
    """Many names for the same bytes, a bomb without compression."""
    value = npy(np.zeros(1000))
    one = sealed([("a.npy", value)])[: -archive._SEAL_LENGTH]
    end = one.rindex(b"PK\x05\x06")
    start = one.rindex(b"PK\x01\x02")
    entries = b"".join(one[start : start + 46] + f"{k:05d}"[:1].encode() + one[start + 47 : end] for k in range(10))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 10, 10, len(entries), start, 0)
    with pytest.raises(ValueError, match=r"occurs twice|larger than the file"):
        arrays_in(one[:start] + entries + tail)


CHANGES = {
    "no notes": (KINDS, lambda h, a: h.pop("notes"), "lacks 'notes'"),
    "notes in a list": (KINDS, lambda h, a: h.update(notes=[1]), "arrays"),
    "unknown key": (("adam",), lambda h, a: h["notes"].update({"key/0000": {"key": "rot13"}}), "arrays"),
    "unknown dtype": (("adam",), lambda h, a: h["notes"].update({"trained/0000": {"dtype": "O"}}), "dtype 'O'"),
    "dtype of another size": (
        ("adam",),
        lambda h, a: h["notes"].update({"trained/0000": {"dtype": "bfloat16"}}),
        "'bfloat16'",
    ),
    "no dtype": (KINDS, lambda h, a: h.pop("dtype"), "lacks 'dtype'"),
    "topology of a number": (KINDS, lambda h, a: h.update(topology=3), "topology"),
    "scalers in a list": (("scaled",), lambda h, a: h.update(scaling=[]), "scalers"),
    "groups in words": (("posterior",), lambda h, a: h["groups"].update(members="all"), "groups"),
    "groups of others": (("posterior",), lambda h, a: h["groups"].update(members=[0]), "groups of 1 parameters, not"),
    "groups that are not there": (("posterior",), lambda h, a: h["groups"].update(of_taps=[9, 9, 9]), "groups"),
    "loss with other settings": (("posterior",), lambda h, a: h["loss"].update(delta=1), "groups"),
    "restarts in words": (("adam", "bayesian"), lambda h, a: h.update(restarts="8"), "restarts is '8'"),
    "no restarts": (("adam",), lambda h, a: h.update(restarts=0), "restarts is 0"),
    "a trillion restarts": (("adam",), lambda h, a: h.update(restarts=10**12), "reasons of 1000000000000 networks"),
    "restarts of None": (("adam",), lambda h, a: h.update(restarts=None), "restarts is None"),
    "more epochs than rows": (("adam",), lambda h, a: h.update(epoch=10**9), "2 rows of history after 1000000000"),
    "negative epochs": (("adam",), lambda h, a: h.update(epoch=-1), "epoch is -1"),
    "reasons in a word": (("adam",), lambda h, a: h.update(reasons="x"), "reasons is 'x'"),
    "limits of others": (("adam",), lambda h, a: h.update(limits={"speed": 1}), "limits is"),
    "columns of numbers": (("adam",), lambda h, a: h.update(columns=[1, 2]), "columns is"),
    "identity in a list": (("adam",), lambda h, a: h.update(identity=[]), r"identity is \[\]"),
    "flags of lists": (("adam",), lambda h, a: h.update(flags=[[]]), "flags is"),
    "trainer in a list": (("adam",), lambda h, a: h.update(trainer=[]), "trainer"),
    "leaves of a number": (("adam",), lambda h, a: h["trainer"].update(leaves=3), "trainer"),
    "described in words": (("bayesian",), lambda h, a: h["trainer"].update(described="x"), "trainer"),
    "trained lines of nobody": (("adam",), lambda h, a: h.update({"trained lines": ["x"]}), "damaged|does not fit"),
    "places of nothing": (("adam",), lambda h, a: h.update(non_finite=[{"where": 1}]), "run"),
    "no key": (("adam",), lambda h, a: a.pop("key/0000"), "trainer's state"),
    "history of one number": (("adam",), lambda h, a: a.update({"host/history/0000": np.float64(1)}), "run"),
}


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        pytest.param(kind, change, words, id=f"{name}, {kind}")
        for name, (kinds, change, words) in CHANGES.items()
        for kind in kinds
    ],
)
def test_a_header_made_on_purpose_is_rejected(kind, change, words, originals, tmp_path):
    rewrite(originals[kind], tmp_path / "net.npz", change)
    with pytest.raises(lddn.CheckpointError, match=rf"(?s)net\.npz.*{words}") as caught:
        lddn.load(tmp_path / "net.npz")
    assert len(str(caught.value)) < 700
    if kind in ("adam", "bayesian"):
        with contextlib.suppress(lddn.CheckpointError):  # the network and the trainer are those of the call
            resume(kind, tmp_path / "net.npz")


def resume(kind, path):
    net, loss = lddn.Network(TOPOLOGY, key=jax.random.key(0)), lddn.losses.MeanSquaredError()
    trainer = lddn.BayesianRegularization() if kind == "bayesian" else lddn.Optax(optax.adam(0.01))
    return lddn.fit(net, DATA, loss, trainer, epochs=3, resume=path)


def flipped(content, draw):
    """A file with some bytes changed or its end lost, or those of its parts, and the checksums that belong to it."""
    if draw.random() < 0.7:
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            members = [(name, bytearray(opened.read(name))) for name in opened.namelist()]
        _, data = members[0 if draw.random() < 0.6 else draw.integers(len(members))]
        for _ in range(draw.integers(1, 4)):
            data[draw.integers(len(data))] = draw.choice(list(b'0123456789{}[]",:-eNt\x00\xff'))
        return sealed([(name, bytes(data)) for name, data in members])
    content = bytearray(content[: -archive._SEAL_LENGTH])
    for _ in range(draw.integers(1, 4)):
        place = draw.integers(len(content)) if draw.random() < 0.5 else draw.integers(min(len(content), 1500))
        content[place] = draw.integers(256)
    if draw.random() < 0.3:
        content = content[: draw.integers(2, len(content))]
    return bytes(content) + archive._seal(bytes(content))


def tried(originals, path, number):
    """Loads a damaged file: it works, because only a number has changed, or it is rejected.

    Returns:
        Whether it was rejected.
    """
    kind, draw = KINDS[number % len(KINDS)], np.random.default_rng(number)
    path.write_bytes(flipped(originals[kind].read_bytes(), draw))
    try:
        lddn.load(path)
    except lddn.LDDNError as error:
        message = str(error)
        assert path.name in message
        assert len(message) < 700
        assert message.isprintable()
        return True
    return False


@pytest.mark.filterwarnings("ignore::lddn_jax.TopologyWarning")
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_damage_with_a_right_seal_is_rejected_or_harmless(originals, tmp_path):
    rejected = [tried(originals, tmp_path / "net.npz", number) for number in range(60)]
    assert 10 < sum(rejected) < 60


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore::lddn_jax.TopologyWarning")
@pytest.mark.parametrize("part", range(10))
def test_much_damage_with_a_right_seal_is_rejected_or_harmless(part, originals, tmp_path):
    rejected = [tried(originals, tmp_path / "net.npz", number) for number in range(100 * part, 100 * (part + 1))]
    assert 20 < sum(rejected) < 100


def test_ten_thousand_arrays_come_back_in_order(tmp_path):
    """Their numbers have five digits."""
    values = [np.full(1, float(k)) for k in range(10_050)]
    archive.write_atomically(tmp_path / "many.npz", archive.packed("lddn_jax test", {}, {"values": values}))
    found = archive.read(tmp_path / "many.npz").arrays["values"]
    assert [float(value[0]) for value in found] == list(range(10_050))


def test_devices_are_not_read(tmp_path):
    with pytest.raises(lddn.CheckpointError, match="/dev/zero is not a file"):
        lddn.load("/dev/zero")


def test_json_is_read_strictly():
    assert parsed('{"é": [1, null]}'.encode("utf-16")) == {"é": [1, None]}
    for text in (b"{", b"\xff\xfe\xff", b"1" * 5000, b'{"a": 1, "a": 1}', b"[Infinity]", b"[" * 10**6):
        with pytest.raises(ValueError, match=r"\w") as caught:
            parsed(text)
        assert "\n" not in str(caught.value)
