"""Choice of the cheaper method for a Jacobian: forward (RTRL) or backward from each output (BPTT).

    RTRL      2 N² P T                  N recurrent outputs read through a delay, P parameters, T steps
    adjoint   2 n_y T M (N² + P)        n_y outputs, M lags that a row goes back: T for the full Jacobian

in floating-point operations for one sequence. Forward is cheaper for long records, backward for short records of large
networks.
"""

from dataclasses import dataclass

from lddn_jax.gradients.bptt import BPTT
from lddn_jax.gradients.columns import Columns
from lddn_jax.gradients.method import AbstractGradient
from lddn_jax.gradients.rtrl import RTRL
from lddn_jax.topology.plan import plan
from lddn_jax.topology.topology import Topology, check_topology


@dataclass(frozen=True)
class Choice:
    """A method for a Jacobian, with the costs that decided.

    Attributes:
        method: `RTRL()` or `BPTT()`, whichever costs less.
        costs: Floating-point operations for one sequence, by the method's name.
    """

    method: AbstractGradient
    costs: dict[str, float]

    def __str__(self):
        other = next(cost for name, cost in self.costs.items() if name != self.method.name)
        return f"{self.method.name}: {self.costs[self.method.name]:.2g} operations a sequence, against {other:.2g}"


def choose_jacobian(topology: Topology, steps: int) -> Choice:
    """Returns the cheaper method for the Jacobian of a network; `lddn.jacobian(..., method="auto")` uses it.

    Args:
        topology: The topology of the network.
        steps: Number of time steps.

    Example:
        >>> import lddn_jax as lddn
        >>> elman = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("h", 64)],
        ...                       [lddn.Connection("u", "h"), lddn.Connection("h", "h", (1,))], ["h"])
        >>> print(lddn.choose_jacobian(elman, steps=1000))
        RTRL: 3.5e+10 operations a sequence, against 1.1e+12
        >>> print(lddn.choose_jacobian(elman, steps=10))
        BPTT: 1.1e+08 operations a sequence, against 3.5e+08
    """
    check_topology(topology, "choose_jacobian(topology, steps)")
    recurrent = {source for block in plan(topology).blocks for (_, source), _ in block.delayed}
    crossing = sum(topology.sizes[name] for name in recurrent)
    outputs = sum(topology.sizes[name] for name in topology.outputs)
    parameters = Columns.reaching(topology, with_state=False).count
    methods = RTRL(), BPTT()
    costs = (
        2.0 * crossing**2 * parameters * steps,
        2.0 * outputs * steps * steps * (crossing**2 + parameters),
    )
    cheaper = methods[0] if costs[0] <= costs[1] else methods[1]
    return Choice(cheaper, {method.name: cost for method, cost in zip(methods, costs, strict=True)})
