"""Networks, records and files for wrong calls to misuse: made before anything is counted, nothing of it trained."""

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax

import lddn_jax as lddn
from lddn_jax import Connection, Layer, Topology
from lddn_jax.bayesian.evidence import Counts, Strengths
from lddn_jax.bayesian.groups import Groups
from lddn_jax.training.history import History


def kit(folder: Path) -> SimpleNamespace:
    """Everything that rows ask for, by short names; files lie in `folder`."""
    rng = np.random.default_rng(0)
    key = jax.random.key(0)
    u, y = rng.normal(size=(2, 30, 1))
    topology = lddn.models.narx({"u": 1}, {"y": 1}, hidden=3)
    net = lddn.Network(topology, key=key)
    inputs = {"u": u, "measured_y": y}
    data = lddn.Sequences(inputs, y)
    loop = Topology([], [Layer("y", 1)], [Connection("y", "y", (1,))], ["y"])
    minmax, narrow, pair = (lddn.data.MinMax.fit(x) for x in (y, u, rng.normal(size=(9, 2))))
    scaled = lddn.Scaled(net, {"u": minmax, "measured_y": minmax, "y": minmax})
    records = [lddn.data.Record({"u": u}, {"y": y}, name=name) for name in ("monday", "tuesday")]
    return SimpleNamespace(
        key=key,
        u=u,
        y=y,
        inputs=inputs,
        state={"u": np.ones((2, 1)), "measured_y": np.ones((2, 1))},
        data=data,
        topology=topology,
        net=net,
        closed=lddn.close_loop(net, "y", "measured_y"),
        fir=lddn.Network(lddn.models.fir({"u": 1}, {"y": 1}, delays=(0,)), key=key),
        autonomous=lddn.Network(loop, key=key),
        mse=lddn.losses.MeanSquaredError(),
        adam=lddn.Optax(optax.adam(0.1)),
        lm=lddn.LevenbergMarquardt(),
        minmax=minmax,
        narrow=narrow,
        pair=pair,
        scaled=scaled,
        record=records[0],
        records=records,
        table=lddn.data.Table({"time": np.arange(30.0), "u": u[:, 0], "y": y[:, 0]}),
        fitted=lddn.Fitted(
            net=net, state=None, history=History({"loss": []}), stop_reason=lddn.StopReason.EPOCHS, best_epoch=1
        ),
        posterior=posterior(net, data),
        dataless=posterior(net, None),
        folder=folder,
        **written_files(folder, u, y, net, scaled),
    )


def posterior(net: lddn.Network, data: lddn.Sequences | None) -> lddn.Posterior:
    """One that nobody computed."""
    one, each, root = jnp.ones(()), jnp.ones(1), jnp.eye(net.parameter_count)
    numbers = (Strengths(each, one), each, one, one, each, Counts(one, one, one), root)
    return lddn.Posterior(net, *numbers, lddn.losses.SumSquaredError(), data, Groups.of(net.topology, "all"))


def written_files(folder: Path, u: np.ndarray, y: np.ndarray, net: lddn.Network, scaled) -> dict[str, Path]:
    """Records, models and topologies as files, most of them with something wrong."""

    def written(name, text):
        (folder / name).write_text(text, encoding="utf-8")
        return folder / name

    def declared(name, first, *connections):
        layers = [{"name": "A", "size": 1, "transfer": first}, {"name": "B", "size": 1}]
        parts = [{"source": source, "to": to} for source, to in connections]
        return written(name, json.dumps({"inputs": [], "layers": layers, "connections": parts, "outputs": ["B"]}))

    lddn.data.Table({"time": np.arange(30.0), "u": u[:, 0], "y": y[:, 0]}).to_csv(folder / "record.csv")
    lddn.save(folder / "bare.npz", net)
    lddn.save(folder / "model.npz", scaled)
    np.savez(folder / "arrays.npz", x=u)
    return {
        "csv": folder / "record.csv",
        "bare": folder / "bare.npz",
        "model": folder / "model.npz",
        "arrays": folder / "arrays.npz",
        "gap": written("gap.csv", "u,y\n1,1\n2,2\n,3\n4,4\n"),
        "words": written("words.csv", "u,y\n1,1\n2,low\n"),
        "empty": written("empty.csv", ""),
        "other": written("other.csv", "v,y\n" + "1,2\n" * 30),
        "loop": declared("loop.json", "tanh", ("A", "B"), ("B", "A")),
        "misspelt": declared("misspelt.json", "tahn", ("A", "B")),
    }
