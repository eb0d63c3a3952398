"""Check of the gradient methods on the closed loop of an experiment.

The methods are compared on a few steps at the start of the longest training record. RTRL, automatic differentiation and
finite differences take long to compile for many connections, and finite differences simulate the network four times for
each parameter. So for large networks only the two backward recursions are compared, and the report names the methods
that were left out.
"""

from dataclasses import replace

from lddn_jax.gradients.bptt import BPTT
from lddn_jax.gradients.gradient_report import METHODS, GradientReport, check_gradients
from lddn_jax.gradients.sensitivity import SensitivityBPTT
from lddn_jax.identification.experiment import Experiment
from lddn_jax.losses import MeanSquaredError
from lddn_jax.network.network import Network
from lddn_jax.network.rewiring import closed_over

MOST_TIME_STEPS = 40  # in two windows side by side
MOST_CONNECTIONS = 20  # for all methods
MOST_PARAMETER_STEPS = 40_000  # parameters × time steps, for all methods
BACKWARD_METHODS = (BPTT(), SensitivityBPTT())


def check_closed_loop(net: Network, experiment: Experiment) -> GradientReport:
    """Compares the gradient methods on the network with its loop closed.

    Args:
        net: The network with its loop open.
        experiment: The experiment; its training part is used.

    Returns:
        A `GradientReport`, whose `left_out` names the methods that were left out for a large network.
    """
    closed = closed_over(net, experiment.loops)
    longest = max(experiment.scaled_train, key=len)
    count = min(MOST_TIME_STEPS, len(longest) - experiment.held)
    few = experiment.cut([longest.piece(0, experiment.held + count)], max(1, count // 2), closed.topology)
    reason = _too_large(closed, count)
    if reason is None:
        return check_gradients(MeanSquaredError(), closed, few)
    left_out = {method.name: reason for method in METHODS if method not in BACKWARD_METHODS}
    return replace(check_gradients(MeanSquaredError(), closed, few, BACKWARD_METHODS), left_out=left_out)


def _too_large(net: Network, steps: int) -> str | None:
    """Returns the reason not to compare all methods; None if the network is small enough."""
    connections, parameter_steps = len(net.topology.connections), net.parameter_count * steps
    if connections > MOST_CONNECTIONS:
        return f"{connections} connections are more than {MOST_CONNECTIONS}"
    if parameter_steps > MOST_PARAMETER_STEPS:
        return (
            f"{net.parameter_count} parameters × {steps} time steps are {parameter_steps}, more than "
            f"{MOST_PARAMETER_STEPS}"
        )
    return None
