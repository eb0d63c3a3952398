"""Sizes, seeds and topologies beyond every machine, and JSON that only Python's reader would take."""

import json

import jax
import numpy as np

import lddn_jax as lddn
from lddn_jax import Connection, Input, Layer, LDDNError, Topology, TopologyError

FIT = "fit {csv} --inputs u --targets y --out {folder}/out"
LINES = {
    "a trillion neurons": (f"{FIT} --hidden 1000000000000", "--hidden: '1000000000000' is not.*to 2147483647"),
    "neurons of many digits": (f"{FIT} --hidden {'9' * 5000}", "--hidden: '999.*…9+' is not a whole number from 0"),
    "a trillion restarts": (f"{FIT} --restarts 1000000000000", "--restarts: '1000000000000' is not.*up to 2147483647"),
    "epochs of many digits": (f"{FIT} --epochs {10**30}", "--epochs: '10+' is not.*up to 2147483647"),
    "seed of 31 digits": (f"{FIT} --seed {10**30 + 7}", "--seed: '10+7' is not a whole number of at most 18 digits"),
    "seed of the plant": (f"maglev --seed {10**30}", "--seed: '10+' is not a whole number of at most 18 digits"),
    "seed of a comparison": (f"compare {{csv}} --targets y --seed {10**30}", "--seed: '10+' is not a whole number"),
    "seed of a check": (f"check {{trillion}} --seed {10**30}", "--seed: '10+' is not a whole number"),
    "seed in words": (f"{FIT} --seed one", "--seed: 'one' is not a whole number of at most 18 digits"),
    "a trillion steps back": (f"{FIT} --delays 1,1000000000000", "--delays: '1,1000000000000' is not whole numbers"),
    "fed back from far": (f"{FIT} --feedback 1000000000000", "--feedback: '1000000000000' is not whole numbers"),
    "a billion steps back": (f"{FIT} --delays 1000000000", "only 21 would belong to train.*1000000001"),
    "rate beyond all numbers": (f"{FIT} --learning-rate 1e400", "--learning-rate: '1e400' is not a positive number"),
    "warm-up of many digits": (f"{FIT} --warmup {10**20}", "--warmup: '10+' is not a whole number from 0 to"),
    "horizon of many digits": (f"{FIT} --horizons {10**20}", "--horizons: '10+' is not numbers such as"),
    "a trillion steps of the plant": ("maglev --steps 1000000000000", "--steps: '1000000000000' is not.*2147483647"),
    "sizes to compare": ("compare {csv} --targets y --hidden 1 1000000000000", "--hidden: '1000000000000' is not"),
    "check of a trillion neurons": ("check {trillion}", "size of layer 'y' is 1000000000000; it must be at most"),
    "check of a number of 401 digits": ("check {digits}", "size of layer 'y' is a whole number of 401 digits"),
    "check of a number that Python does not read": ("check {unreadable}", "unreadable.json is not JSON.*4300 digits"),
    "check of a far delay": ("check {far}", "delay of connection 'u' -> 'y' is 1000000000000000; it must be at most"),
    "check of many layers": ("check {many}", "the topology has 100002 inputs and layers; at most 100000"),
    "check of lists in lists": ("check {nested}", "nested.json is not JSON of a topology: it is nested too deeply"),
    "check of dicts in dicts": ("check {deeper}", "deeper.json is not JSON of a topology: it is nested too deeply"),
    "check of a name twice": ("check {twice}", "the name 'outputs' occurs twice in one object"),
    "check of NaN": ("check {nan}", "NaN is not a number of JSON"),
    "check of Infinity": ("check {infinity}", "Infinity is not a number of JSON"),
    "check of truth as a size": ("check {truth}", "size of layer 'y' is True; it must be a whole number"),
    "check of half a letter": ("check {half}", r"name of an input is '\\ud800', with a letter that no file can hold"),
    "check of bytes": ("check {bytes}", "bytes.json is not JSON of a topology"),
    "check of nothing": ("check {nothing}", "nothing.json is not JSON of a topology: Expecting value"),
    "check of many steps": ("check {small} --steps 2000000000 --batch 2000", "2,000,000,000 steps take.*machine has"),
}
HUGE = 2**31 - 1


def huge(k, **changed):
    """A network of which only shapes and dtypes exist: none could hold its weights."""
    topology = lddn.models.narx({"u": 1}, {"y": 1}, **({"hidden": 10**6} | changed))
    return jax.eval_shape(lambda: lddn.Network(topology, init="zeros"))


TOPOLOGIES = {
    "a trillion neurons": (lambda k: Layer("y", 10**12), r"'y' is 1000000000000; it must be at most 2147483647"),
    "a number of 401 digits": (lambda k: Layer("y", 10**400), r"'y' is a whole number of 401 digits"),
    "a number of 5001 digits": (lambda k: Input("u", -(10**5000)), r"'u' is a whole number of 5001 digits"),
    "a far delay": (lambda k: Connection("u", "y", (0, 10**15)), r"'u' -> 'y' is 1000000000000000; it must be at most"),
    "half a letter": (lambda k: Input("\ud800", 1), r"name of an input is '\\ud800'.*Rename it"),
    "NUL": (lambda k: Layer("a\0b", 1), r"name of a layer is 'a\\x00b'.*Rename it"),
    "a name of a book": (lambda k: Layer("n" * 10**6, 1), r"1000000 letters: 'nnn.*…n+'\. Use at most 10000"),
    "a list of itself": (lambda k: Topology.from_dict(itself()), r"must be a dict.*not \[.*\.\.\..*\]"),
    "nested too deeply to be shown": (
        lambda k: Topology.from_dict(nested()),
        r"<list, which cannot be shown: Recursion",
    ),
    "more weights than memory": (
        lambda k: lddn.Network(lddn.models.fir({"u": HUGE}, {"y": HUGE}), key=k.key),
        r"the network has [\d,]+ weights and biases.*machine has.*'y' has 2,147,483,647",
    ),
}


def itself():
    endless: list = [1]
    endless.append(endless)
    return endless


def nested():
    found: list = []
    for _ in range(10**5):
        found = [found]
    return found


CALLS = {
    "seed of 31 digits": (lambda k: lddn.Settings(seed=10**30), r"seed=10+ is not a seed.*seed=1"),
    "seed of a fraction": (lambda k: lddn.Settings(seed=1.5), r"seed=1\.5 is not a seed.*seed=1"),
    "epochs of 31 digits": (lambda k: lddn.Settings(epochs=10**30), r"epochs=10+ must be.*at most 2147483647"),
    "restarts of 31 digits": (
        lambda k: lddn.LevenbergMarquardt(restarts=10**30),
        r"restarts=10+ must.*at most 2147483647",
    ),
    "time limit of 400 digits": (lambda k: lddn.callbacks.TimeLimit(10**400), r"seconds=a whole number of 401 digits"),
    "goal of 400 digits": (lambda k: lddn.fit(k.net, k.data, k.mse, k.adam, goal=10**400), r"goal=.*goal=1e-6"),
    "infinite goal": (lambda k: lddn.fit(k.net, k.data, k.mse, k.adam, goal=float("inf")), r"goal=inf.*goal=1e-6"),
    "damping of 400 digits": (lambda k: lddn.LevenbergMarquardt(mu=10**400), r"mu=.*positive"),
    "more networks than memory": (
        lambda k: lddn.fit(huge(k, hidden=300), k.data, k.mse, lddn.LevenbergMarquardt(restarts=HUGE)),
        r"2,147,483,647 networks of 1,801 weights.*machine has.*fewer restarts",
    ),
    "more steps than memory": (
        lambda k: lddn.predict(k.autonomous, None, {"y": np.ones((1, 1))}, steps=10**13),
        r"outputs of 10,000,000,000,000 steps take.*machine has.*shorter pieces",
    ),
    "a plant of many steps": (
        lambda k: lddn.data.maglev(HUGE * 100, k.key),
        r"steps=214748364700 must be.*at most 2147483647",
    ),
    "a state of long delays": (
        lambda k: lddn.zero_state(lddn.models.fir({"u": 9}, {"y": 1}, delays=(0, HUGE)), (999,)),
        r"delay states of 999 sequences, with delays up to 2,147,483,647.*machine has",
    ),
    "JᵀJ beyond memory": (
        lambda k: lddn.gauss_newton(huge(k), k.data, k.mse),
        r"JᵀJ of 6,000,001 weights and biases.*machine has.*fewer neurons",
    ),
    "Levenberg-Marquardt beyond memory": (
        lambda k: lddn.fit(huge(k), k.data, k.mse, lddn.LevenbergMarquardt(restarts=3)),
        r'for 3 networks at once, JᵀJ of 6,000,001 weights.*machine has.*trainer="adam".*restarts=1',
    ),
    "Bayesian regularization beyond memory": (
        lambda k: lddn.fit(huge(k), k.data, k.mse, lddn.BayesianRegularization()),
        r"JᵀJ of 6,000,001 weights.*machine has.*optax\.adam",
    ),
}


def rows():
    yield from ((f"absurd: {name}", (call, TopologyError, words)) for name, (call, words) in TOPOLOGIES.items())
    yield from ((f"absurd: {name}, called", (call, LDDNError, words)) for name, (call, words) in CALLS.items())


def lines():
    yield from ((f"absurd: {name}, typed", row) for name, row in LINES.items())


def files(folder):
    """Topologies in JSON, each with something absurd."""

    def topology(size: object = 1, delays=(0,), name="u", layers=()):
        connected = [{"source": name, "to": "y", "delays": list(delays)}]
        others = [{"name": f"h{k}", "size": 1} for k in layers]
        layers = [{"name": "y", "size": size, "transfer": "linear"}, *others]
        return {"inputs": [{"name": name, "size": 1}], "layers": layers, "connections": connected, "outputs": ["y"]}

    small = json.dumps(topology())
    texts = {
        "small": small,
        "trillion": json.dumps(topology(10**12)),
        "digits": json.dumps(topology(10**400)),
        "unreadable": small.replace('"size": 1', f'"size": {"9" * 5000}'),
        "far": json.dumps(topology(delays=(0, 10**15))),
        "many": json.dumps(topology(layers=range(100_000))),
        "nested": "[" * 10_000,
        "deeper": '{"layers":' * 10_000,
        "twice": small[:-1] + ', "outputs": ["u"]}',
        "nan": json.dumps(topology(float("nan"))),
        "infinity": json.dumps(topology(delays=(float("inf"),))),
        "truth": json.dumps(topology(True)),
        "half": json.dumps(topology(name="\ud800")),
        "nothing": "",
    }
    contents = {name: text.encode() for name, text in texts.items()} | {"bytes": b"\xff\x00\xfe" * 99}
    for name, content in contents.items():
        (folder / f"{name}.json").write_bytes(content)
    return {name: folder / f"{name}.json" for name in contents}
