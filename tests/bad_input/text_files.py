"""Text files that cannot be read as they are, and options for reading that are wrong."""

import lddn_jax as lddn
from lddn_jax import DataError
from lddn_jax.data import Reading, Record

DATA = "0.5,1\n1.5,2\n2.5,4\n"
DATES = "".join(f"2021-11-0{day},1,2\n" for day in (1, 2, 3, 4, 5))
HOURS = "Time,u,y\n" + "".join(f"2021-03-28 0{hour}:00,1,2\n" for hour in (0, 1, 3, 4, 5))
AUTUMN = "Time,u,y\n" + "".join(f"2021-10-31 0{hour}:00,1,2\n" for hour in (1, 2, 2, 3, 4))


def table(content, **options):
    """Reads all columns of a file of this content."""

    def call(k):
        path = k.folder / "strange.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return lddn.data.read_csv(path, reading=Reading(**options))

    return call


def record(content, **options):
    """Makes a record of the columns u and y of a file of this content."""

    def call(k):
        path = k.folder / "strange.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Record.of(path, ["u"], ["y"], reading=Reading(**options))

    return call


CELLS = {
    "beyond the largest number": (table(f"u,y\n{DATA}1e400,2\n"), r"line 5, column 'u': '1e400' is beyond the largest"),
    "hundreds of digits": (table(f"u,y\n{'9' * 400},2\n{DATA}"), r"column 'u': '9+…9+' is beyond the largest number"),
    "full-width digits": (table(f"u,y\n１２,2\n{DATA}"), r"line 2, column 'u': '１２' contains '１' \(U\+FF11\)"),
    "minus sign of typesetters": (table(f"u,y\n\u22121,2\n{DATA}"), r"line 2, column 'u'.*\(U\+2212\).*ASCII"),
    "bell": (table(f"u,y\n1\a,2\n{DATA}"), r"line 2, column 'u': '1\\x07' contains the control character U\+0007"),
    "next line": (table(f"u,y\n1\x85,2\n{DATA}"), r"'1\\x85' contains the control character U\+0085; remove it"),
    "file separator": (table(f"u,y\n1\x1c2,2\n{DATA}"), r"'1\\x1c2' contains the control character U\+001C"),
    "thousands": (table(f'u,y\n"1,234.5",2\n{DATA}'), r"line 2, column 'u': '1,234\.5' has thousands separators"),
    "thousands in German": (table("u;y\n1.234,5;2\n0,5;1\n"), r"'1\.234,5' has thousands separators"),
    "thousands by blanks": (table("u;y\n1 234,5;2\n0,5;1\n"), r"'1 234,5' has thousands separators"),
    "thousands by apostrophes": (table(f"u,y\n1'234.5,2\n{DATA}"), r"1'234\.5.* has thousands separators"),
    "thousands or decimals": (table('u,y\n"1,234","2,345"\n'), r"'1,234' may have a decimal comma or a thousands"),
    "points and commas": (table("u;y\n1,5;2.5\n0,5;1.5\n"), r"a point \('2\.5'\) and with a comma \('1,5'\)"),
    "point for a comma": (table("u;y\n1.5;2\n", decimal=","), r"'1\.5' has a decimal point, but the decimal sep"),
    "comma for a point": (table("u;y\n1,5;2\n", decimal="."), r"'1,5' has a comma, but the decimal separator is a p"),
    "unit": (table(f"u,y\n5 V,2\n{DATA}"), r"'5 V' is not a number alone; move its unit into the name"),
    "units everywhere": (table("u,y\n5 V,2 mm\n6 V,3 mm\n"), r"no numbers.*'6 V' is not a number alone"),
    "a word": (table(f"u,y\noff,2\n{DATA}"), r"line 2, column 'u': 'off'.*Reading\(missing_values=\['off'\]\)"),
    "underscore": (table(f"u,y\n1_000,2\n{DATA}"), r"line 2, column 'u': '1_000' is not a number"),
    "long cell": (table(f"u,y\n{DATA}{'9' * 140_000},2\n"), r"line 5 has a cell of more than 131,072 characters"),
    "quotation mark": (table(f'u,y\n"1,2\n{DATA}'), r"line 2: a quotation mark is opened and never closed: '1,2\\n"),
    "float32": (
        lambda k: lddn.data.read_csv(k.huge, dtype="float32"),
        r"huge\.csv, column 'u': 1e\+300 is beyond the largest float32",
    ),
}
LINES_OF_CELLS = {
    "two headers": (table(f"u,y\n{DATA}u,y\n{DATA}"), r"line 5, column 'u': 'u' repeats the header.*its own file"),
    "long row": (table(f"u,y\n{DATA}1,2,3\n{DATA}"), r"line 5 has 3 cells, but the header names 2 columns \(u, y\)"),
    "short row": (table(f"u,y\n{DATA}1\n{DATA}"), r"line 5 has 1 cell, but the header names 2 columns"),
    "short row without a header": (table(f"{DATA}1\n{DATA}"), r"line 4 has 1 cell, but the first rows have 2 columns"),
    "words only": (table("hello\nworld\n"), r"no numbers: its last line is 'world'"),
    "workbook": (table(b"PK\x03\x04" + bytes(30)), r"strange\.csv is a zip archive or an Excel workbook"),
    "binary": (table(bytes(range(1, 32)) * 9), r"strange\.csv consists of control characters, so it is not text"),
    "web page": (table("<html><body>"), r"strange\.csv is a web page, not a table"),
    "zero bytes": (table("u,y\n1,\x002\n"), r"contains zero bytes.*Reading|contains zero bytes.*encoding='utf-16'"),
    "another encoding": (table(b"\xe9,y\n1,2\n", encoding="utf-8"), r"not utf-8 text \(invalid byte at 0\).*latin-1"),
    "more to skip than there is": (
        table("u,y\n1,2\n", skip_rows=9),
        r"strange\.csv has 3 lines, so 9 cannot be skipped",
    ),
    "spreadsheet": (
        lambda k: Record.of("record.xlsx", [], ["y"]),
        r"record\.xlsx: the extension.*Save the sheet as CSV",
    ),
    "archive": (lambda k: Record.of("record.csv.gz", [], ["y"]), r"record\.csv\.gz: the extension.*Unpack the archive"),
    "zero byte in the path": (lambda k: Record.of("a\0.csv", [], ["y"]), r"a\\x00\.csv cannot be the path"),
}
TIMES = {
    "hole": (record("Time,u,y\n0,1,2\n1,1,2\n2,1,2\n4,1,2\n"), r"line 5, column 'Time': '4' after '2'.*time=False"),
    "hole in dates": (
        record("date,u,y\n" + "".join(f"2021-11-0{day},1,2\n" for day in (1, 2, 3, 5))),
        r"line 5, column 'date': '2021-11-05' after '2021-11-03'.*usual step 86400",
    ),
    "summer time": (record(HOURS), r"'2021-03-28 03:00' after '2021-03-28 01:00'.*An hour is missing.*summer time"),
    "end of summer time": (record(AUTUMN), r"line 4.*'2021-10-31 02:00'.*An hour occurs twice.*summer time"),
    "words for times": (record("at,u,y\nnow,1,2\nlater,1,2\n", time="at"), r"'at', line 2: 'now' is neither a number"),
    "a date amiss": (record("at,u,y\n2021-11-05,1,2\n2021-13-05,1,2\n", time="at"), r"'2021-13-05' is neither"),
    "no such time": (record(f"u,y\n{DATA}", time="tiem"), r"No column 'tiem' in .*it has u, y"),
    "no date": (
        record(f"date,u,y\n{DATES}".replace("2021-11-03", "")),
        r"line 4.*'' after '2021-11-02'.*it is missing",
    ),
    "no first date": (record(f"date,u,y\n{DATES}".replace("2021-11-01", "NA")), r"line 2.*'NA': .*it is missing"),
    "no time": (record("Time,u,y\n0,1,2\n1,1,2\n,1,2\n3,1,2\n"), r"line 4, column 'Time': '' after '1'.*it is missing"),
    "hole in Zeit": (
        record("Zeit;u;y\n0,0;1;2\n0,5;1;2\n1,0;1;2\n2,0;1;2\n"),
        r"column 'Zeit': '2,0' after '1,0'.*time=False",
    ),
    "hole in t [s]": (
        record("t [s],u,y\n0,1,2\n1,1,2\n2,1,2\n4,1,2\n"),
        r"column 't \[s\]': '4' after '2'.*time=False",
    ),
    "rounded to the step": (
        lambda k: lddn.data.uniform_sampling([0.0, 1.0, 2.0, 4.0, 5.0]),
        r"time\[3\] = 4 after time\[2\] = 2: the step is not the usual one",
    ),
}
OPTIONS = {
    "too few names": (table(f"u,y\n{DATA}", names=["u"]), r"the rows have 2 columns, and 1 names were given: u"),
    "names that repeat": (lambda k: Reading(names=["u", "u"]), r"names: 'u' occurs more than once"),
    "numbers as names": (lambda k: Reading(names=[1, 2]), r"names=\(1, 2\) must be words.*names=\['u', 'y'\]"),
    "half a row to skip": (lambda k: Reading(skip_rows=0.5), r"skip_rows is 0\.5; it must be a whole number"),
    "rows to skip backwards": (lambda k: Reading(skip_rows=-1), r"skip_rows is -1; it must be at least 0"),
    "unknown encoding": (lambda k: Reading(encoding="utf-9"), r"Unknown encoding 'utf-9'.*latin-1"),
    "encoding of bytes": (lambda k: Reading(encoding="base64"), r"Unknown encoding 'base64'.*utf-16"),
    "long delimiter": (lambda k: Reading(delimiter="::"), r"delimiter='::' must be one character.*semicolon"),
    "delimiter of numbers": (lambda k: Reading(delimiter="."), r"delimiter='\.' must be one character that no number"),
    "decimal": (lambda k: Reading(decimal="·"), r"decimal='·' must be '\.' or ','"),
    "comma twice": (lambda k: Reading(decimal=",", delimiter=","), r"a comma cannot be both the delimiter and the dec"),
    "missing values": (
        lambda k: Reading(missing_values=[None]),
        r"missing_values: None is neither a number nor a word",
    ),
    "time": (lambda k: Reading(time=3), r"time=3 must be the name of a column, True or False"),
    "reading as a dict": (
        lambda k: lddn.data.read_csv(k.csv, reading={"skip_rows": 1}),
        r"reading is dict, but read_csv.*Reading\(skip_rows=1\)",
    ),
}
FIT = "fit {strange} --inputs u --targets y --out {folder}/out"
LINES = {
    "hole in time": (
        "fit {hole} --inputs u --targets y --out {folder}/out",
        "hole.csv, line 6, column 'Time': '6' after '4'.*--no-time",
    ),
    "hole in time of predict": ("predict {hole} --model {model} --out {folder}/out", "'6' after '4'.*--no-time"),
    "hole in time of report": ("report {hole} --model {model} --out {folder}/r.html", "'6' after '4'.*--no-time"),
    "hole in time of compare": ("compare {hole} --inputs u --targets y --out {folder}/out", "'6' after '4'.*--no-time"),
    "word in a column": (FIT, "strange_words.csv, line 3, column 'y': 'off'.*--missing-value off"),
    "missing target": ("fit {coded} --inputs u --targets y --missing-value -200 --out {folder}/out", "--missing mask"),
    "no such name": (
        "fit {bare_rows} --inputs u --targets y --out {folder}/out",
        "No column 'u' in .*bare_rows.csv; it has 1, 2. The file has no header.*--names u,y",
    ),
    "too many names": (
        "fit {bare_rows} --names a,b,c --inputs a --targets b --out {folder}/out",
        "the rows have 2 columns, and 3 names were given: a, b, c",
    ),
    "encoding unknown": (f"{FIT} --encoding utf-9", "Unknown encoding 'utf-9'"),
    "encoding wrong": (
        "fit {latin} --encoding utf-8 --inputs u --targets y --out {folder}/out",
        "not utf-8 text.*--encoding latin-1",
    ),
    "rows to skip": (f"{FIT} --skip-rows half", "--skip-rows: 'half' is not a whole number"),
    "time and none": (f"{FIT} --time t --no-time", "--no-time: not allowed with argument --time"),
    "decimal separator": (f"{FIT} --decimal ;", "--decimal: invalid choice: ';'"),
    "short record": (
        "fit {few_rows} --names u,y --inputs u --targets y --model narx --out {folder}/out",
        "only . would belong to .*--division records",
    ),
    "short record for folds": (
        "fit {few_rows} --names u,y --inputs u --targets y --out {folder}/out",
        "training part has 10 samples.*4 folds.*longer record",
    ),
    "thousands or not": (
        "fit {grouped} --inputs u --targets y --out {folder}/out",
        "'1,234' may have a decimal comma or a thousands separator.*--decimal ','",
    ),
}


def rows():
    for subject, found in (("cells", CELLS), ("lines", LINES_OF_CELLS), ("times", TIMES), ("reading", OPTIONS)):
        yield from (
            (f"text file, {subject}: {name}", (call, DataError, words)) for name, (call, words) in found.items()
        )


def lines():
    yield from ((f"text file: {name}", row) for name, row in LINES.items())


def files(folder):
    """Files of the command lines."""
    contents = {
        "hole": "Time,u,y\n" + "".join(f"{k},{k % 3},{k % 4}\n" for k in (1, 2, 3, 4, 6, 7)),
        "strange_words": "u,y\n1,2\n1,off\n1,3\n",
        "coded": "u,y\n" + "1,2\n3,4\n5,-200\n" * 9,
        "bare_rows": "1 2\n" * 30,
        "few_rows": "1 2\n" * 12,
        "grouped": 'u,y\n"1,234","2,345"\n"1,235","2,346"\n',
        "huge": "u,y\n1e300,1\n1e300,2\n",
    }
    paths = {name: folder / f"{name}.csv" for name in contents}
    for name, path in paths.items():
        path.write_text(contents[name])
    latin = folder / "latin.csv"
    latin.write_bytes("größe,u,y\n1,2,3\n".encode("latin-1"))
    return paths | {"strange": paths["strange_words"], "latin": latin}
