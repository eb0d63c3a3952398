"""Layered Digital Dynamic Networks in JAX: arbitrary delay graphs, verified gradients, identification from data."""

from lddn_jax import callbacks, data, diagnostics, initializers, losses, models, optimizers, plots, transfer
from lddn_jax.data.batches import Sequences
from lddn_jax.data.sequences import windows
from lddn_jax.delays import zero_state
from lddn_jax.errors import (
    CheckpointError,
    DataError,
    LDDNError,
    NumericalError,
    PrecisionError,
    ShapeError,
    TopologyError,
)
from lddn_jax.forecast import Forecast, forecast
from lddn_jax.gradients.api import differentiable, jacobian, value_and_grad
from lddn_jax.gradients.autodiff import Autodiff
from lddn_jax.gradients.base import AbstractGradient
from lddn_jax.gradients.bptt import BPTT
from lddn_jax.gradients.check import GradientReport, check_gradients
from lddn_jax.gradients.choice import choose_jacobian
from lddn_jax.gradients.finite_difference import FiniteDifference
from lddn_jax.gradients.gauss_newton import GaussNewton, gauss_newton
from lddn_jax.gradients.rtrl import RTRL
from lddn_jax.gradients.sensitivity import SensitivityBPTT
from lddn_jax.identify import Identified, identify
from lddn_jax.io import load, save
from lddn_jax.network import Network
from lddn_jax.plan import plan
from lddn_jax.prediction import HorizonProfile, horizon_profile, k_step
from lddn_jax.report import Report, report
from lddn_jax.rewiring import add_delay, carry_over, close_loop, open_loop, remove_delay
from lddn_jax.scaled import Scaled
from lddn_jax.selection import Selection, compare_narx
from lddn_jax.settings import Settings
from lddn_jax.simulate import Trajectory, predict, simulate
from lddn_jax.streaming import step
from lddn_jax.topology import Connection, Input, Layer, Topology, TopologyWarning
from lddn_jax.training.adaptation import Adapted, Adapter, adapt
from lddn_jax.training.base import AbstractTrainer
from lddn_jax.training.bayesian import BayesianRegularization
from lddn_jax.training.closed_loop import ClosedLoop, fit_closed_loop
from lddn_jax.training.comparison import Comparison, compare
from lddn_jax.training.error_bars import Prediction
from lddn_jax.training.first_order import Optax
from lddn_jax.training.fit import fit
from lddn_jax.training.fitted import Fitted
from lddn_jax.training.free_run import diverged_at
from lddn_jax.training.initial_state import estimate_state
from lddn_jax.training.least_squares import LeastSquares, levenberg_marquardt
from lddn_jax.training.levenberg_marquardt import LevenbergMarquardt
from lddn_jax.training.outcome import StopReason
from lddn_jax.training.posterior import Posterior, posterior
from lddn_jax.training.pruning import Pruned, prune
from lddn_jax.training.relevance import Relevance, relevance
from lddn_jax.training.training_state import TrainingState

__version__ = "0.1.0"

__all__ = [
    "BPTT",
    "RTRL",
    "AbstractGradient",
    "AbstractTrainer",
    "Adapted",
    "Adapter",
    "Autodiff",
    "BayesianRegularization",
    "CheckpointError",
    "ClosedLoop",
    "Comparison",
    "Connection",
    "DataError",
    "FiniteDifference",
    "Fitted",
    "Forecast",
    "GaussNewton",
    "GradientReport",
    "HorizonProfile",
    "Identified",
    "Input",
    "LDDNError",
    "Layer",
    "LeastSquares",
    "LevenbergMarquardt",
    "Network",
    "NumericalError",
    "Optax",
    "Posterior",
    "PrecisionError",
    "Prediction",
    "Pruned",
    "Relevance",
    "Report",
    "Scaled",
    "Selection",
    "SensitivityBPTT",
    "Sequences",
    "Settings",
    "ShapeError",
    "StopReason",
    "Topology",
    "TopologyError",
    "TopologyWarning",
    "TrainingState",
    "Trajectory",
    "adapt",
    "add_delay",
    "callbacks",
    "carry_over",
    "check_gradients",
    "choose_jacobian",
    "close_loop",
    "compare",
    "compare_narx",
    "data",
    "diagnostics",
    "differentiable",
    "diverged_at",
    "estimate_state",
    "fit",
    "fit_closed_loop",
    "forecast",
    "gauss_newton",
    "horizon_profile",
    "identify",
    "initializers",
    "jacobian",
    "k_step",
    "levenberg_marquardt",
    "load",
    "losses",
    "models",
    "open_loop",
    "optimizers",
    "plan",
    "plots",
    "posterior",
    "predict",
    "prune",
    "relevance",
    "remove_delay",
    "report",
    "save",
    "simulate",
    "step",
    "transfer",
    "value_and_grad",
    "windows",
    "zero_state",
]
