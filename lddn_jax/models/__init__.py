"""Ready-made topologies: functions from names and sizes of inputs and outputs to a `Topology`.

Most have hidden layers in series, named `hidden`, or `hidden_1`, `hidden_2` … if there are several, and a linear layer
for each output. They differ in their delays and in their feedback; some have gates, and some are blocks in series.
"""

from lddn_jax.models.autoregressive import nar, narx
from lddn_jax.models.block_structured import hammerstein, hammerstein_wiener, wiener, wiener_hammerstein
from lddn_jax.models.delayed import distributed_delay, time_delay
from lddn_jax.models.gated import gru, lstm
from lddn_jax.models.linear_topologies import adaline, fir, linear_state_space
from lddn_jax.models.multiplicative import bilinear, narma_l2
from lddn_jax.models.nonlinear_state_space import state_space
from lddn_jax.models.recurrent import elman, jordan, layer_recurrent
from lddn_jax.models.static import cascade_forward, feedforward
from lddn_jax.network.signals import measured_name

__all__ = [
    "adaline",
    "bilinear",
    "cascade_forward",
    "distributed_delay",
    "elman",
    "feedforward",
    "fir",
    "gru",
    "hammerstein",
    "hammerstein_wiener",
    "jordan",
    "layer_recurrent",
    "linear_state_space",
    "lstm",
    "measured_name",
    "nar",
    "narma_l2",
    "narx",
    "state_space",
    "time_delay",
    "wiener",
    "wiener_hammerstein",
]
