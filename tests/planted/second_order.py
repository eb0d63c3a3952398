"""Mistakes in what Gauss-Newton methods are made of: JᵀJ, a damped step, the evidence."""

from planting import alter, caught_by

from lddn_jax.bayesian import groups
from lddn_jax.bayesian.bayesian import BayesianRegularization
from lddn_jax.bayesian.evidence import Spectrum, re_estimate
from lddn_jax.bayesian.posterior import Posterior
from lddn_jax.bayesian.relevance import relevance
from lddn_jax.gradients.gauss_newton import GaussNewton, _groups, _sums, sums
from lddn_jax.trainers import damping
from lddn_jax.trainers.damped import AbstractDamped

# --- JᵀJ, summed over the record --------------------------------------------------------------------------------------


@caught_by("test_gauss_newton.py::test_streamed_is_dense[softmax-in-a-loop-RTRL]")
def mean_over_sequences(monkeypatch):
    """JᵀJ, Jᵀe and eᵀe are averaged over sequences."""
    right = "one_at_a_time(one)(net, loss, inputs, targets, state, weights)"
    alter(monkeypatch, sums, right, f"jax.tree.map(lambda x: x / math.prod(batch_axes(inputs, state)), {right})")


@caught_by("test_gauss_newton.py::test_groups_of_sequences_that_do_not_fill_up")
def sequence_counted_twice(monkeypatch):
    """What fills the last group of sequences up counts once more."""
    alter(monkeypatch, _groups, "jnp.zeros((*value.shape[:-1], missing), value.dtype)", "value[..., :missing]")


@caught_by("test_gauss_newton.py::test_streamed_is_dense[softmax-in-a-loop-RTRL]")
def error_weight_without_its_square_root(monkeypatch):
    """Rows of J are multiplied by w, residuals by √w."""
    alter(monkeypatch, _sums, "_scaled(-weight[..., None], ", "_scaled(-(weight**2)[..., None], ")


@caught_by("test_gauss_newton.py::test_streamed_is_dense[softmax-in-a-loop-RTRL]")
def mask_ignored_in_the_jacobian(monkeypatch):
    """A missing target is no residual, and has its row of J all the same."""
    alter(monkeypatch, _sums, "_scaled(-weight[..., None], ", "_scaled(-jnp.where(weight == 0, 1, weight)[..., None], ")


@caught_by("test_levenberg_marquardt.py::test_decay_adds_residuals[cholesky]")
def weight_decay_without_its_residuals(monkeypatch):
    """Weight decay adds to JᵀJ, and nothing to Jᵀe."""
    alter(monkeypatch, GaussNewton.with_decay, "self.JTe + decay * x", "self.JTe")


# --- a damped step ----------------------------------------------------------------------------------------------------


@caught_by("test_levenberg_marquardt.py::test_failures_raise_the_damping_until_a_step_helps[textbook]")
def damping_lowered_after_a_failure(monkeypatch):
    """μ falls after a rejected step too."""
    alter(monkeypatch, damping.textbook, "mu * settings.mu_inc", "mu * settings.mu_dec")


@caught_by("test_levenberg_marquardt.py::test_failures_raise_the_damping_until_a_step_helps[nielsen]")
def nan_accepted(monkeypatch):
    """A step is taken unless F is larger after it, which NaN is not."""
    alter(monkeypatch, damping.damped_step, "finite & (there < value)", "~(there >= value)")


@caught_by("test_levenberg_marquardt.py::test_nielsens_schedule_follows_its_equation[0.25-1.125]")
def nielsens_cube_squared(monkeypatch):
    """(2ρ − 1)² for (2ρ − 1)³: μ falls after a step that gained less than half of what it promised."""
    alter(monkeypatch, damping.nielsen, "** 3", "** 2")


@caught_by("test_levenberg_marquardt.py::test_a_linear_problem_gains_what_a_step_promises")
def promised_gain_with_a_wrong_sign(monkeypatch):
    """δᵀ(μ D² δ + Jᵀe) for δᵀ(μ D² δ − Jᵀe)."""
    alter(monkeypatch, damping.damped_step, "* step - normal.JTe)", "* step + normal.JTe)")


@caught_by("test_levenberg_marquardt.py::test_restarts_start_apart")
def one_key_for_all_restarts(monkeypatch):
    """All restarts but the first start from the same weights."""
    right = "jax.random.split(key, self.restarts - 1)"
    alter(monkeypatch, AbstractDamped.starts, right, "[key] * (self.restarts - 1)")


# --- Bayesian regularization ------------------------------------------------------------------------------------------

RE_ESTIMATE = "test_bayesian.py::test_a_re_estimate_is_that_of_the_network_reached"


@caught_by(RE_ESTIMATE)
def damping_in_gamma(monkeypatch):
    """γ is that of JᵀJ + μI, the matrix that the step was computed with."""
    right = "Spectrum.of(found, old, groups)"
    alter(monkeypatch, BayesianRegularization.step, right, "Spectrum.of(found.with_decay(x, state.mu), old, groups)")


@caught_by(RE_ESTIMATE)
def gamma_of_the_data_alone(monkeypatch):
    """γ is the rank of JᵀJ, as if there were no prior."""
    alter(monkeypatch, Spectrum.gamma, "self.s / (1 + self.s)", "jnp.sign(self.s)")


@caught_by(RE_ESTIMATE)
def alpha_from_the_errors(monkeypatch):
    """α = γ / 2E_D, the sum of squares that belongs to β."""
    alter(monkeypatch, re_estimate, "jnp.maximum(E_W, tiny)", "jnp.maximum(E_D, tiny)")


@caught_by("test_evidence.py::test_the_covariance_is_the_inverse_of_the_hessian[delay]")
def damping_in_the_covariance(monkeypatch):
    """The posterior is computed from JᵀJ + μI."""
    right = "_curvature(found, net.ravel()[0]"
    wrong = "_curvature(found.with_decay(net.ravel()[0], jnp.asarray(5e-3)), net.ravel()[0]"
    alter(monkeypatch, Posterior.at, right, wrong)


@caught_by("test_evidence.py::test_the_covariance_is_the_inverse_of_the_hessian[all]")
def half_the_hessian(monkeypatch):
    """The covariance is (β JᵀJ + A)⁻¹: F has no ½, so its Hessian is twice that."""
    alter(monkeypatch, Spectrum.whitened, "jnp.sqrt(2 * (1 + self.s))", "jnp.sqrt(1 + self.s)")


@caught_by("test_evidence.py::test_the_evidence_is_the_density_of_the_data[all]")
def evidence_without_error_weights(monkeypatch):
    """Σ log w is missing in the evidence."""
    alter(monkeypatch, Spectrum.log_evidence, " + counts.log_weights", "")


@caught_by("test_evidence.py::test_groups_follow_the_order_of_parameters[loops-in-series-delay]")
def groups_in_the_order_of_declaration(monkeypatch):
    """Parameters are numbered as connections were declared, and not as `net.ravel()` has them."""
    right = "assemble(topology, IW, LW, b).parameter_arrays()"
    alter(monkeypatch, groups._flat, right, "[*IW.values(), *LW.values(), *b.values()]")


@caught_by("test_posterior.py::test_a_loop_that_is_closed_keeps_the_covariance_of_each_pair_of_weights")
def covariance_left_in_its_old_order(monkeypatch):
    """A loop is closed, and weights get the variances of others."""
    alter(monkeypatch, Posterior._moved, "self.root[order]", "self.root")


@caught_by("test_relevance.py::test_what_is_determined_is_gamma_of_each_tap")
def half_the_share_of_the_prior(monkeypatch):
    """γ/P = 1 − α (H⁻¹)_ii, so that even what the prior alone determines counts half."""
    alter(monkeypatch, relevance, "2 * alpha * np.sum", "alpha * np.sum")


@caught_by("test_flat_prior.py::test_a_linear_layer_is_the_closed_form[two have none-cholesky]")
def excluded_parameters_not_counted(monkeypatch):
    """γ counts parameters that have a prior only, so that the noise is underestimated."""
    alter(monkeypatch, Spectrum.gamma, "found, self.flat.rank)", "found, 0 * self.flat.rank)")


@caught_by("test_flat_prior.py::test_no_prior_is_the_limit_of_a_wide_one")
def volume_of_the_flat_prior_forgotten(monkeypatch):
    """The evidence is that of the parameters with a prior, the others being known."""
    alter(monkeypatch, Spectrum.log_evidence, "found + self.flat.log_evidence", "found")


@caught_by("test_flat_prior.py::test_a_linear_layer_is_the_closed_form[all have a prior-cholesky]")
def pull_to_zero(monkeypatch):
    """Steps pull to zero, and E_W counts from the mean of the prior."""
    alter(monkeypatch, BayesianRegularization.step, "before.with_decay(off(x), decay)", "before.with_decay(x, decay)")
