"""How long do a value and its gradient take, by every method, and by what a user would write without this package?"""

from benchmarks import harness

if __name__ == "__main__":
    parser = harness.arguments(__doc__)
    what = "of torch,numpy,methods: what to measure beside (default none)"
    parser.add_argument("--peers", type=harness.some_of("torch", "numpy", "methods"), default=[], help=what)
    parser.add_argument("--float64", action="store_true", help="double precision")
    options = parser.parse_args()
    harness.pin(options.cores)

import jax
import jax.numpy as jnp

import lddn_jax as lddn
from benchmarks import peers, peers_lstm
from benchmarks.networks import STANDARD

LARGEST = 2**30  # bytes; a method that would store more is left out


def stored(method: lddn.AbstractGradient, net: lddn.Network, data: lddn.Sequences) -> int:
    """Returns the bytes that a method stores for all time steps: S^{u,m}, or ∂n/∂x."""
    sizes = [layer.size for layer in net.topology.layers]
    each = net.parameter_count * sum(sizes) if isinstance(method, lddn.RTRL) else sum(sizes) ** 2
    return data.batch[0] * data.steps * each * jnp.dtype(net.dtype).itemsize


def contenders(net, data, others: list[str]) -> dict[str, peers.Peer | peers.Program]:
    """Returns the contenders; BPTT comes first, because tables divide by it."""
    found = {method.name: peers.hand_written(net, data, method) for method in (lddn.BPTT(), lddn.Autodiff())}
    if "methods" in others:
        affordable = [m for m in (lddn.SensitivityBPTT(), lddn.RTRL()) if stored(m, net, data) <= LARGEST]
        found |= {m.name: peers.hand_written(net, data, m) for m in affordable}
    gated = peers_lstm.is_lstm(net.topology)
    found["plain scan"] = (peers_lstm if gated else peers).plain_scan(net, data)
    if "torch" in others:
        from benchmarks import peers_torch

        if gated:
            found["torch.nn.LSTM"] = peers_torch.nn_lstm(net, data)
        elif peers_torch.is_elman(net.topology):
            found["torch.nn.RNN"] = peers_torch.nn_rnn(net, data)
        else:
            found["torch step loop"] = peers_torch.step_loop(net, data)
    if "numpy" in others and not gated:
        from benchmarks import peers_numpy

        found["NumPy step loop"] = peers_numpy.step_loop(net, data)
        if stored(lddn.SensitivityBPTT(), net, data) <= LARGEST:
            found["NumPy textbook"] = peers_numpy.textbook_loop(net, data)
    return found


def main(options) -> None:
    jax.config.update("jax_enable_x64", options.float64)
    dtype, tolerance = (jnp.float64, 1e-9) if options.float64 else (jnp.float32, 2e-3)
    rows = []
    for case in STANDARD:
        if options.only not in case.name:
            continue
        net, data = case.draw(dtype)
        found = contenders(net, data, options.peers)
        times = harness.compare({name: peer.run for name, peer in found.items()}, options.rounds)
        peers.agree(found, tolerance)  # after timing, so that the first call measured is the one that compiles
        rows.append({"case": case.name, "dtype": jnp.dtype(dtype).name, "seconds": times})
        print(harness.line(case.name, times), flush=True)
    if options.name:
        print(f"wrote {harness.write(options.name, __doc__, options.cores, rows)}")


if __name__ == "__main__":
    main(options)
