"""Topologies, networks, their weights and their wiring."""

import jax.numpy as jnp
import numpy as np
from declarations import declaration

import lddn_jax as lddn
from lddn_jax import Connection, Input, Layer, Topology, TopologyError

IN, OUT = Input("u", 1), Layer("y", 1, "linear")


def spoiled(**changes):
    return lambda k: Topology(**declaration(**changes))


def connected(*connections):
    return spoiled(connections=[*declaration()["connections"], *connections])


def single(transfer):
    return Topology([IN], [Layer("h", 1), Layer("y", 1, transfer)], [Connection("u", "h"), Connection("h", "y")], ["y"])


TOPOLOGIES = {
    "unknown source": (connected(Connection("curent", "position")), r"'curent'.*Did you mean 'current'"),
    "unknown target": (connected(Connection("current", "positoin")), r"'positoin'.*Did you mean 'position'"),
    "zero-delay loop": (connected(Connection("position", "hidden")), r"hidden -> position -> hidden.*delays=\(1,\)"),
    "an input is fed": (connected(Connection("hidden", "current", (1,))), r"hidden -> current.*must lead to a layer"),
    "name given twice": (spoiled(inputs=[Input("hidden", 1)]), r"'hidden' is used twice.*'hidden_2'"),
    "pair connected twice": (connected(Connection("measured", "hidden", (4,))), r"'measured' -> 'hidden'.*\(1, 2, 4\)"),
    "negative delay": (lambda k: Connection("u", "y", (-1,)), r"'u' -> 'y' is -1.*at least 0"),
    "delay as a float": (lambda k: Connection("u", "y", (1.0,)), r"'u' -> 'y' is 1\.0.*whole number"),
    "repeated delay": (lambda k: Connection("u", "y", (1, 1)), r"\(1, 1\).*Write delays=\(1,\)"),
    "delays out of order": (lambda k: Connection("u", "y", (2, 1)), r"\(2, 1\).*Write delays=\(1, 2\)"),
    "a bare delay": (lambda k: Connection("u", "y", 3), r"delays=3.*Write delays=\(3,\)"),
    "no output": (spoiled(outputs=[]), r"no outputs.*outputs=\['position'\]"),
    "output as a bare name": (spoiled(outputs="position"), r"outputs='position'.*outputs=\['position'\]"),
    "unknown output": (spoiled(outputs=["positon"]), r"'positon'.*Did you mean 'position'"),
    "input as output": (spoiled(outputs=["current"]), r"'current' is an input.*\['hidden', 'position'\]"),
    "no neurons": (lambda k: Layer("hidden", 0), r"'hidden' is 0.*at least 1"),
    "size in words": (lambda k: Layer("hidden", "ten"), r"'hidden' is 'ten'.*whole number"),
    "transfer as a function": (lambda k: Layer("hidden", 3, jnp.tanh), r"'hidden'.*lddn\.transfer\.register"),
    "layers and inputs swapped": (
        lambda k: Topology([OUT], [IN], [], ["y"]),
        r"inputs holds Layer.*needs Input objects",
    ),
    "connection as a pair": (
        spoiled(connections=[("current", "hidden")]),
        r"\('current', 'hidden'\).*Connection objects",
    ),
    "misspelt key": (lambda k: Topology.from_dict({"layer": []}), r"no key 'layer'.*Did you mean 'layers'"),
    "unknown layer": (lambda k: k.topology.layer("hiden"), r"'hiden'.*Did you mean 'hidden'"),
    "delays of no connection": (
        lambda k: k.topology.with_delays("u", "y", (1,)),
        r"no connection 'u' -> 'y'; there are",
    ),
    "connected already": (
        lambda k: k.topology.with_connection("u", "hidden"),
        r"'u' -> 'hidden' exists already.*with_delays",
    ),
    "layer by its name": (lambda k: k.topology.with_layer("extra"), r"'extra'.*Layer\('extra', "),
    "only output removed": (lambda k: k.topology.without_layer("y"), r"'y' is the only output.*outputs=\[\.\.\.\]"),
    "names without sizes": (lambda k: lddn.models.narx(["u"], ["y"]), r"\['u'\].*\{'u': 1\}"),
    "sizes of outputs without names": (lambda k: lddn.models.fir({"u": 1}, 1), r"outputs=1.*\{'y': 1\}"),
    "feedback without delay": (
        lambda k: lddn.models.narx({"u": 1}, {"y": 1}, feedback_delays=(0, 1)),
        r"feedback_delays=\(0, 1\).*\(1,\)",
    ),
    "number of delays": (
        lambda k: lddn.models.narx({"u": 1}, {"y": 1}, feedback_delays=2),
        r"feedback_delays=2.*\(1, 2\)",
    ),
    "a bare input delay": (
        lambda k: lddn.models.narx({"u": 1}, {"y": 1}, input_delays=1),
        r"input_delays=1 .*input_delays=\(1,\)",
    ),
    "delays not nested": (
        lambda k: lddn.models.distributed_delay({"u": 1}, {"y": 1}, delays=(1, 2)),
        r"delays of a layer=1 .*\(1,\)",
    ),
    "hidden size in words": (lambda k: lddn.models.narx({"u": 1}, {"y": 1}, hidden="10"), r"'10'.*whole number"),
    "no hidden neuron": (lambda k: lddn.models.elman({"u": 1}, {"y": 1}, hidden=0), r"'hidden' is 0.*at least 1"),
    "transfer function taken": (lambda k: lddn.transfer.register("tansig", jnp.tanh), r"'tansig' is taken"),
    "transfer function no function": (lambda k: lddn.transfer.register("cube", "n**3"), r"'n\*\*3'.*register\('cube'"),
}
NETWORKS = {
    "misspelt transfer function": (
        lambda k: lddn.Network(single("tahn"), key=k.key),
        TopologyError,
        r"'tahn'.*Did you mean 'tanh'",
    ),
    "no key": (lambda k: lddn.Network(k.topology), TopologyError, r"key=jax\.random\.key\(0\).*init='zeros'"),
    "seed for a key": (lambda k: lddn.Network(k.topology, key=7), TopologyError, r"key=7 .*jax\.random\.key\(7\)"),
    "array for a key": (
        lambda k: lddn.Network(k.topology, key=np.array([0.5])),
        TopologyError,
        r"key=.*0\.5.*jax\.random\.key\(0\)",
    ),
    "misspelt initializer": (
        lambda k: lddn.Network(k.topology, key=k.key, init="nguyen_widrow"),
        TopologyError,
        r"'nguyen_widrow'.*Did you mean 'nguyen-widrow'",
    ),
    "whole numbers for weights": (
        lambda k: lddn.Network(k.topology, key=k.key, dtype=int),
        lddn.PrecisionError,
        r"dtype=int.*jnp\.float32 or jnp\.float64",
    ),
    "misspelt dtype": (
        lambda k: lddn.Network(k.topology, key=k.key, dtype="flaot32"),
        lddn.PrecisionError,
        r"'flaot32'.*jnp\.float32 or jnp\.float64",
    ),
    "declaration as a dict": (
        lambda k: lddn.Network(k.topology.to_dict(), key=k.key),
        TopologyError,
        r"dict, but Network\(topology.*Topology\.from_dict",
    ),
    "a network of a network": (
        lambda k: lddn.Network(k.net, key=k.key),
        TopologyError,
        r"is Network, but Network\(topology.*net\.topology",
    ),
    "weights of no connection": (
        lambda k: k.net.with_weights(LW={("y", "hiden"): np.ones((1, 1, 3))}),
        lddn.ShapeError,
        r"LW\[\('y', 'hiden'\)\] does not exist.*\('y', 'hidden'\)",
    ),
    "weights by one name": (
        lambda k: k.net.with_weights(IW={"u": np.ones((2, 3, 1))}),
        lddn.ShapeError,
        r"IW\['u'\] does not exist.*\('hidden', 'u'\)",
    ),
    "weights as an array": (
        lambda k: k.net.with_weights(b=np.ones(3)),
        lddn.ShapeError,
        r"b is ndarray.*\{'hidden': ",
    ),
    "weights transposed": (
        lambda k: k.net.with_weights(LW={("y", "hidden"): np.ones((1, 3, 1))}),
        lddn.ShapeError,
        r"\('y', 'hidden'\).*\(1, 3, 1\).*\(1, 1, 3\) \(delay, to, from\)",
    ),
    "bias of another size": (
        lambda k: k.net.with_weights(b={"hidden": np.ones(2)}),
        lddn.ShapeError,
        r"b\['hidden'\].*\(2,\) was given, \(3,\) is needed",
    ),
    "complex weights": (
        lambda k: k.net.with_weights(b={"hidden": np.ones(3) * 1j}),
        lddn.DataError,
        r"b\['hidden'\] holds complex128.*real numbers",
    ),
    "weights in words": (
        lambda k: k.net.with_weights(b={"hidden": ["a", "b", "c"]}),
        lddn.DataError,
        r"b\['hidden'\] holds <U1.*real numbers",
    ),
}
WIRING = {
    "unknown measured input": (
        lambda k: lddn.close_loop(k.net, "y", "measured"),
        r"no input 'measured'.*'measured_y'",
    ),
    "output and input swapped": (
        lambda k: lddn.close_loop(k.net, "measured_y", "y"),
        r"'measured_y' is an input.*close_loop\(net, output='y', input='measured_y'\)",
    ),
    "unknown output": (lambda k: lddn.close_loop(k.net, "z", "measured_y"), r"no layer 'z'.*\['hidden', 'y'\]"),
    "sizes that differ": (
        lambda k: lddn.close_loop(k.net, "hidden", "measured_y"),
        r"'hidden' has 3.*'measured_y' has 1",
    ),
    "loop of a topology": (
        lambda k: lddn.close_loop(k.topology, "y", "measured_y"),
        r"net is Topology, but close_loop.*lddn\.Network\(topology",
    ),
    "name of an open loop taken": (lambda k: lddn.open_loop(k.closed, "y", "u"), r"'u' is taken.*'u_measured'"),
    "nothing to open": (lambda k: lddn.open_loop(k.net, "y", "measured"), r"'y' feeds \[\].*name some"),
    "open loop of unknown targets": (
        lambda k: lddn.open_loop(k.closed, "y", "measured", to="hiden"),
        r"\['hidden'\].*\['hiden'\]",
    ),
    "more steps than delays": (lambda k: lddn.remove_delay(k.net, 2), r"delay of 1; 2 later.*remove_delay\(net, 1\)"),
    "half a step": (lambda k: lddn.add_delay(k.net, 0.5), r"add_delay.*0\.5.*whole number"),
    "nothing to shift": (lambda k: lddn.add_delay(k.autonomous), r"add_delay: the network has no inputs.*open_loop"),
    "carried to a network": (lambda k: lddn.carry_over(k.net, k.closed), r"is Network, but carry_over.*net\.topology"),
    "carried from a topology": (
        lambda k: lddn.carry_over(k.topology, k.topology),
        r"net is Topology, but carry_over.*lddn\.Network\(topology",
    ),
    "plan of a network": (lambda k: lddn.plan(k.net), r"is Network, but plan\(topology.*net\.topology"),
    "state of a network": (lambda k: lddn.zero_state(k.net), r"is Network, but zero_state\(topology.*net\.topology"),
    "cost of a network": (
        lambda k: lddn.choose_jacobian(k.net, 10),
        r"is Network, but choose_jacobian\(topology.*net\.topology",
    ),
}


def rows():
    yield from ((f"topology: {name}", (call, TopologyError, words)) for name, (call, words) in TOPOLOGIES.items())
    yield from ((f"network: {name}", row) for name, row in NETWORKS.items())
    yield from ((f"wiring: {name}", (call, lddn.LDDNError, words)) for name, (call, words) in WIRING.items())
