"""Wrong calls of plots, diagnostics and reports: objects in place of their parts, and lines of other lengths."""

import numpy as np

import lddn_jax as lddn
from lddn_jax import DataError, LDDNError, ShapeError, TopologyError, diagnostics, plots

T, Y = np.arange(30.0), np.sin(np.arange(30.0))

PLOTS = {
    "time of another length": (
        lambda k: plots.response(T[:20], Y, {}),
        ShapeError,
        r"measured has 30 values and time 20",
    ),
    "prediction of another length": (
        lambda k: plots.response(T, Y, {"free run": Y[:9]}),
        ShapeError,
        r"prediction 'free run' has 9 values and time 30",
    ),
    "prediction without a name": (
        lambda k: plots.response(T, Y, Y),
        ShapeError,
        r"predictions is ndarray.*\{'free run': y\}",
    ),
    "signal of a record": (lambda k: plots.response(T, k.y, {}), ShapeError, r"measured has shape \(30, 1\).*\[:, 0\]"),
    "time of two axes": (lambda k: plots.response(k.u, Y, {}), ShapeError, r"time has shape \(30, 1\).*time\[:, 0\]"),
    "words for a signal": (lambda k: plots.response(T, ["low"] * 30, {}), ShapeError, r"measured is list.*numbers"),
    "record for a signal": (lambda k: plots.response(T, k.record, {}), ShapeError, r"measured is Record.*array"),
    "pieces of another record": (
        lambda k: plots.response(T, Y, {}, steps=(10, 10)),
        ShapeError,
        r"steps=\(10, 10\) are 20 in all, and time has 30",
    ),
    "part with a start only": (
        lambda k: plots.response(T, Y, {}, splits={"train": 12}),
        ShapeError,
        r"'train' is 12.*start and end",
    ),
    "errors of another length": (
        lambda k: plots.errors(T, Y, {"free run": Y[1:]}),
        ShapeError,
        r"'free run' has 29 values and time 30",
    ),
    "errors of nothing named": (lambda k: plots.errors(T, Y, [Y]), ShapeError, r"predictions is list.*errors\(time"),
    "band of another length": (lambda k: plots.bands(T, Y, Y, Y[:5]), ShapeError, r"std has 5 values and time 30"),
    "band of no width": (lambda k: plots.bands(T, Y, Y, Y, k=0), LDDNError, r"k=0 is half the width.*k=2\.0"),
    "fit for a history": (lambda k: plots.training_curve(k.fitted), LDDNError, r"history is Fitted.*fitted\.history"),
    "losses for a history": (
        lambda k: plots.training_curve([1.0, 0.5]),
        LDDNError,
        r"history is list.*history of a fit",
    ),
    "history without a loss": (
        lambda k: plots.training_curve({"mu": [1.0]}),
        LDDNError,
        r"none of \['loss', 'validation_loss'\]; it has \['mu'\]",
    ),
    "fit for a state": (lambda k: plots.training_state(k.fitted), LDDNError, r"history is Fitted.*fitted\.history"),
    "evidence of another trainer": (
        lambda k: plots.evidence({"loss": [1.0]}),
        LDDNError,
        r"Bayesian regularization.*'log_evidence'.*\['loss'\]",
    ),
    "diagram of a network": (lambda k: plots.diagram(k.net), TopologyError, r"topology is Network.*net\.topology"),
    "diagram of a fit": (lambda k: plots.diagram(k.fitted), TopologyError, r"topology is Fitted"),
    "weights of a fit": (lambda k: plots.weights_map(k.fitted), LDDNError, r"is Fitted.*weights_map\(net\)"),
    "weights of a topology": (lambda k: plots.weights_map(k.topology), LDDNError, r"is Topology.*weights_map"),
    "relevance of a posterior": (
        lambda k: plots.relevance(k.posterior),
        LDDNError,
        r"table is Posterior.*lddn\.relevance\(posterior\)",
    ),
    "comparison of networks": (
        lambda k: plots.comparison([k.net]),
        LDDNError,
        r"found is list.*lddn\.compare\(topologies, data\)",
    ),
    "calibration of another length": (
        lambda k: plots.calibration([0.5, 0.9], [0.4]),
        ShapeError,
        r"observed has 1 values and nominal 2",
    ),
    "horizons of another length": (
        lambda k: plots.horizon_profile([1, 2, 5], {"y": [0.1, 0.2]}),
        ShapeError,
        r"rmse of 'y' has 2 values and horizons 3",
    ),
    "residuals for their correlation": (
        lambda k: plots.residual_correlations(Y),
        LDDNError,
        r"correlation is ndarray.*autocorrelation\(residuals\)",
    ),
    "words for errors": (lambda k: plots.error_histogram("low"), ShapeError, r"errors is 'low'.*numbers"),
    "no bars": (lambda k: plots.error_histogram(Y, bins=0), LDDNError, r"bins=0.*positive"),
    "half a bar": (lambda k: plots.error_histogram(Y, bins=2.5), LDDNError, r"bins=2\.5"),
    "regression of another length": (
        lambda k: plots.regression(Y, Y[:9]),
        ShapeError,
        r"measured has shape \(30,\) and predicted \(9,\)",
    ),
    "regression of words": (lambda k: plots.regression(Y, "y"), ShapeError, r"predicted is 'y'.*numbers"),
}
DIAGNOSTICS = {
    "range of two elements": (
        lambda k: diagnostics.excursions({"u": k.u}, {"u": (np.zeros(2), np.ones(2))}),
        ShapeError,
        r"'u' has shape \(30, 1\).*2 elements",
    ),
    "interpolation of two elements": (
        lambda k: diagnostics.interpolated(np.ones((9, 2))),
        ShapeError,
        r"shape \(9, 2\).*signal\[\.\.\., 0:1\]",
    ),
    "interpolation of nothing": (
        lambda k: diagnostics.interpolated(np.full(9, np.nan)),
        DataError,
        r"fewer than two values.*at least two",
    ),
}
REPORTS = {
    "network": (lambda k: lddn.report(k.net), LDDNError, r"Network cannot be evaluated.*lddn\.Scaled"),
    "scaled network without a record": (
        lambda k: lddn.report(k.scaled),
        LDDNError,
        r"on a record, not on None.*Record\.of",
    ),
    "scaled network on sequences": (
        lambda k: lddn.report(k.scaled, k.data),
        LDDNError,
        r"not on Sequences.*Record\.of",
    ),
    "fit on a record": (lambda k: lddn.report(k.fitted, k.record), LDDNError, r"not on Record.*report\(fitted, data"),
    "fit without data": (lambda k: lddn.report(k.fitted), LDDNError, r"not on None.*report\(fitted, data"),
}


def rows():
    for subject, table in (("plot", PLOTS), ("diagnostic", DIAGNOSTICS), ("report", REPORTS)):
        yield from ((f"{subject}: {name}", row) for name, row in table.items())
