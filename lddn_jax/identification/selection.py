"""Structure selection: a grid of sizes and delays of NARX networks, compared by their evidence.

All candidates are trained one step ahead, with the loop open, on the same targets: those after the longest delay of any
candidate. The validation part is not used for training; the error on it serves to check the evidence.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax

from lddn_jax.bayesian.bayesian import BayesianRegularization
from lddn_jax.bayesian.comparison import Comparison, compare
from lddn_jax.checks import expect
from lddn_jax.data.reading import Reading
from lddn_jax.data.records import Record
from lddn_jax.data.sequences import Sequences
from lddn_jax.errors import LDDNError
from lddn_jax.identification.experiment import Experiment, narx_of
from lddn_jax.identification.recipes import diverges_at
from lddn_jax.identification.settings import Settings
from lddn_jax.numerics.precision import computing_in, in_default_float
from lddn_jax.prediction.scaled import Scaled
from lddn_jax.topology.topology import Topology
from lddn_jax.training.result import note_lines
from lddn_jax.training.stop_reason import Flag


@dataclass(frozen=True)
class Selection:
    """Result of `compare_narx`; `print` shows the table.

    Attributes:
        comparison: Candidates with their evidence; errors are in scaled units.
        model: The network with the largest evidence, its loop open, and its scalers.
        notes: Sentences on the data and on `model`, by name of their flag, as in `lddn_jax.Fitted`.
    """

    comparison: Comparison
    model: Scaled
    notes: Mapping[str, str] = field(default_factory=dict)

    def __str__(self):
        table = f"{self.comparison}\n(errors with the loop open, in scaled units)"
        return "\n".join([table, *note_lines(self.notes, self.notes)])


def compare_narx(
    records: Any,
    inputs: Sequence[str],
    targets: Sequence[str],
    *,
    hidden: Sequence[int] = (2, 5, 10),
    input_delays: Sequence[tuple[int, ...]] = ((1, 2),),
    feedback_delays: Sequence[tuple[int, ...]] = ((1, 2),),
    settings: Settings | None = None,
    callbacks: Sequence[Any] = (),
    progress: bool | None = None,
    say: Callable[[str], None] = lambda text: None,
    reading: Reading | None = None,
) -> Selection:
    """Trains a NARX network for each size and set of delays by Bayesian regularization, and compares their evidence.

    Args:
        records: A table, a path, a `Record`, or a list of them.
        inputs: Names of input columns; may be empty.
        targets: Names of the columns to predict.
        hidden: Numbers of hidden neurons.
        input_delays: Sets of delays of the inputs.
        feedback_delays: Sets of delays of the measured targets.
        settings: Other settings. Used are `train`, `validation`, `division`, `missing`, `linear_path`, `init`,
            `restarts`, `groups`, `epochs` (100 if None) and `seed`.
        callbacks: As in `lddn_jax.compare`.
        progress: As in `lddn_jax.fit`.
        say: A function that is called with notes on how files were read.
        reading: How files are read; see `lddn_jax.data.Reading`.

    Returns:
        A `Selection`; the loops of its networks are open.

    Raises:
        DataError: If columns are missing or hold NaN, or the record is too short.
        TopologyError: If a size or a set of delays gives an invalid topology.

    Example:
        >>> import numpy as np, lddn_jax as lddn
        >>> u = np.random.default_rng(0).normal(size=200)
        >>> table = lddn.data.Table({"u": u, "y": np.roll(u, 2)})
        >>> settings = lddn.Settings(restarts=1, epochs=20)
        >>> found = lddn.compare_narx(table, ["u"], ["y"], hidden=[1], input_delays=[(1,), (2,)], settings=settings)
        >>> found.comparison.best.name
        '1 hidden, input delays 2, feedback delays 1,2'

    MacKay (1992), Neural Computation 4(3) 448-472, section 3.
    """
    settings = Settings() if settings is None else settings
    needed = "lddn.Settings(seed=1), for example"
    expect(Settings, "settings", settings, "compare_narx(records, inputs, targets, settings=...)", needed)
    if not isinstance(hidden, Sequence):
        raise LDDNError(f"compare_narx: hidden={hidden!r} is not a list of sizes; write hidden=({hidden!r},).")
    for name, sets in (("input_delays", input_delays), ("feedback_delays", feedback_delays)):
        if not isinstance(sets, Sequence) or not all(isinstance(delays, Sequence) for delays in sets):
            one = (sets,) if isinstance(sets, int) else sets
            raise LDDNError(f"compare_narx: {name}={sets!r} is not a list of sets of delays; write {name}=({one!r},).")
    with computing_in("float64"):  # which Bayesian regularization needs
        choices = [
            replace(settings, trainer="br", dtype=None, hidden=size, input_delays=delays, feedback_delays=feedback)
            for size, delays, feedback in itertools.product(hidden, input_delays, feedback_delays)
        ]
        # The union of all delays makes the records long enough for each candidate.
        every = replace(choices[0], input_delays=_union(input_delays), feedback_delays=_union(feedback_delays))
        experiment = Experiment.of(records, inputs, targets, every, reading=reading)
        if experiment.reading_notes:
            say("\n".join(experiment.reading_notes))
        found = _selected(choices, experiment, settings, callbacks, progress)
    return in_default_float(found)


def _selected(
    choices: list[Settings],
    experiment: Experiment,
    settings: Settings,
    callbacks: Sequence[Any],
    progress: bool | None,
) -> Selection:
    sizes = experiment.train[0].sizes
    exogenous = {name: size for name, size in sizes["inputs"].items() if name not in experiment.loops}
    grid = {_name(choice, bool(exogenous)): narx_of(choice, exogenous, sizes["targets"]) for choice in choices}

    def of(part: Sequence[Record]) -> Callable[[Topology], Sequences]:
        def cut(topology):
            own = experiment.on(topology)
            return own.cut(part, None, skip=experiment.held - own.held)

        return cut

    found = compare(
        grid,
        of(experiment.scaled_train),
        trainer=BayesianRegularization(
            groups=settings.groups,
            restarts=settings.narx_restarts,
            init_of_restarts=experiment.initializer(settings.init),
        ),
        held_out=of(experiment.scaled_validation),
        epochs=settings.epochs or 100,
        init=experiment.initializer(settings.init),
        key=jax.random.key(settings.seed),
        callbacks=callbacks,
        progress=progress,
    )
    net = found.best.fitted.net
    notes = {**found.best.fitted.notes, **experiment.notes}
    step = diverges_at(net, experiment)
    if step is not None:
        notes[str(Flag.FREE_RUN_DIVERGES)] = (
            f"the free run of the network with the largest evidence diverges on its own records, at step {step}; its "
            "evidence is that of predictions one step ahead"
        )
    return Selection(found, Scaled(net, dict(experiment.scalers)), notes)


def _union(sets: Sequence[Sequence[int]]) -> tuple[int, ...]:
    return tuple(sorted({d for delays in sets for d in delays}))


def _name(settings: Settings, has_inputs: bool) -> str:
    parts = [f"{settings.narx_hidden} hidden"]
    parts += [f"input delays {','.join(map(str, settings.input_delays))}"] if has_inputs else []
    return ", ".join([*parts, f"feedback delays {','.join(map(str, settings.feedback_delays))}"])
