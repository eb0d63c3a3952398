"""The posterior of a network's parameters, and error bars of its predictions.

At the most probable parameters x* the posterior is approximated by a Gaussian of covariance H⁻¹, H = 2β JᵀJ + 2A
(Laplace's approximation; exact if outputs are linear in the parameters):

    covariance      H⁻¹
    samples         x* + W z,    W Wᵀ = H⁻¹,    z standard normal
    predictions     var y(t) = g(t) H⁻¹ g(t)ᵀ + 1/(2β),    g(t) = ∂a(t)/∂x through all loops and delays

Samples of whole networks are not linearized, but they rely on the Gaussian far from x*: if many parameters are poorly
determined, the true posterior is a curved valley, most samples lie outside of it, and their spread is too large.

MacKay (1992), Neural Computation 4(3) 448-472.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lddn_jax.bayesian.bayesian import State
from lddn_jax.bayesian.evidence import Counts, Spectrum, Strengths
from lddn_jax.bayesian.groups import Groups
from lddn_jax.checks import check_key, check_positive, expect
from lddn_jax.data.sequences import Sequences
from lddn_jax.errors import LDDNError
from lddn_jax.gradients.gauss_newton import GaussNewton, gauss_newton
from lddn_jax.gradients.method import AbstractGradient
from lddn_jax.gradients.rtrl import RTRL
from lddn_jax.losses import AbstractLeastSquares, SumSquaredError
from lddn_jax.network.network import Network
from lddn_jax.network.rewiring import close_loop, open_loop
from lddn_jax.network.signals import Signals, SignalsLike, StateLike
from lddn_jax.numerics.contraction import einsum
from lddn_jax.numerics.text_table import digits
from lddn_jax.prediction.error_bars import Prediction, spread
from lddn_jax.simulation.simulate import predict, prepare
from lddn_jax.training.fit import Fitted
from lddn_jax.training.trainer import Problem

EVIDENCE_RESOLUTION = 1.0  # shown of log evidence: a difference of 5 is a factor of 150 in probability


class Posterior(eqx.Module):
    """The posterior of a network's parameters in Laplace's approximation; `lddn_jax.posterior` returns it.

    Attributes:
        net: The most probable network.
        strengths: α of each group and β.
        gamma: Effective number of parameters of each group, `(groups,)`.
        log_evidence: log p(D | α, β).
        E_D: Σ e².
        E_W: Σ (x − m)² of each group, `(groups,)`; zero for parameters without a prior.
        counts: Number of residuals, their weights and scale.
        root: W with W Wᵀ = H⁻¹, `(parameters, parameters)`; rows in the order of `net.ravel()`.
        loss: The loss that defines the residuals.
        groups: The parameters of each α.
        data: The `Sequences` it was computed on; None after a loop was closed or opened, or after loading.
        prior_mean: m, the mean of the prior, `(parameters,)`; None for zero.
    """

    net: Network
    strengths: Strengths
    gamma: Float[Array, " groups"]
    log_evidence: Float[Array, ""]
    E_D: Float[Array, ""]
    E_W: Float[Array, " groups"]
    counts: Counts
    root: Float[Array, "parameters directions"]
    loss: AbstractLeastSquares
    data: Sequences | None
    groups: Groups = eqx.field(static=True)
    prior_mean: Float[Array, " parameters"] | None = None

    @classmethod
    def at(
        cls,
        net: Network,
        data: Sequences,
        strengths: Strengths,
        groups: Groups,
        loss: AbstractLeastSquares | None = None,
        method: AbstractGradient | None = None,
        prior_mean: Float[Array, " parameters"] | None = None,
    ) -> "Posterior":
        """Returns the posterior for given α, β and mean of the prior; other arguments as for `lddn_jax.posterior`."""
        loss, method = loss or SumSquaredError(missing="mask"), method or RTRL()
        found = gauss_newton(net, data, loss, method=method)
        problem = Problem.of(loss, net, data, method)
        counts = Counts.of(loss, problem.targets, problem.weights)
        gamma, log_evidence, E_W, root = _curvature(found, net.ravel()[0], prior_mean, counts, strengths, groups)
        return cls(
            net=net,
            strengths=strengths,
            gamma=gamma,
            log_evidence=log_evidence,
            E_D=found.eTe,
            E_W=E_W,
            counts=counts,
            root=root,
            loss=loss,
            data=data,
            prior_mean=prior_mean,
            groups=groups,
        )

    @property
    def covariance(self) -> Float[Array, "parameters parameters"]:
        """H⁻¹, `(parameters, parameters)`, in the order of `net.ravel()` and `net.parameter_names()`."""
        return einsum("pk,qk->pq", self.root, self.root)

    @property
    def noise(self) -> dict[str, Float[Array, ""]]:
        """Standard deviation 1/√(2β) of the noise by output layer, for an error weight of 1."""
        weights = dict(self.loss.output_weights)
        beta = self.strengths.beta
        return {
            name: 1 / jnp.sqrt(2 * beta * jnp.asarray(weights.get(name, 1.0), beta.dtype))
            for name in self.net.topology.outputs
        }

    def sample(self, key: PRNGKeyArray, n: int) -> Network:
        """Samples networks from the posterior.

        Args:
            key: A JAX key.
            n: Number of networks.

        Returns:
            A Network whose arrays have a leading axis of size n, for `jax.vmap`.
        """
        check_key(key, call="posterior.sample(key, n)")
        check_positive("n", n)
        x, unravel = self.net.ravel()
        draws = jax.random.normal(key, (n, x.size), x.dtype)
        return jax.vmap(unravel)(x[None] + einsum("pk,nk->np", self.root, draws))

    def predict(
        self,
        inputs: SignalsLike,
        state: StateLike = None,
        *,
        steps: int | None = None,
        method: AbstractGradient | None = None,
    ) -> Prediction:
        """Returns outputs with error bars, from the Jacobian of the outputs.

        Args:
            inputs: As for `lddn_jax.predict`.
            state: As for `lddn_jax.predict`.
            steps: As for `lddn_jax.predict`.
            method: Gradient method. RTRL, the default, never stores the Jacobian; any other method stores it whole.

        Raises:
            ShapeError: If names or shapes do not fit the topology.
        """
        inputs, state, steps = prepare(self.net, inputs, state, steps)
        mean, parameters = spread(self.net, self.root, inputs, state, steps, method or RTRL())
        return Prediction(mean, parameters, self._noise_like(mean))

    def predict_by_sampling(
        self, key: PRNGKeyArray, n: int, inputs: SignalsLike, state: StateLike = None, *, steps: int | None = None
    ) -> Prediction:
        """Returns mean and standard deviation of the outputs of n networks sampled from the posterior.

        Nothing is linearized, so if both agree the error bars of `predict` can be trusted. If samples spread wider,
        compare with new data by `lddn_jax.diagnostics.coverage`: if the network has more parameters than the data
        determine, most samples fit the record badly. A sample whose free run diverges makes mean and standard
        deviation infinite or NaN.

        Args:
            key: A JAX key.
            n: Number of networks.
            inputs: As for `lddn_jax.predict`.
            state: As for `lddn_jax.predict`.
            steps: As for `lddn_jax.predict`.
        """
        outputs = jax.vmap(lambda net: predict(net, inputs, state, steps=steps))(self.sample(key, n))
        mean = {name: jnp.mean(a, axis=0) for name, a in outputs.items()}
        return Prediction(mean, {name: jnp.std(a, axis=0) for name, a in outputs.items()}, self._noise_like(mean))

    def close_loop(self, output: str, input: str) -> "Posterior":
        """Returns the same posterior for the network with its loop closed; see `lddn_jax.close_loop`.

        Error bars of the free run are then derived from parameters that were trained one step ahead.
        """
        return self._moved(functools.partial(close_loop, output=output, input=input), input, output)

    def open_loop(self, output: str, input: str) -> "Posterior":
        """Returns the same posterior for the network with its loop opened; see `lddn_jax.open_loop`."""
        return self._moved(functools.partial(open_loop, output=output, input=input), output, input)

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers as plain values for `json.dump`, without the covariance."""
        rows = zip(
            self.groups.labels,
            self.groups.sizes.tolist(),
            np.asarray(self.gamma).tolist(),
            np.asarray(self.strengths.alpha).tolist(),
            np.asarray(self.E_W).tolist(),
            strict=True,
        )
        return {
            "log_evidence": float(self.log_evidence),
            "beta": float(self.strengths.beta),
            "noise": {name: float(std) for name, std in self.noise.items()},
            "E_D": float(self.E_D),
            "residuals": int(self.counts.N),
            "parameters": self.net.parameter_count,
            "gamma": float(jnp.sum(self.gamma)),
            "groups": [
                {"group": label, "parameters": size, "gamma": gamma, "alpha": alpha, "E_W": E_W}
                for label, size, gamma, alpha, E_W in rows
            ],
        }

    def __str__(self):
        lines = [
            f"log evidence {digits(float(self.log_evidence), EVIDENCE_RESOLUTION)}, "
            f"{float(jnp.sum(self.gamma)):.2f} of {self.net.parameter_count} parameters effective, "
            f"{int(self.counts.N)} residuals",
            "noise " + ", ".join(f"{name} {float(std):.4g}" for name, std in self.noise.items()),
        ]
        return "\n".join(lines)

    def _noise_like(self, mean: Signals) -> Signals:
        return {name: jnp.full_like(value, self.noise[name]) for name, value in mean.items()}

    def _moved(self, change: Callable[[Network], Network], source: str, new_source: str) -> "Posterior":
        """Applies a change of topology that permutes the weights; numbered weights reveal the permutation."""
        x, unravel = self.net.ravel()
        numbered = unravel(jnp.arange(x.size).astype(x.dtype))
        order = np.asarray(change(numbered).ravel()[0]).astype(int)
        net = change(self.net)
        taps = tuple((to, new_source if s == source else s, d) for to, s, d in self.groups.taps)
        members = tuple(self.groups.members[k] for k in order)
        groups = dataclasses.replace(self.groups, taps=taps, members=members)
        mean = None if self.prior_mean is None else self.prior_mean[order]
        rest = (self.E_D, self.E_W, self.counts, self.root[order], self.loss, None, groups, mean)
        return Posterior(net, self.strengths, self.gamma, self.log_evidence, *rest)


def check_posterior(given: object, call: str) -> None:
    """Raises an LDDNError unless this is a posterior; see `expect`."""
    expect(Posterior, "posterior", given, call, "the result of lddn.posterior(fitted, data)")


@eqx.filter_jit
def _curvature(
    found: GaussNewton,
    x: Float[Array, " parameters"],
    prior_mean: Float[Array, " parameters"] | None,
    counts: Counts,
    strengths: Strengths,
    groups: Groups,
) -> tuple[Float[Array, " groups"], Float[Array, ""], Float[Array, " groups"], Float[Array, "parameters directions"]]:
    """Returns γ, log evidence, E_W and the root of H⁻¹."""
    spectrum, E_W = Spectrum.of(found, strengths, groups), groups.errors(x, prior_mean)
    F = strengths.beta * found.eTe + jnp.sum(strengths.alpha * E_W)
    return spectrum.gamma(groups), spectrum.log_evidence(F, strengths.beta, counts), E_W, spectrum.whitened()


def posterior(
    fitted: Fitted, data: Sequences, *, loss: AbstractLeastSquares | None = None, method: AbstractGradient | None = None
) -> Posterior:
    """Returns Laplace's approximation of the posterior after training by `BayesianRegularization`.

    Args:
        fitted: Result of `fit` with `BayesianRegularization`.
        data: `Sequences` of the training.
        loss: The loss of the training; needed only if it has output weights.
        method: Gradient method; `RTRL()` if None.

    Returns:
        `Posterior`: covariance, samples, predictions with error bars, effective parameters and log evidence.

    Raises:
        LDDNError: If another trainer was used.
        ShapeError: If data do not fit the network.

    Example:
        >>> import jax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear", bias=False)],
        ...                          [lddn.Connection("u", to="y")], ["y"])
        >>> u, noise = jax.random.normal(jax.random.key(0), (2, 100, 1))
        >>> data, net = lddn.Sequences(u, 2 * u + 0.1 * noise), lddn.Network(topology, key=jax.random.key(1))
        >>> trainer = lddn.BayesianRegularization(allow_float32=True)
        >>> fitted = lddn.fit(net, data, lddn.losses.SumSquaredError(), trainer, epochs=20)
        >>> found = lddn.posterior(fitted, data)
        >>> bars = found.predict(jnp.array([[0.0], [1.0]]))
        >>> [round(float(x), 2) for x in (found.gamma[0], bars.parameters["y"][1, 0], bars.noise["y"][1, 0])]
        [1.0, 0.01, 0.1]

    MacKay (1992), Neural Computation 4(3) 448-472.
    """
    expect(Fitted, "fitted", fitted, "posterior(fitted, data)", "the result of lddn.fit")
    if not isinstance(fitted.state, State):
        raise LDDNError(
            f"posterior: the network was trained by another trainer; its state ({type(fitted.state).__name__}) has "
            "no alpha and beta. Train with lddn.fit(net, data, loss, lddn.BayesianRegularization())."
        )
    state = fitted.state
    return Posterior.at(fitted.net, data, state.strengths, state.groups, loss, method, state.prior_mean)
