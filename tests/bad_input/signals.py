"""What networks are run on: inputs, targets, delay states; and how they are differentiated."""

import numpy as np

import lddn_jax as lddn
from lddn_jax import DataError, LDDNError, ShapeError

WORDS = np.full((30, 1), "a")


def run_on(**changed):
    """Runs the network on inputs of which some are others; None leaves one out."""
    return lambda k: lddn.predict(k.net, {n: x for n, x in (k.inputs | changed).items() if x is not None})


def from_state(**changed):
    return lambda k: lddn.predict(k.net, k.inputs, {n: x for n, x in (k.state | changed).items() if x is not None})


def graded(inputs=None, targets=None, **more):
    """The gradient of a loss on inputs or targets that do not fit."""

    def call(k):
        data = lddn.Sequences(k.inputs if inputs is None else inputs, k.y if targets is None else targets, **more)
        return lddn.value_and_grad(k.mse, k.net, data)

    return call


INPUTS = {
    "misspelt": (run_on(uu=np.ones((30, 1))), ShapeError, r"input 'uu'.*\['measured_y', 'u'\].*Did you mean 'u'"),
    "missing": (run_on(measured_y=None), ShapeError, r"input 'measured_y' is missing; \['u'\]"),
    "bare array for two": (lambda k: lddn.predict(k.net, k.u), ShapeError, r"bare array.*\{'measured_y': \.\.\., 'u'"),
    "none": (lambda k: lddn.predict(k.net, None), ShapeError, r"input 'measured_y' is missing"),
    "one axis": (run_on(u=np.ones(30)), ShapeError, r"'u' has shape \(30,\).*\[:, None\]"),
    "transposed": (run_on(u=np.ones((1, 30))), ShapeError, r"'u' has shape \(1, 30\).*transposed.*swapaxes"),
    "size": (run_on(u=np.ones((30, 2))), ShapeError, r"'u' has shape \(30, 2\).*size 1"),
    "no steps": (run_on(u=np.ones((0, 1))), ShapeError, r"'u' has shape \(0, 1\).*at least one"),
    "lengths": (run_on(u=np.ones((29, 1))), ShapeError, r"\(29,\) for 'u'.*cut or repeat"),
    "batches": (run_on(u=np.ones((2, 30, 1))), ShapeError, r"\(2, 30\) for 'u'.*cut or repeat"),
    "complex": (run_on(u=np.ones((30, 1)) * 1j), DataError, r"'u' holds complex128.*real numbers"),
    "words": (run_on(u=WORDS), DataError, r"'u' holds <U1.*real numbers"),
    "objects": (run_on(u=WORDS.astype(object)), DataError, r"'u' holds object.*real numbers"),
    "ragged": (run_on(u=[[1.0], [1.0, 2.0]]), ShapeError, r"'u' is ragged"),
    "steps that differ": (
        lambda k: lddn.predict(k.net, k.inputs, steps=20),
        ShapeError,
        r"steps=20.*30 time steps; leave steps out",
    ),
    "nobody tells steps": (lambda k: lddn.predict(k.autonomous, None), ShapeError, r"pass steps.*steps=100"),
    "no step at all": (lambda k: lddn.predict(k.autonomous, None, steps=0), ShapeError, r"steps=0.*steps=100"),
    "half a step": (lambda k: lddn.predict(k.autonomous, None, steps=2.5), ShapeError, r"steps=2\.5.*steps=100"),
    "network and inputs swapped": (
        lambda k: lddn.simulate(k.inputs, k.net),
        LDDNError,
        r"net is dict, but simulate\(net, inputs, state\)",
    ),
    "what fit returned": (lambda k: lddn.predict(k.fitted, k.inputs), LDDNError, r"net is Fitted.*Write fitted\.net"),
    "a network with scalers": (
        lambda k: lddn.predict(k.scaled, k.inputs),
        LDDNError,
        r"net is Scaled.*scaled\.predict",
    ),
    "a topology": (
        lambda k: lddn.simulate(k.topology, k.inputs),
        LDDNError,
        r"net is Topology.*lddn\.Network\(topology",
    ),
    "record for a sample": (
        lambda k: lddn.step(k.net, {"u": np.ones((30, 1)), "measured_y": np.ones((30, 2))}),
        ShapeError,
        r"'measured_y' has shape \(30, 2\).*lddn\.predict",
    ),
    "misspelt sample": (lambda k: lddn.step(k.fir, {"v": [1.0]}), ShapeError, r"input 'v'.*\['u'\]"),
    "sample in words": (lambda k: lddn.step(k.fir, ["a"]), DataError, r"'u' holds <U1.*real numbers"),
    "sample without a network": (
        lambda k: lddn.step([1.0], k.fir),
        LDDNError,
        r"net is list, but step\(net, sample, state\)",
    ),
}
STATES = {
    "misspelt": (from_state(uu=np.ones((2, 1))), ShapeError, r"delay state 'uu'.*Did you mean 'u'"),
    "missing": (from_state(u=None), ShapeError, r"delay state 'u' is missing"),
    "too short": (
        from_state(u=np.ones((1, 1))),
        ShapeError,
        r"'u' has shape \(1, 1\).*last 2 values.*\(\*batch, 2, 1\)",
    ),
    "size": (from_state(u=np.ones((2, 3))), ShapeError, r"'u' has shape \(2, 3\).*size 1"),
    "batch": (
        from_state(u=np.ones((5, 2, 1))),
        ShapeError,
        r"'u' has batch shape \(5,\).*\(\).*one state for each sequence",
    ),
    "a bare array": (lambda k: lddn.predict(k.net, k.inputs, k.u), ShapeError, r"ndarray.*dict.*\['measured_y', 'u'\]"),
    "complex": (from_state(u=np.ones((2, 1)) * 1j), DataError, r"'u' holds complex128.*real numbers"),
    "a bare state of no inputs": (
        lambda k: lddn.predict(k.autonomous, None, np.ones((1, 1)), steps=3),
        ShapeError,
        r"ndarray.*dict.*\['y'\]",
    ),
    "one axis without inputs": (
        lambda k: lddn.predict(k.autonomous, None, {"y": 1.0}, steps=3),
        ShapeError,
        r"'y' has shape \(\).*\(\*batch, time, size\)",
    ),
    "a record that tells none": (
        lambda k: lddn.estimate_state(k.fir, lddn.Sequences(k.u, k.y)),
        LDDNError,
        r"no layer of \['y'\] is read through a delay.*predict",
    ),
    "no steps to explain": (
        lambda k: lddn.estimate_state(k.closed, lddn.Sequences(k.u, k.y), steps=0),
        LDDNError,
        r"steps=0.*positive whole number",
    ),
}
SEQUENCES = {
    "nothing": (lambda k: lddn.Sequences(None, None), ShapeError, r"neither inputs nor targets.*at least targets"),
    "lengths": (
        lambda k: lddn.Sequences(k.u, k.y[1:]),
        ShapeError,
        r"\(30,\) for input.*\(29,\) for target.*one length",
    ),
    "one axis": (lambda k: lddn.Sequences(k.u[:, 0], k.y), ShapeError, r"input has shape \(30,\).*\[:, None\]"),
    "input with a gap": (
        lambda k: lddn.Sequences({"u": np.where(np.arange(30)[:, None] == 7, np.nan, k.u)}, k.y),
        DataError,
        r"'u' is NaN at index \(7, 0\).*Fill the gap",
    ),
    "words": (lambda k: lddn.Sequences(WORDS, k.y), DataError, r"input holds <U1.*real numbers"),
    "misspelt target": (graded(targets={"yy": np.ones((30, 1))}), ShapeError, r"target 'yy'.*Did you mean 'y'"),
    "no target": (
        lambda k: lddn.value_and_grad(k.mse, k.net, lddn.Sequences(k.inputs, None)),
        ShapeError,
        r"target 'y' is missing",
    ),
    "size of a target": (graded(targets=np.ones((30, 2))), ShapeError, r"'y' has shape \(30, 2\).*size 1"),
    "target with a gap": (
        graded(targets=np.full((30, 1), np.nan)),
        DataError,
        r"'y' is NaN at time 0.*missing=\"mask\"",
    ),
    "misspelt input": (graded(inputs={"u": np.ones((30, 1)), "measured": np.ones((30, 1))}), ShapeError, r"'measured'"),
    "one state of a batch too few": (
        lambda k: lddn.value_and_grad(k.mse, k.net, lddn.Sequences(k.inputs, k.y, {"u": np.ones((1, 2, 1))})),
        ShapeError,
        r"delay state 'measured_y' is missing",
    ),
    "negative weight": (graded(weights=-np.ones((30, 1))), DataError, r"'y' are negative, NaN or infinite; write 0"),
    "weights of another length": (graded(weights=np.ones((29, 1))), ShapeError, r"'y' have shape \(29, 1\).*\(30, 1\)"),
    "misspelt weights": (graded(weights={"yy": np.ones((30, 1))}), ShapeError, r"error weight 'yy'.*Did you mean 'y'"),
    "weights in words": (graded(weights=WORDS), DataError, r"'y' holds <U1.*real numbers"),
}
GRADIENTS = {
    "loss and net swapped": (
        lambda k: lddn.value_and_grad(k.net, k.mse, k.data),
        LDDNError,
        r"loss is Network.*value_and_grad\(loss, net, data",
    ),
    "data before the loss": (
        lambda k: lddn.value_and_grad(k.data, k.net, k.mse),
        LDDNError,
        r"loss is Sequences.*value_and_grad\(loss, net, data",
    ),
    "net and data swapped": (
        lambda k: lddn.value_and_grad(k.mse, k.data, k.net),
        LDDNError,
        r"net is Sequences.*value_and_grad\(loss, net, data",
    ),
    "loss by name": (lambda k: lddn.value_and_grad("mse", k.net, k.data), LDDNError, r"'mse'.*MeanSquaredError\(\)"),
    "loss without brackets": (
        lambda k: lddn.value_and_grad(lddn.losses.Huber, k.net, k.data),
        LDDNError,
        r"class Huber.*Write Huber\(\)",
    ),
    "data as a pair": (
        lambda k: lddn.value_and_grad(k.mse, k.net, (k.u, k.y)),
        LDDNError,
        r"data is tuple.*Sequences\(",
    ),
    "data as a record": (
        lambda k: lddn.value_and_grad(k.mse, k.net, k.record),
        LDDNError,
        r"data is Record.*lddn\.data\.begin",
    ),
    "method by name": (
        lambda k: lddn.value_and_grad(k.mse, k.net, k.data, "bptt"),
        LDDNError,
        r"method is 'bptt'.*lddn\.BPTT\(\)",
    ),
    "method without brackets": (
        lambda k: lddn.value_and_grad(k.mse, k.net, k.data, lddn.RTRL),
        LDDNError,
        r"class RTRL.*Write RTRL\(\)",
    ),
    "weight of an unknown output": (
        lambda k: lddn.value_and_grad(lddn.losses.MeanSquaredError(output_weights={"z": 2}), k.net, k.data),
        ShapeError,
        r"output_weights names 'z'.*\['y'\]",
    ),
    "misspelt choice": (lambda k: lddn.jacobian(k.net, k.data, "atuo"), LDDNError, r"method='atuo'.*\"auto\""),
    "Jacobian of data": (lambda k: lddn.jacobian(k.data, k.net), LDDNError, r"net is Sequences.*jacobian\(net, data"),
    "Jacobian on arrays": (lambda k: lddn.jacobian(k.fir, k.u), LDDNError, r"data is ndarray.*Sequences\("),
    "bound of a truncated method": (
        lambda k: lddn.jacobian(k.net, k.data, lddn.BPTT(truncation=5), return_neglected=True),
        LDDNError,
        r"truncation=5.*lddn\.BPTT\(jacobian_window=",
    ),
    "no window": (lambda k: lddn.BPTT(jacobian_window=0), LDDNError, r"BPTT\(jacobian_window=0\).*positive"),
    "misspelt checkpoint": (lambda k: lddn.BPTT(checkpoint="sqr"), LDDNError, r"checkpoint='sqr'.*\"sqrt\""),
    "half a step of truncation": (lambda k: lddn.BPTT(truncation=2.5), LDDNError, r"BPTT\(truncation=2\.5\).*positive"),
    "two ways to truncate": (
        lambda k: lddn.BPTT(truncation=5, jacobian_window=3),
        LDDNError,
        r"truncation=5, jacobian_window=3.*one of them",
    ),
    "order of differences": (lambda k: lddn.FiniteDifference(order=3), LDDNError, r"order=3.*2 or 4"),
    "differences of a step in words": (lambda k: lddn.FiniteDifference(step="h"), LDDNError, r"step='h'.*positive"),
    "check of swapped arguments": (
        lambda k: lddn.check_gradients(k.net, k.mse, k.data),
        LDDNError,
        r"loss is Network.*check_gradients\(loss, net, data",
    ),
    "check of no methods": (
        lambda k: lddn.check_gradients(k.mse, k.net, k.data, []),
        LDDNError,
        r"but got \[\].*lddn\.BPTT\(\)",
    ),
    "check of names": (
        lambda k: lddn.check_gradients(k.mse, k.net, k.data, ["bptt"]),
        LDDNError,
        r"'bptt'.*lddn\.BPTT\(\)",
    ),
    "residuals of no squares": (
        lambda k: lddn.gauss_newton(k.net, k.data, lddn.losses.Huber()),
        LDDNError,
        r"Huber is not one.*MeanSquaredError\(\)",
    ),
    "residuals of a loss": (
        lambda k: lddn.gauss_newton(k.mse, k.net, k.data),
        LDDNError,
        r"loss is Sequences.*gauss_newton\(net, data, loss",
    ),
    "differentiable by name": (lambda k: lddn.differentiable("rtrl"), LDDNError, r"method is 'rtrl'.*lddn\.RTRL\(\)"),
    "differentiable network": (lambda k: lddn.differentiable(k.net), LDDNError, r"method is Network.*lddn\.BPTT\(\)"),
    "misspelt missing": (lambda k: lddn.losses.Huber(missing="mark"), LDDNError, r"'mark'.*missing=\"mask\""),
    "too much decay": (lambda k: lddn.losses.Huber(regularization=1.5), LDDNError, r"regularization=1\.5.*\[0, 1\)"),
    "decay in words": (
        lambda k: lddn.losses.Huber(regularization="0.1"),
        LDDNError,
        r"regularization='0\.1'.*\[0, 1\)",
    ),
    "negative output weight": (
        lambda k: lddn.losses.Huber(output_weights={"y": -1}),
        LDDNError,
        r"'y': -1.*\{\"y\": 2",
    ),
    "no delta": (lambda k: lddn.losses.Huber(delta=0), LDDNError, r"delta=0.*positive"),
    "outputs as an array": (lambda k: k.mse(k.y, k.y), ShapeError, r"ndarray.*predict\(net, inputs\)"),
    "targets of another length": (
        lambda k: k.mse({"y": k.y}, k.y[1:]),
        ShapeError,
        r"'y' has shape \(29, 1\).*\(30, 1\)",
    ),
}
PREDICTIONS = {
    "no step ahead": (lambda k: lddn.k_step(k.net, k.data, 0), LDDNError, r"k=0.*positive whole number"),
    "half a step ahead": (lambda k: lddn.k_step(k.net, k.data, 1.5), LDDNError, r"k=1\.5.*positive whole number"),
    "loop of no input": (
        lambda k: lddn.k_step(k.net, k.data, 2, loops={"measured": "y"}),
        LDDNError,
        r"no input 'measured'.*'measured_y'",
    ),
    "ahead of arrays": (lambda k: lddn.k_step(k.net, k.u, 2), LDDNError, r"data is ndarray.*Sequences\("),
    "ahead of swapped arguments": (
        lambda k: lddn.k_step(k.data, k.net, 2),
        LDDNError,
        r"net is Sequences.*k_step\(net, ",
    ),
    "target with a gap": (
        lambda k: lddn.k_step(k.closed, lddn.Sequences(k.u, np.full((30, 1), np.nan)), 2),
        DataError,
        r"target 'y' is NaN at \(0, 0\).*record\.unbroken\(\)",
    ),
    "horizons that fall": (
        lambda k: lddn.horizon_profile(k.net, k.data, (5, 1)),
        LDDNError,
        r"\(5, 1\).*ascending.*horizons=\(1, 5, 20\)",
    ),
    "horizon beyond the record": (lambda k: lddn.horizon_profile(k.net, k.data, (1, 99)), LDDNError, r"\(1, 99\).*30"),
    "one horizon": (lambda k: lddn.horizon_profile(k.net, k.data, 5), LDDNError, r"horizons=5 .*horizons=\(1, 5, 20\)"),
    "forecast without scalers": (
        lambda k: lddn.forecast(k.net, k.record),
        LDDNError,
        r"model is Network.*Scaled\.fit\(net, data\)",
    ),
    "forecast of another column": (
        lambda k: lddn.forecast(k.scaled, {"v": k.u, "y": k.y}),
        DataError,
        r"'u'.*it has v, y",
    ),
    "forecast of another record": (
        lambda k: lddn.forecast(k.scaled, lddn.data.Record({"v": k.u}, {"y": k.y})),
        LDDNError,
        r"v:1 -> y:1\) has no 'u'.*\['u', 'y'\]",
    ),
    "forecast of all warm-up": (
        lambda k: lddn.forecast(k.scaled, k.record, warmup=99),
        DataError,
        r"warmup=99.*28 steps",
    ),
    "forecast of no step ahead": (
        lambda k: lddn.forecast(k.scaled, k.record, ahead=(0,)),
        LDDNError,
        r"ahead=0.*positive whole number",
    ),
    "report of a network": (
        lambda k: lddn.report(k.net, k.data),
        LDDNError,
        r"Network cannot be evaluated.*lddn\.Scaled",
    ),
    "report without data": (lambda k: lddn.report(k.fitted), LDDNError, r"None.*report\(fitted, data"),
    "report without a record": (
        lambda k: lddn.report(k.scaled, k.data),
        LDDNError,
        r"Sequences.*lddn\.data\.Record\.of",
    ),
    "scores of lengths that differ": (
        lambda k: lddn.diagnostics.rmse(k.y, k.y[1:]),
        ShapeError,
        r"\(30, 1\) and predicted \(29, 1\)",
    ),
}


def rows():
    for subject, table in (
        ("input", INPUTS),
        ("state", STATES),
        ("sequences", SEQUENCES),
        ("gradient", GRADIENTS),
        ("prediction", PREDICTIONS),
    ):
        yield from ((f"{subject}: {name}", row) for name, row in table.items())
