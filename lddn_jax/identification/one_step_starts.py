"""Starts of a state space from networks that were fitted one step ahead.

A network that reads measured outputs,

    y(t) = L r(t) + W tanh(V r(t) + c) + b        r(t) = [ y(t−1), …, y(t−p), u(t−1), …, u(t−q) ]

is in free run a state space with the states

    x(t) = [ y(t), …, y(t−p+1), u(t−1), …, u(t−q+1) ]

One step ahead it is trained by regression, in seconds, and then as a state space over growing horizons from measured
states (`measured_states`). Where outputs are measured nearly without noise, it is much nearer to the plant than a
linear model; noise makes it biased (Ljung 1999, *System Identification*, section 7.5). So such starts compete with
others by the errors of free runs.

Of the p and q that fit into the number of states, those with the smallest residuals of a linear regression are taken.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from lddn_jax import models
from lddn_jax.data.fold_blocks import Folds
from lddn_jax.data.records import Record
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.starts import FromRecord
from lddn_jax.identification.frames import masked
from lddn_jax.identification.measured_states import count_of_windows, stacked_signals, windows_from_measured_states
from lddn_jax.identification.structures import LinearStarts, Structure
from lddn_jax.linear.network_weights import STATE, state_space_weights
from lddn_jax.linear.pieces import columns_of_signals
from lddn_jax.losses import MeanSquaredError, error_weights
from lddn_jax.network.network import Network, assemble
from lddn_jax.network.signals import Signals
from lddn_jax.numerics.stacked import taken
from lddn_jax.simulation.delays import DelayState
from lddn_jax.topology.topology import Topology
from lddn_jax.trainers.cross_validated import expanded, restarts_of
from lddn_jax.trainers.levenberg_marquardt import LevenbergMarquardt
from lddn_jax.training.fit import fit
from lddn_jax.training.stop_reason import StopReason

HIDDEN, REGRESSORS, OUTPUTS = "hidden", "regressors", "outputs"
STEPS = 60  # one step ahead
HORIZONS, STEPS_OF_A_HORIZON = (0.1, 0.5), 25  # in sequences of the folds
SMALLEST_SINGULAR_VALUE = 1e-8  # of the largest, below which directions are left out of a regression


@dataclasses.dataclass(frozen=True, eq=False)
class OneStepStarts:
    """Networks of the folds that were fitted one step ahead, as state spaces.

    Attributes:
        folds: The folds, in scaled units; records have no gaps.
        drawn: Starts whose hidden weights are taken.
        trained: Whether hidden weights are trained, one step ahead and over horizons; otherwise all others follow by
            linear regression.
    """

    folds: Folds
    drawn: LinearStarts
    trained: bool = True

    @property
    def _inputs(self) -> dict[str, int]:
        return self.folds.records[0].sizes["inputs"]

    @property
    def _outputs(self) -> dict[str, int]:
        return self.folds.records[0].sizes["targets"]

    @property
    def _size_of_inputs(self) -> int:
        return sum(self._inputs.values())

    @property
    def _size_of_outputs(self) -> int:
        return sum(self._outputs.values())

    @functools.cached_property
    def _known_lags(self) -> dict[int, tuple[int, int] | None]:
        return {}

    def lags(self, states: int) -> tuple[int, int] | None:
        """Returns p and q for a number of states; None if it is less than the number of outputs."""
        if states not in self._known_lags:
            outputs, inputs = self._size_of_outputs, self._size_of_inputs
            pairs = [
                (p, 1 + (states - p * outputs) // inputs if inputs else 0) for p in range(1, states // outputs + 1)
            ]
            self._known_lags[states] = min(pairs, key=self._linear_residual, default=None)
        return self._known_lags[states]

    def _linear_residual(self, lags: tuple[int, int]) -> float:
        longest = min(10, min(map(len, self.folds.records)) // 2)  # residuals are compared on the same rows
        X, y = _regression(self.folds.records, lags, longest)
        X = np.column_stack([X, np.ones(len(X))])
        return float(np.sum((y - X @ np.linalg.lstsq(X, y, rcond=SMALLEST_SINGULAR_VALUE)[0]) ** 2))

    def possible(self, structure: Structure) -> bool:
        """Whether a structure has such starts: enough states, and all outputs are measured in every row."""
        gaps = any(np.isnan(y).any() for record in self.folds.records for y in record.targets.values())
        return not gaps and self.lags(structure.states) is not None

    def networks(
        self, structure: Structure, fold: int | None, restarts: int, key: PRNGKeyArray, frame: Structure
    ) -> Network:
        """Returns the networks of a fold, or of all records, to start from, stacked if there are several."""
        nets = self._one_step(structure, fold, restarts, key, frame)
        if self.trained:
            for length in self._horizons(structure, fold):
                nets = self._over_horizon(nets, structure, fold, length, STEPS_OF_A_HORIZON, key).all
        return nets if restarts > 1 else jax.tree.map(lambda leaf: leaf[0], nets)

    def on_everything(
        self,
        structure: Structure,
        restarts: int,
        keep: int,
        steps: int,
        key: PRNGKeyArray,
        frame: Structure,
        callbacks: Sequence[Any] = (),
    ) -> tuple[Network, StopReason]:
        """Returns networks that were trained on all records over growing horizons, stacked, and why training stopped.

        Args:
            structure: The structure, with `one_step`.
            restarts: Number of networks that are trained one step ahead, and for some steps over the first horizon.
            keep: Number of the best of these, which are trained over all horizons.
            steps: Number of steps over each horizon.
            key: Random key.
            frame: The structure that they are trained in.
            callbacks: As in `lddn_jax.fit`.
        """
        nets = self._one_step(structure, None, restarts, key, frame)
        horizons, reason = self._horizons(structure, None), StopReason.EPOCHS
        if keep < restarts:
            first = self._over_horizon(nets, structure, None, horizons[0], min(steps, STEPS), key, callbacks)
            nets, reason = first.best(keep), first.stop_reason
            if reason.cut_short:
                return nets, reason
        for length in horizons:
            done = self._over_horizon(nets, structure, None, length, steps, key, callbacks)
            nets, reason = done.all, done.stop_reason
            if reason.cut_short:
                break
        return nets, reason

    def _one_step(
        self, structure: Structure, fold: int | None, restarts: int, key: PRNGKeyArray, frame: Structure
    ) -> Network:
        """Networks that were fitted one step ahead, as state spaces in the frame, stacked."""
        lags = self._lags_of(structure)
        drawn = self.drawn.networks(structure, fold, restarts, key, frame)
        drawn = drawn if restarts > 1 else expanded(drawn)
        weights = self._hidden_weights(drawn, lags)
        biases = np.asarray(drawn.b[HIDDEN])
        r, y = _regression(self._training(fold), lags, max(lags))
        outer = []
        for V, c in zip(weights, biases, strict=True):
            columns = np.column_stack([np.tanh(r @ V.T + c), r, np.ones(len(r))])
            outer.append(np.linalg.lstsq(columns, y, rcond=SMALLEST_SINGULAR_VALUE)[0].T)
        static = _static(weights, biases, np.stack(outer))
        if self.trained:
            static = self._trained_one_step(static, lags, fold, key)
        return masked(self._as_state_space(static, lags, drawn), structure.sizes, self.drawn.constant)

    def _training(self, fold: int | None) -> list[Record]:
        """The stretches of the records that a fold trains on, or all records."""
        return list(self.folds.records) if fold is None else self.folds.training(fold)

    def _horizons(self, structure: Structure, fold: int | None) -> list[int]:
        """Numbers of steps that windows run free, increasing; the records have at least one window of each."""
        longest = max(map(len, self.folds.records)) if self.folds.piece is None else self.folds.piece
        lags, records = self._lags_of(structure), self._training(fold)
        most = max(map(len, records)) - max(lags)
        return sorted({min(max(round(share * longest), 2), most) for share in HORIZONS})

    def _hidden_weights(self, drawn: Network, lags: tuple[int, int]) -> Float[np.ndarray, "members neurons regressors"]:
        """The weights of the hidden layers of state spaces, by regressor."""
        of_states = np.asarray(drawn.LW[HIDDEN, STATE])[:, 0]
        of_inputs = [np.asarray(drawn.IW[HIDDEN, name])[:, 0] for name in self._inputs]
        outputs, inputs = lags[0] * self._size_of_outputs, max(lags[1] - 1, 0) * self._size_of_inputs
        return np.concatenate(
            [of_states[..., :outputs], *of_inputs, of_states[..., outputs : outputs + inputs]], axis=-1
        )

    def first_states(
        self, structure: Structure, fold: int | None, restarts: int, data: Sequences, frame: Structure
    ) -> DelayState:
        """Returns the first states of all sequences: as if their first measured values had lasted before."""
        p, q = self._lags_of(structure)
        y, u = _first_values(data, list(self._outputs), list(self._inputs))
        states = np.concatenate([np.tile(y, p), np.tile(u, max(q - 1, 0))], axis=1)
        states = np.pad(states, ((0, 0), (0, frame.states - states.shape[1])))[:, None]
        return {STATE: jnp.asarray(states if restarts == 1 else np.broadcast_to(states, (restarts, *states.shape)))}

    def _lags_of(self, structure: Structure) -> tuple[int, int]:
        found = self.lags(structure.states)
        assert found is not None, "as many states as outputs"
        return found

    def _trained_one_step(self, nets: Network, lags: tuple[int, int], fold: int | None, key: PRNGKeyArray) -> Network:
        regressed = []
        for record in self.folds.records:
            first = np.full((max(lags), self._size_of_outputs), np.nan)
            X, y = _regression([record], lags, max(lags))
            inputs = {REGRESSORS: np.pad(X, ((max(lags), 0), (0, 0)))}
            regressed.append(Record(inputs, {OUTPUTS: np.concatenate([first, y])}, missing="mask"))
        folds, start = dataclasses.replace(self.folds, records=tuple(regressed)), FromRecord()
        found = folds.whole(nets.topology, start) if fold is None else folds.data(nets.topology, fold, start)
        return _Trained.of(nets, found.train, STEPS, key).all

    def _over_horizon(
        self,
        nets: Network,
        structure: Structure,
        fold: int | None,
        length: int,
        steps: int,
        key: PRNGKeyArray,
        callbacks: Sequence[Any] = (),
    ) -> "_Trained":
        """State spaces after training on windows of some length."""
        lags, records = self._lags_of(structure), self._training(fold)
        together = [None] if fold is None else range(self.folds.count)  # that share compiled programs
        count = max(count_of_windows(self._training(one), lags, length) for one in together)
        data = windows_from_measured_states(records, lags, nets.topology.sizes[STATE], length, count)
        return _Trained.of(nets, data, steps, key, callbacks)

    def _as_state_space(self, static: Network, lags: tuple[int, int], drawn: Network) -> Network:
        """Stacked state spaces that compute in free run what static networks compute one step ahead."""
        each = [
            self._weights(jax.tree.map(lambda leaf, k=k: np.asarray(leaf[k]), static), lags, drawn.topology)
            for k in range(static.b[OUTPUTS].shape[0])
        ]
        weights = {pair: jnp.asarray(np.stack([w[pair] for w, _ in each])) for pair in each[0][0]}
        biases = {name: jnp.asarray(np.stack([b[name] for _, b in each])) for name in each[0][1]}
        # A hidden layer at the output is as drawn, and has no effect at first.
        weights |= {pair: jnp.zeros_like(w) for pair, w in drawn.LW.items() if pair not in weights and pair[1] != STATE}
        IW, LW = ({pair: weights.get(pair, w) for pair, w in group.items()} for group in (drawn.IW, drawn.LW))
        return assemble(drawn.topology, IW, LW, drawn.b | biases)

    def _weights(self, net: Network, lags: tuple[int, int], frame: Topology) -> tuple[dict, dict]:
        """Weights and biases of one state space."""
        (p, q), m, k = lags, self._size_of_outputs, self._size_of_inputs
        n, at_inputs = frame.sizes[STATE], np.arange(p * m, p * m + k)
        at_states = np.r_[: p * m, p * m + k : p * m + max(q, 1) * k]  # of the regressors; in the order of the states
        given = net.IW[OUTPUTS, REGRESSORS], net.IW[HIDDEN, REGRESSORS], net.LW[OUTPUTS, HIDDEN]
        L, V, W = (np.asarray(w)[0] for w in given)
        A, B, of_hidden = np.zeros((n, n)), np.zeros((n, k)), np.zeros((n, W.shape[1]))
        A[:m, : at_states.size], B[:m], of_hidden[:m] = L[:, at_states], L[:, at_inputs], W
        for lines, size in ((range(m, p * m), m), (range(p * m + k, at_states.size), k)):
            for row in lines:
                A[row, row - size] = 1
        if q > 1:
            B[p * m : p * m + k] = np.eye(k)
        weights = state_space_weights(A, B, np.eye(m, n), np.zeros((m, k)), self._inputs, self._outputs)
        weights[STATE, HIDDEN] = of_hidden[None]
        weights[HIDDEN, STATE] = np.pad(V[:, at_states], ((0, 0), (0, n - at_states.size)))[None]
        for name, columns in columns_of_signals(self._inputs).items():
            weights[HIDDEN, name] = V[None, :, at_inputs[columns]]
        biases = {name: np.zeros(size) for name, size in self._outputs.items()}
        bias = np.pad(net.b[OUTPUTS], (0, n - m))
        return weights, biases | {STATE: bias, HIDDEN: net.b[HIDDEN]}


def _regression(
    records: list[Record] | tuple[Record, ...], lags: tuple[int, int], longest: int
) -> tuple[Float[np.ndarray, "rows regressors"], Float[np.ndarray, "rows outputs"]]:
    """The regressors r(t) and the outputs y(t) of all records, without the first rows of each."""
    X, Y = [], []
    for record in records:
        y, u = stacked_signals(record)
        if len(y) <= longest:
            continue
        lines = [(y, k) for k in range(1, lags[0] + 1)] + [(u, k) for k in range(1, lags[1] + 1)]
        X.append(np.concatenate([line[longest - k : len(line) - k] for line, k in lines], axis=1))
        Y.append(y[longest:])
    return np.concatenate(X), np.concatenate(Y)


@dataclasses.dataclass(frozen=True, eq=False)
class _Trained:
    """Stacked networks after a training, and their losses."""

    all: Network
    losses: Float[np.ndarray, " restarts"]
    stop_reason: StopReason

    @classmethod
    def of(
        cls, nets: Network, data: Sequences, steps: int, key: PRNGKeyArray, callbacks: Sequence[Any] = ()
    ) -> "_Trained":
        restarts = int(jax.tree.leaves(nets)[0].shape[0])
        given = nets if restarts > 1 else jax.tree.map(lambda leaf: leaf[0], nets)
        trainer = LevenbergMarquardt(restarts=restarts)
        fitted = fit(
            given, data, MeanSquaredError(), trainer, epochs=steps, key=key, callbacks=callbacks, progress=False
        )
        every, _ = restarts_of(fitted, np.arange(restarts))
        return cls(every, np.ravel(fitted.restart_values), fitted.stop_reason)

    def best(self, keep: int) -> Network:
        """The networks with the smallest losses."""
        return taken(self.all, np.argsort(self.losses, kind="stable")[:keep])


def _static(
    inner: Float[np.ndarray, "members neurons regressors"],
    bias: Float[np.ndarray, "members neurons"],
    outer: Float[np.ndarray, "members outputs columns"],
) -> Network:
    """Stacked networks without delays, from the weights of the regressors and those of neurons, regressors and 1."""
    neurons, regressors = inner.shape[1:]
    topology = models.cascade_forward({REGRESSORS: regressors}, {OUTPUTS: outer.shape[1]}, hidden=neurons)
    weights = {
        (HIDDEN, REGRESSORS): inner,
        (OUTPUTS, REGRESSORS): outer[..., neurons:-1],
        (OUTPUTS, HIDDEN): outer[..., :neurons],
    }
    arrays = {pair: jnp.asarray(w)[:, None] for pair, w in weights.items()}
    biases = {HIDDEN: jnp.asarray(bias), OUTPUTS: jnp.asarray(outer[..., -1])}
    inputs = {pair: arrays[pair] for pair in topology.delays if pair[1] == REGRESSORS}
    return assemble(topology, inputs, {pair: arrays[pair] for pair in topology.delays if pair[1] == HIDDEN}, biases)


def _first_values(
    data: Sequences, outputs: list[str], inputs: list[str]
) -> tuple[Float[np.ndarray, "sequences outputs"], Float[np.ndarray, "sequences inputs"]]:
    """The first outputs with weight of each sequence, zero if there are none, and the inputs of the same step."""
    targets, signals = cast(Signals, data.targets), cast(Signals, data.inputs or {})
    weights = error_weights(data.weights, targets)
    y, first = [], np.zeros(data.batch[0], int)
    for name in outputs:
        known = np.asarray(weights[name])[..., 0] > 0
        first = known.argmax(axis=1)
        value = np.take_along_axis(np.asarray(targets[name]), first[:, None, None], axis=1)[:, 0]
        y.append(np.where(known.any(axis=1)[:, None], value, 0.0))
    u = [np.take_along_axis(np.asarray(signals[name]), first[:, None, None], axis=1)[:, 0] for name in inputs]
    return np.concatenate(y, axis=1), np.concatenate([np.zeros((len(first), 0)), *u], axis=1)
