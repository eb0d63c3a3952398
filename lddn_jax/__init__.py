"""Layered Digital Dynamic Networks in JAX: arbitrary delay graphs, verified gradients, identification from data."""

from lddn_jax import data, diagnostics, linear, losses, models, optimizers, plots
from lddn_jax.bayesian.bayesian import BayesianRegularization
from lddn_jax.bayesian.comparison import Comparison, compare
from lddn_jax.bayesian.posterior import Posterior, posterior
from lddn_jax.bayesian.pruning import Pruned, prune
from lddn_jax.bayesian.relevance import Relevance, relevance
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.windowing import windows
from lddn_jax.errors import (
    CheckpointError,
    DataError,
    LDDNError,
    NumericalError,
    PrecisionError,
    ShapeError,
    TopologyError,
)
from lddn_jax.gradients import accuracy
from lddn_jax.gradients.api import differentiable, jacobian, value_and_grad
from lddn_jax.gradients.autodiff import Autodiff
from lddn_jax.gradients.bptt import BPTT
from lddn_jax.gradients.choice import choose_jacobian
from lddn_jax.gradients.finite_difference import FiniteDifference
from lddn_jax.gradients.gauss_newton import GaussNewton, gauss_newton
from lddn_jax.gradients.gradient_report import GradientReport, check_gradients
from lddn_jax.gradients.method import AbstractAdjoint, AbstractForward, AbstractGradient, AbstractLinearization
from lddn_jax.gradients.rtrl import RTRL
from lddn_jax.gradients.sensitivity import SensitivityBPTT
from lddn_jax.identification.identify import Identified, identify
from lddn_jax.identification.selection import Selection, compare_narx
from lddn_jax.identification.settings import Settings
from lddn_jax.io import load, save
from lddn_jax.linear import equilibrium, linearize
from lddn_jax.losses import AbstractElementwise, AbstractLeastSquares, AbstractLoss
from lddn_jax.network import initializers, transfer
from lddn_jax.network.committee import Committee
from lddn_jax.network.network import Network
from lddn_jax.network.rewiring import add_delay, carry_over, close_loop, open_loop, remove_delay
from lddn_jax.prediction.conformal import ConformalBands
from lddn_jax.prediction.error_bars import Prediction
from lddn_jax.prediction.forecast import forecast
from lddn_jax.prediction.forecast_result import Forecast
from lddn_jax.prediction.free_run import diverged_at
from lddn_jax.prediction.horizons import HorizonProfile, horizon_profile, k_step
from lddn_jax.prediction.scaled import Scaled
from lddn_jax.reporting.report import Report, report
from lddn_jax.simulation.delays import zero_state
from lddn_jax.simulation.simulate import Trajectory, predict, predict_members, simulate
from lddn_jax.simulation.streaming import step
from lddn_jax.topology.plan import plan
from lddn_jax.topology.topology import Connection, Input, Layer, Topology, TopologyWarning
from lddn_jax.trainers.adaptation import Adapted, Adapter, adapt
from lddn_jax.trainers.closed_loop import ClosedLoop, fit_closed_loop
from lddn_jax.trainers.cross_validated import CrossValidated
from lddn_jax.trainers.first_order import Optax
from lddn_jax.trainers.fold_training import fit_folds
from lddn_jax.trainers.initial_state import estimate_state
from lddn_jax.trainers.least_squares import LeastSquares, levenberg_marquardt
from lddn_jax.trainers.levenberg_marquardt import LevenbergMarquardt
from lddn_jax.training import callbacks
from lddn_jax.training.fit import fit
from lddn_jax.training.result import Fitted
from lddn_jax.training.state_registry import register_trainer_state
from lddn_jax.training.stop_reason import StopReason
from lddn_jax.training.trainer import AbstractTrainer, Problem
from lddn_jax.training.training_state import TrainingState

__version__ = "0.1.0"

__all__ = [
    "BPTT",
    "RTRL",
    "AbstractAdjoint",
    "AbstractElementwise",
    "AbstractForward",
    "AbstractGradient",
    "AbstractLeastSquares",
    "AbstractLinearization",
    "AbstractLoss",
    "AbstractTrainer",
    "Adapted",
    "Adapter",
    "Autodiff",
    "BayesianRegularization",
    "CheckpointError",
    "ClosedLoop",
    "Committee",
    "Comparison",
    "ConformalBands",
    "Connection",
    "CrossValidated",
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
    "Problem",
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
    "accuracy",
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
    "equilibrium",
    "estimate_state",
    "fit",
    "fit_closed_loop",
    "fit_folds",
    "forecast",
    "gauss_newton",
    "horizon_profile",
    "identify",
    "initializers",
    "jacobian",
    "k_step",
    "levenberg_marquardt",
    "linear",
    "linearize",
    "load",
    "losses",
    "models",
    "open_loop",
    "optimizers",
    "plan",
    "plots",
    "posterior",
    "predict",
    "predict_members",
    "prune",
    "register_trainer_state",
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
