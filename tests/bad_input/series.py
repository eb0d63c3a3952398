"""Series, forecasts and horizons: what is predicted from what, and how far."""

import numpy as np

import lddn_jax as lddn
from lddn_jax import Connection, DataError, Input, Layer, LDDNError, ShapeError, Topology
from lddn_jax.data import Given, Record, WarmUp, Zeros
from lddn_jax.diagnostics import autocorrelation, cross_correlation, ljung_box, stability

BLANK = np.full((30, 1), np.nan)
RARE = np.where(np.arange(30)[:, None] % 2 == 0, 1.0, np.nan)


def series_model(*delays, name="measured_y"):
    """A linear series model, y(t) from y(t−d), with scalers that change nothing."""
    topology = Topology([Input(name, 1)], [Layer("y", 1, "linear")], [Connection(name, "y", delays)], ["y"])
    unit = lddn.data.MinMax.fit(np.array([[-1.0], [1.0]]))
    return lddn.Scaled(lddn.Network(topology, init="zeros"), {name: unit, "y": unit})


def files(folder):
    """Series models and records in which outputs are missing, and files of them."""
    late, at_once = series_model(3, 4), series_model(0, 1)
    model = series_model(1, 2)
    lddn.save(folder / "series.npz", model)
    rng = np.random.default_rng(0)
    u, y = rng.normal(size=(2, 30))

    def written(name, header, *columns):
        rows = [header, *(",".join(cells) for cells in zip(*columns, strict=True))]
        (folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
        return folder / name

    numbers, blanks = [repr(x) for x in u.tolist()], [""] * 30
    return {
        "series": folder / "series.npz",
        "series_model": model,
        "series_record": Record({}, {"y": y[:, None]}),
        "late": late,
        "late_data": lddn.Sequences({"measured_y": y[:, None]}, y[:, None]),
        "two": lddn.Sequences({"measured_y": y[:2, None]}, y[:2, None]),
        "at_once": at_once,
        "free": lddn.close_loop(model.net, "y", "measured_y"),
        "blank": written("blank.csv", "u,y", numbers, blanks),
        "rare": written("rare.csv", "u,y", numbers, ["1.5", ""] * 15),
        "only_u": written("only_u.csv", "u", numbers),
        "only_y": written("only_y.csv", "y", numbers),
        "short_u": written("short_u.csv", "u", numbers[:20]),
    }


def forecast(source=None, **options):
    """A forecast of the usual model with something wrong."""
    return lambda k: lddn.forecast(k.scaled, k.table if source is None else source, **options)


def of_series(source=None, **options):
    """A forecast of a series with something wrong."""
    return lambda k: lddn.forecast(k.series_model, k.series_record if source is None else source, **options)


def masked(y):
    return Record({"u": np.ones((30, 1))}, {"y": y}, missing="mask")


FORECASTS = {
    "negative steps": (forecast(steps=-1), LDDNError, r"steps=-1 must be a whole number"),
    "half a step": (forecast(steps=2.5), LDDNError, r"steps=2.5 must be a whole number"),
    "steps as a word": (forecast(steps="3"), LDDNError, r"steps='3' must be a whole number"),
    "steps switched on": (of_series(steps=True), LDDNError, r"steps=True must be a whole number"),
    "steps without end": (of_series(steps=10**12), LDDNError, r"steps=1000000000000 are more than a forecast has"),
    "steps without later inputs": (
        forecast(steps=2),
        DataError,
        r"steps=2.*reads u, whose values are known for 1 step,.*Append 2 rows with u and without a value of y",
    ),
    "ahead as a word": (forecast(ahead="12"), LDDNError, r"ahead='12' must be a sequence"),
    "ahead of nothing": (forecast(ahead=(0,)), LDDNError, r"ahead=0 must be a positive whole number"),
    "ahead of a half": (of_series(ahead=(1.5,)), LDDNError, r"ahead=1.5 must be a positive whole number"),
    "negative warm-up": (forecast(warmup=-3), LDDNError, r"warmup=-3 must be a whole number"),
    "warm-up of all": (of_series(warmup=99), DataError, r"warmup=99.*28 steps"),
    "a network for a posterior": (
        lambda k: lddn.forecast(k.scaled, k.table, posterior=k.net),
        LDDNError,
        r"posterior is Network.*lddn\.posterior\(fitted, data\)",
    ),
    "no output measured": (forecast(masked(BLANK)), DataError, r"no value of the outputs \['y'\] is measured"),
    "too rarely measured": (forecast(masked(RARE)), DataError, r"no 2 rows in a row with measured outputs"),
    "once measured": (
        forecast(masked(np.where(np.arange(30)[:, None] == 1, 1.0, np.nan))),
        DataError,
        r"no 2 rows in a row with measured outputs.*Fill the gaps",
    ),
    "series of another name": (
        of_series({"z": np.ones(30)}),
        DataError,
        r"none of the outputs \['y'\].*no other input.*start from",
    ),
    "record of another name": (
        of_series(Record({}, {"z": np.ones((30, 1))})),
        DataError,
        r"has no 'y'; the network needs all of \['y'\]",
    ),
    "steps from no measurement": (
        lambda k: lddn.forecast(k.scaled, {"u": np.ones(30)}, steps=2),
        DataError,
        r"steps beyond the end start from measured values",
    ),
    "inputs that end early": (
        lambda k: lddn.forecast(k.scaled, {"u": np.ones(20), "y": np.ones(30)}),
        ShapeError,
        r"'u': 20, 'y': 30.*Cut all",
    ),
    "a hole in inputs that are known ahead": (
        lambda k: lddn.forecast(k.scaled, {"u": np.append(np.ones(29), np.nan), "y": np.ones(20)}),
        DataError,
        r"'u' is missing in row 29, which the forecast needs.*Fill the gap",
    ),
    "a network ahead of its data": (
        lambda k: lddn.forecast(k.at_once, k.series_record),
        DataError,
        r"'measured_y' without delay.*remove_delay.*add_delay.*steps=1",
    ),
    "a report of gaps": (lambda k: lddn.report(k.scaled, masked(RARE)), DataError, r"no stretch of 3 rows"),
}
HORIZONS = {
    "none ahead": (lambda k: lddn.k_step(k.net, k.data, 0), LDDNError, r"k=0 must be a positive whole number"),
    "a half ahead": (lambda k: lddn.k_step(k.net, k.data, 1.5), LDDNError, r"k=1.5 must be a positive whole number"),
    "below the smallest delay": (
        lambda k: lddn.horizon_profile(k.late.net, k.late_data, (1, 5)),
        LDDNError,
        r"delays of 3 or more.*horizons=\(3, \.\.\.\)",
    ),
    "beyond the record": (
        lambda k: lddn.horizon_profile(k.late.net, k.two),
        LDDNError,
        r"3 or more steps ahead.*only 2 steps.*longer record",
    ),
    "descending": (lambda k: lddn.horizon_profile(k.net, k.data, (5, 1)), LDDNError, r"\(5, 1\).*ascending integers"),
    "a gap in what is fed back": (
        lambda k: lddn.k_step(k.closed, lddn.Sequences({"u": k.u}, RARE), 2),
        DataError,
        r"target 'y' is NaN at \(1, 0\).*record\.unbroken\(\)",
    ),
    "longer than every piece": (
        lambda k: lddn.fit_closed_loop(k.net, k.records, k.lm, (1, 500)),
        DataError,
        r"horizons=\(1, 500\).*28 steps.*\(1, 5, None\)",
    ),
}
WITHOUT_INPUTS = {
    "no number of steps": (lambda k: lddn.simulate(k.free, {}), ShapeError, r"pass steps, for example simulate"),
    "no number of steps to predict": (lambda k: lddn.predict(k.free, None), ShapeError, r"pass steps"),
    "no steps": (lambda k: lddn.predict(k.free, None, steps=0), ShapeError, r"steps=0 must be a positive whole"),
    "negative steps": (lambda k: lddn.simulate(k.free, {}, steps=-3), ShapeError, r"steps=-3 must be a positive whole"),
    "an input": (lambda k: lddn.predict(k.free, {"u": k.u}, steps=30), ShapeError, r"'u'.*unknown|'u'"),
    "a sample": (lambda k: lddn.step(k.free, {"u": np.ones(1)}), ShapeError, r"'u'"),
    "targets for the state": (
        lambda k: lddn.predict(k.free, {}, {"y": k.y}, steps=5),
        ShapeError,
        r"delay state of 'y' has shape \(30, 1\); it must hold the last 2 values",
    ),
    "one state for two sequences": (
        lambda k: lddn.value_and_grad(k.mse, k.free, lddn.Sequences({}, np.ones((2, 9, 1)), {"y": np.ones((3, 2, 1))})),
        ShapeError,
        r"targets have \(\*batch, time\) = \(2, 9\), but inputs and state have \(3, 9\)",
    ),
    "a loop that is open": (lambda k: stability(k.net, k.inputs), LDDNError, r"no loop.*close_loop"),
    "a start of another length": (
        lambda k: lddn.data.begin(k.free.topology, k.series_record, Given({"y": np.ones((3, 1))})),
        ShapeError,
        r"must hold the last 2 values",
    ),
    "a warm-up of all": (
        lambda k: lddn.data.begin(k.free.topology, k.series_record, WarmUp(30, Zeros())),
        DataError,
        r"WarmUp\(steps=30\).*0 to 29",
    ),
    "a piece of nothing": (lambda k: k.series_record.piece(5, 5), DataError, r"no piece \[5, 5\)"),
    "a piece from the end": (lambda k: k.series_record.piece(-5, 30), DataError, r"no piece \[-5, 30\)"),
}
LAGS = {
    "first lag of zero": (lambda k: autocorrelation(k.y, 5, first=0), ShapeError, r"first=0 of lags=5"),
    "first lag after the last": (lambda k: ljung_box(k.y, 5, first=6), ShapeError, r"first=6.*between 1 and 5"),
    "more fitted than tested": (lambda k: ljung_box(k.y, 5, 3, first=4), DataError, r"fitted=3 of lags=5"),
    "lags beyond the record": (lambda k: cross_correlation(k.y, k.y, 30), ShapeError, r"lags=30.*1 to 29"),
}


def rows():
    tables = {"forecast": FORECASTS, "horizon": HORIZONS, "no inputs": WITHOUT_INPUTS, "lags": LAGS}
    for subject, table in tables.items():
        yield from ((f"{subject}: {name}", row) for name, row in table.items())


OUT = "--out {folder}/series_out"
LINES = {
    "negative steps": (f"predict {{csv}} --model {{model}} --steps -1 {OUT}", "--steps: '-1' is not a whole number"),
    "half a step": (f"predict {{csv}} --model {{model}} --steps 2.5 {OUT}", "--steps: '2.5' is not a whole number"),
    "steps without inputs": (
        f"predict {{csv}} --model {{model}} --steps 9 {OUT}",
        r"--steps 9 beyond.*Append 9 rows with u.*--inputs-from FILE",
    ),
    "a record shorter than its delays": (
        f"fit {{csv}} --inputs u --targets y --delays 1,90 {OUT}",
        r"a piece needs \d+: more than the longest delay.*--division records",
    ),
    "steps without end": (
        f"predict {{only_y}} --model {{series}} --steps 20000000 {OUT}",
        "steps 20000000 are more than a forecast has",
    ),
    "half ahead": (f"predict {{csv}} --model {{model}} --ahead 1.5 {OUT}", "--ahead: '1.5' is not numbers such as"),
    "negative ahead": (f"predict {{csv}} --model {{model}} --ahead=-2 {OUT}", "--ahead: '-2' is not numbers such as"),
    "all blank": (f"predict {{blank}} --model {{model}} {OUT}", r"no value of the outputs \['y'\] is measured"),
    "every second blank": (f"predict {{rare}} --model {{model}} {OUT}", "no 2 rows in a row with measured outputs"),
    "report of blanks": ("report {rare} --model {model} --out {folder}/page.html", "no stretch of 3 rows"),
    "steps from no output": (f"predict {{only_u}} --model {{model}} --steps 1 {OUT}", "start from measured values"),
    "series of an input": (f"predict {{only_u}} --model {{series}} {OUT}", "none of the outputs.*no other input"),
    "inputs of a series": (
        f"predict {{only_y}} --model {{series}} --inputs-from {{only_u}} {OUT}",
        "--inputs-from: the network reads no inputs.*--steps N",
    ),
    "inputs from no file": (f"predict {{only_y}} --model {{model}} --inputs-from absent.csv {OUT}", "absent.csv"),
    "inputs from another file": (
        f"predict {{only_y}} --model {{model}} --inputs-from {{other}} {OUT}",
        "'u'.*it has v, y|'u'",
    ),
    "inputs that end early": (
        f"predict {{only_y}} --model {{model}} --inputs-from {{short_u}} {OUT}",
        "'u': 20, 'y': 30.*Cut all",
    ),
    "horizon of no step": (f"fit {{csv}} --inputs u --targets y --horizons 0 {OUT}", "--horizons: '0' is not numbers"),
    "horizon beyond the record": (
        f"fit {{csv}} --inputs u --targets y --horizons 500 {OUT}",
        "longest training piece has 19 steps.*--horizons 1,5,all",
    ),
}


def lines():
    yield from ((f"series: {name}", row) for name, row in LINES.items())
