"""Records and files: what is measured, how it is scaled, divided, cut and kept."""

import numpy as np

import lddn_jax as lddn
from lddn_jax import DataError, LDDNError, ShapeError
from lddn_jax.data import MinMax, Record, Standard, Table

GAP = np.where(np.arange(30)[:, None] == 7, np.nan, 1.0)


def record(**changed):
    """A record of which something is wrong."""
    return lambda k: Record(**({"inputs": {"u": k.u}, "targets": {"y": k.y}} | changed))


def of(**changed):
    """A record of a table of which something is asked that it does not hold."""
    return lambda k: Record.of(**({"source": k.table, "inputs": ["u"], "targets": ["y"]} | changed))


def file(text, name="typed.csv"):
    """Reads a file of this content."""

    def call(k):
        (k.folder / name).write_text(text, encoding="utf-8")
        return lddn.data.read_csv(k.folder / name)

    return call


RECORDS = {
    "no target": (record(targets={}), DataError, r"no targets; pass at least one"),
    "both": (record(inputs={"y": np.ones((30, 1))}), DataError, r"'y' is both.*measured_y"),
    "lengths": (record(inputs={"u": np.ones((29, 1))}), ShapeError, r"'u': 29, 'y': 30.*Cut all"),
    "gap in an input": (record(inputs={"u": GAP}), DataError, r"'u' is nan at sample 7.*fill the gap"),
    "gap in a target": (record(targets={"y": GAP}), DataError, r"'y' is nan at sample 7.*missing=\"mask\""),
    "infinity": (record(targets={"y": GAP * np.inf}, missing="mask"), DataError, r"'y' is inf at sample 0.*NaN"),
    "one axis": (record(inputs={"u": np.ones(30)}), ShapeError, r"'u' has shape \(30,\).*x\[:, None\]"),
    "transposed": (record(inputs={"u": np.ones((1, 30))}), ShapeError, r"'u' has shape \(1, 30\).*u\.T"),
    "complex": (record(inputs={"u": np.ones((30, 1)) * 1j}), DataError, r"'u' holds complex128.*real numbers"),
    "bare arrays": (record(inputs=np.ones((30, 1))), ShapeError, r"inputs.*ndarray.*\{'u': "),
    "uneven time": (
        record(time=np.r_[np.arange(29.0), 40.0]),
        DataError,
        r"time\[29\] = 40.*step is not the usual one.*np\.interp",
    ),
    "time of another length": (record(time=np.arange(29.0)), ShapeError, r"time has shape \(29,\).*\(30,\)"),
    "misspelt missing": (record(missing="mark"), DataError, r"'mark'.*missing=\"mask\""),
    "piece beyond the end": (lambda k: k.record.piece(20, 40), DataError, r"30 samples.*\[20, 40\)"),
    "unknown column": (of(targets=["yy"]), DataError, r"'yy'.*it has time, u, y.*Did you mean 'y'"),
    "unknown time": (of(time="tiem"), DataError, r"'tiem'.*Did you mean 'time'"),
    "column of words": (of(source={"u": ["a"] * 30, "y": np.ones(30)}), DataError, r"'u' holds <U1.*real numbers"),
    "column twice": (of(inputs=["u", "u"]), DataError, r"\['u', 'u'\] names 'u' twice"),
    "of a number": (of(source=3), DataError, r"int.*Pass a Table"),
    "of an array": (of(source=np.ones((30, 2))), DataError, r"ndarray.*Pass a Table, a dict"),
    "of a misspelt file": (of(source="recrd.csv"), DataError, r"no file recrd\.csv"),
    "of a spreadsheet": (of(source="record.xlsx"), DataError, r"record\.xlsx: the extension must be \.csv"),
    "empty table": (lambda k: Table({}), DataError, r"at least one column: Table\(\{'current'"),
    "table of an array": (lambda k: Table(np.ones((3, 2))), DataError, r"ndarray.*Table\(\{'current'"),
    "columns that differ": (lambda k: Table({"a": [1, 2], "b": [1]}), DataError, r"equal length.*'a': 2, 'b': 1"),
    "matrix as a column": (lambda k: Table({"a": np.ones((3, 2))}), ShapeError, r"'a'.*\(3, 2\).*'a_0': x\[:, 0\]"),
    "unknown column of a table": (lambda k: k.table["time_s"], DataError, r"'time_s'.*Did you mean 'time'"),
    "signal of no columns": (lambda k: k.table.signal([]), DataError, r"needs column names; the table has time, u, y"),
    "two instants of one time": (
        lambda k: lddn.data.uniform_sampling(np.array([0.0, 1.0, 1.0])),
        DataError,
        r"time\[2\] = 1 .*not later",
    ),
}
FILES = {
    "no file": (lambda k: lddn.data.read_csv(k.folder / "recrd.csv"), DataError, r"no file .*recrd\.csv"),
    "empty": (file("\n"), DataError, r"typed\.csv is empty.*header such as"),
    "header alone": (file("u,y\n"), DataError, r"typed\.csv has no row of numbers below its header"),
    "word in a column": (file("u,y\n1,2\n1,low\n"), DataError, r"line 3, column 'y': 'low' is not a number"),
    "row too short": (file("u,y\n1,2\n3\n"), DataError, r"line 3 has 1 cell,.*2 columns"),
    "column named twice": (file("u,u\n1,2\n"), DataError, r"has 'u' more than once"),
    "unknown column": (
        lambda k: lddn.data.read_csv(k.csv, ["uu"]),
        DataError,
        r"'uu'.*it has time, u, y.*Did you mean 'u'",
    ),
    "whole numbers": (lambda k: lddn.data.read_csv(k.csv, dtype=int), DataError, r"dtype=int64.*floating"),
    "misspelt dtype": (lambda k: lddn.data.read_csv(k.csv, dtype="flaot"), DataError, r"'flaot'.*float64"),
    "misspelt encoding": (lambda k: lddn.data.read_csv(k.csv, encoding="utf8000"), DataError, r"'utf8000'.*utf-8"),
    "text as .mat": (lambda k: lddn.data.read_mat(k.csv), DataError, r"record\.csv"),
    "no .mat": (lambda k: lddn.data.read_mat("absent.mat"), DataError, r"no file absent\.mat"),
    "no network": (lambda k: lddn.load(k.folder / "absent.npz"), lddn.CheckpointError, r"absent\.npz cannot be read"),
    "network from text": (lambda k: lddn.load(k.csv), lddn.CheckpointError, r"record\.csv.*lddn\.save"),
    "network from arrays": (lambda k: lddn.load(k.arrays), lddn.CheckpointError, r"arrays\.npz.*lddn\.save"),
    "save what fit returned": (
        lambda k: lddn.save(k.folder / "net.npz", k.fitted),
        LDDNError,
        r"not a Fitted.*fitted\.net",
    ),
    "save weights": (lambda k: lddn.save(k.folder / "net.npz", k.inputs), LDDNError, r"not a dict"),
    "save in no folder": (
        lambda k: lddn.save(k.folder / "absent" / "net.npz", k.net),
        LDDNError,
        r"absent/net\.npz.*Make the folder first",
    ),
}
SCALING = {
    "not fitted": (lambda k: MinMax(), DataError, r"MinMax\(\).*MinMax\.fit\(x\)"),
    "deviations not fitted": (lambda k: Standard(), DataError, r"Standard\(\).*Standard\.fit\(x\)"),
    "one axis": (lambda k: MinMax.fit(k.u[:, 0]), ShapeError, r"\(30,\).*x\[:, None\]"),
    "no value": (lambda k: Standard.fit(np.full((5, 1), np.nan)), DataError, r"channel 0 of 1 is all NaN"),
    "infinity": (lambda k: MinMax.fit(GAP * np.inf), DataError, r"channel 0 of 1 contains an infinity.*np\.isfinite"),
    "words": (lambda k: MinMax.fit(np.full((5, 1), "a")), DataError, r"MinMax\.fit.*holds <U1.*real numbers"),
    "empty range": (lambda k: MinMax.fit(k.u, 1, -1), DataError, r"low=1, high=-1.*low=-1\.0, high=1\.0"),
    "range in words": (lambda k: MinMax.fit(k.u, low="0"), DataError, r"low='0'.*low=-1\.0"),
    "another size": (lambda k: k.minmax.apply(np.ones((5, 2))), ShapeError, r"apply.*\(5, 2\).*1 channel"),
    "back from another size": (lambda k: k.minmax.invert(np.ones((5, 2))), ShapeError, r"invert.*\(5, 2\).*1 channel"),
    "apply to words": (lambda k: k.minmax.apply(np.full((5, 1), "a")), DataError, r"apply.*holds <U1.*real numbers"),
    "scaler missing": (lambda k: lddn.Scaled(k.net, {"u": k.minmax}), DataError, r"\['u'\].*'measured_y'.*Scaled\.fit"),
    "scaler misspelt": (
        lambda k: lddn.Scaled(k.net, {"u": k.minmax, "y": k.minmax, "measured": k.minmax}),
        DataError,
        r"'measured', .*'measured_y'.*Scaled\.fit",
    ),
    "one scaler for all": (lambda k: lddn.Scaled(k.net, k.minmax), DataError, r"scalers is MinMax.*Scaled\.fit"),
    "scaler not fitted": (
        lambda k: lddn.Scaled(k.net, dict.fromkeys(("u", "y", "measured_y"), MinMax)),
        DataError,
        r"scaler of '\w+'.*MinMax.*\.fit\(",
    ),
    "scaler of another size": (
        lambda k: lddn.Scaled(k.net, dict.fromkeys(("u", "y", "measured_y"), k.pair)),
        ShapeError,
        r"'\w+' has 2 channels.*1 elements",
    ),
    "kind by name": (
        lambda k: lddn.Scaled.fit(k.net, k.data, "minmax"),
        DataError,
        r"kind is 'minmax'.*lddn\.data\.MinMax",
    ),
    "data and net swapped": (lambda k: lddn.Scaled.fit(k.data, k.net), LDDNError, r"Sequences.*Scaled\.fit\(net, data"),
    "what fit returned": (lambda k: k.scaled.with_net(k.fitted), LDDNError, r"Fitted.*fitted\.net"),
    "misspelt input": (lambda k: k.scaled.predict(k.inputs | {"v": k.u}), ShapeError, r"input 'v'"),
    "units of no output": (lambda k: k.scaled.in_units({"z": k.y}), ShapeError, r"'z' is not an output.*\['y'\]"),
    "loop of two scalers": (
        lambda k: lddn.Scaled(k.net, {"u": k.minmax, "y": k.minmax, "measured_y": k.narrow}).close_loop(
            "y", "measured_y"
        ),
        DataError,
        r"'measured_y' and 'y' have different scalers",
    ),
    "shared with no signal": (
        lambda k: lddn.data.scalers_of(k.record, shared={"measured": "y"}),
        DataError,
        r"'measured'.*\['u', 'y'\]",
    ),
    "shared by name": (
        lambda k: lddn.data.scalers_of(k.record, "standard"),
        DataError,
        r"'standard'.*lddn\.data\.MinMax",
    ),
    "of unknown kind": (
        lambda k: lddn.data.scaling.from_dict({"kind": "Robust"}),
        DataError,
        r"'Robust'.*MinMax, Standard",
    ),
}
DIVISION = {
    "shares beyond 1": (
        lambda k: lddn.data.divide(k.record, None, (0.7, 0.2, 0.2)),
        DataError,
        r"0\.7, 0\.2, 0\.2.*sum to 1",
    ),
    "two shares": (
        lambda k: lddn.data.divide(k.record, None, (0.7, 0.3)),
        DataError,
        r"\(0\.7, 0\.3\).*\(0\.7, 0\.15, 0\.15\)",
    ),
    "one share": (lambda k: lddn.data.divide(k.record, None, 0.7), DataError, r"shares=0\.7.*\(0\.7, 0\.15, 0\.15\)"),
    "shares in words": (lambda k: lddn.data.divide(k.record, None, ("70%", "20%", "10%")), DataError, r"'70%'.*0\.15"),
    "way by name": (lambda k: lddn.data.divide(k.record, "blocks"), DataError, r"how='blocks'.*lddn\.data\.Blocks\(\)"),
    "way without brackets": (lambda k: lddn.data.divide(k.record, lddn.data.Blocks), DataError, r"Blocks.*Blocks\(\)"),
    "arrays": (lambda k: lddn.data.divide(k.u), DataError, r"ndarray.*Record\.of"),
    "too short": (lambda k: lddn.data.divide(k.record, shortest=10), DataError, r"30 samples, only 5 .*needs 10"),
    "no stretch": (lambda k: lddn.data.divide(k.record, lddn.data.Interleaved(0)), DataError, r"length=0.*positive"),
    "stretch too long": (
        lambda k: lddn.data.divide(k.record, lddn.data.Interleaved(20)),
        DataError,
        r"20 samples.*shorter",
    ),
    "unknown record": (
        lambda k: lddn.data.divide(k.records, lddn.data.ByRecord("mondy")),
        DataError,
        r"no record 'mondy'.*Did you mean 'monday'",
    ),
    "too few records": (lambda k: lddn.data.divide(k.record, lddn.data.ByRecord()), DataError, r"1 record.*Blocks\(\)"),
    "windows of a network": (
        lambda k: lddn.windows(k.net, k.inputs, k.y),
        LDDNError,
        r"is Network, but windows.*net\.topology",
    ),
    "no window": (lambda k: lddn.windows(k.topology, k.inputs, k.y, 0), DataError, r"length=0.*at least 1"),
    "half a window": (lambda k: lddn.windows(k.topology, k.inputs, k.y, 2.5), DataError, r"length=2\.5.*at least 1"),
    "window too long": (
        lambda k: lddn.windows(k.topology, k.inputs, k.y, 29),
        DataError,
        r"30 steps.*length=28 or less",
    ),
    "windows of misspelt inputs": (lambda k: lddn.windows(k.topology, {"uu": k.u}, k.y, 5), ShapeError, r"'uu'.*'u'"),
    "windows of records and targets": (
        lambda k: lddn.windows(k.topology, k.records, k.y, 5),
        DataError,
        r"records contain their targets.*windows\(topology, records, length=",
    ),
    "windows of another record": (
        lambda k: lddn.windows(k.topology, k.record, length=5),
        ShapeError,
        r"input 'measured_y' is missing; \['u'\]",
    ),
    "windows from a gap": (
        lambda k: lddn.windows(k.closed.topology, k.u, GAP, 6),
        DataError,
        r"'y' would be NaN in window 1.*Fill that gap",
    ),
    "whole arrays": (lambda k: lddn.data.whole(k.topology, k.inputs), DataError, r"whole.*Record\.of"),
    "whole records of a network": (
        lambda k: lddn.data.whole(k.net, k.records),
        LDDNError,
        r"is Network, but whole.*net\.topology",
    ),
    "padded to less": (lambda k: lddn.data.stack(k.records, 20), DataError, r"length=20.*30 samples"),
    "padded by half a step": (lambda k: lddn.data.stack(k.records, 40.5), DataError, r"length=40\.5.*whole number"),
    "no records": (lambda k: lddn.data.stack([]), DataError, r"stack.*an empty list.*Record\.of"),
    "start by name": (lambda k: lddn.data.begin(k.topology, k.record, "zeros"), DataError, r"start='zeros'.*WarmUp"),
    "warm-up of all": (
        lambda k: lddn.data.begin(k.fir.topology, k.record, lddn.data.WarmUp(99)),
        DataError,
        r"steps=99.*30 steps",
    ),
    "begun with a network": (
        lambda k: lddn.data.begin(k.net, k.record),
        LDDNError,
        r"is Network, but begin.*net\.topology",
    ),
    "delays of too short a record": (
        lambda k: lddn.diagnostics.suggest_delays(k.u, k.y, longest=20),
        DataError,
        r"Pass longest < 20",
    ),
}


def rows():
    for subject, table in (("record", RECORDS), ("file", FILES), ("scaling", SCALING), ("division", DIVISION)):
        yield from ((f"{subject}: {name}", row) for name, row in table.items())
