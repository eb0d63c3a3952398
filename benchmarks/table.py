"""Builds the tables of `benchmarks/README.md` from the JSON files in `benchmarks/results`; no number is typed by hand.

The keys of a row determine its table: `seconds` by contender for times (of a run, or of the unit in `each`), `bytes`
for memory, `reached` for training errors and the time to reach them, `error` for test errors. `python -m
benchmarks.table` rewrites the text between the markers; `--check` only checks whether it is up to date.
"""

import argparse
import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks import identification

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def section(name: str, content: dict[str, Any], figure: bool = False) -> str:
    """Returns one file in markdown: the question, the machine, the figure if any, and a table for each quantity.

    Args:
        name: The heading; the figure is `results/name.png`.
        content: As written by `harness.write`.
        figure: Whether to link the figure.
    """
    machine, rows = content["machine"], content["rows"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v)
    parts = [
        f"### {name}",
        content["question"],
        f"{machine['date']}; {machine['processor']}, {machine['cores']} core(s) pinned; device {machine['device']}; "
        f"{versions}. `{machine['command']}`",
    ]
    if figure:
        parts.append(f"![{name}](results/{name}.png)")
    if "crossover" in content:
        parts.append(crossovers(content["crossover"]))
    if any("difference" in row for row in rows):
        parts.append(differences(rows, content["tolerance"]))
    if found := [row for row in rows if "bytes" in row]:
        parts.append(memory(found))
        parts += [limits(found, content["limits"])] if "limits" in content else []
    if found := [row for row in rows if "reached" in row]:
        parts.append(reached(found))
    timed = [row for row in rows if "seconds" in row]
    for each in dict.fromkeys(row.get("each", "one run") for row in timed):
        parts.append(times([row for row in timed if row.get("each", "one run") == each], each))
    if found := [row for row in rows if "trials" in row]:
        parts.append(trials(found))
    if found := [row for row in rows if "error" in row]:
        parts.append(errors(found))
    return "\n\n".join(parts)


def times(rows: list[dict[str, Any]], each: str = "one run") -> str:
    """Returns a row for each case, and geometric means of ratios to the first contender; `each` is the timed unit."""
    contenders = _contenders(rows, "seconds")
    yardstick, others = contenders[0], contenders[1:]
    ratios: dict[str, list[float]] = {c: [] for c in others}
    lines = []
    for row in rows:
        seconds = row["seconds"]
        cells = [row["case"], row["dtype"]]
        for c in contenders:
            cells.append(f"{_ms(seconds[c]['median'])} ({_ms(seconds[c]['quartiles'])})" if c in seconds else "")
        for c in others:
            if c in seconds and yardstick in seconds:
                ratios[c].append(seconds[c]["median"] / seconds[yardstick]["median"])
                cells.append(f"{ratios[c][-1]:.2f}")
            else:
                cells.append("")
        lines.append(cells)
    means = [f"{math.exp(sum(map(math.log, r)) / len(r)):.2f}" if r else "" for r in ratios.values()]
    lines.append(["**geometric mean**", *[""] * (1 + len(contenders)), *means])
    first = [f"{c} {sum(row['seconds'][c]['first'] for row in rows if c in row['seconds']):.1f} s" for c in contenders]
    return "\n\n".join(
        [
            f"Milliseconds for {each}, median (distance of quartiles); then the time of each peer divided by that of "
            f"{yardstick}.",
            _grid(["case", "dtype", *contenders, *(f"{c} / {yardstick}" for c in others)], lines),
            f"First calls of all cases together, which compile: {', '.join(first)}.",
        ]
    )


def memory(rows: list[dict[str, Any]]) -> str:
    """Returns a row for each case, with the measurements of a contender in a cell."""
    contenders = _contenders(rows, "bytes")
    lines = []
    for row in rows:
        sizes = [row["bytes"].get(c, {}) for c in contenders]
        cells = [" / ".join(f"{size / 2**20:.3g}" for size in measured.values()) for measured in sizes]
        lines.append([row["case"], row["dtype"], *cells])
    return "\n\n".join(
        [
            "MiB: temporaries of the compiled program / resident memory that a run adds / peak of the whole process.",
            _grid(["case", "dtype", *contenders], lines),
        ]
    )


def limits(rows: list[dict[str, Any]], most: dict[str, float]) -> str:
    """Returns the largest process of each contender with a limit, and the limit."""
    sizes = {c: max((r["bytes"][c]["process"] for r in rows if c in r["bytes"]), default=math.nan) for c in most}
    listed = ", ".join(f"{c} {sizes[c] / 2**20:.0f} MiB (required {most[c] / 2**20:.0f})" for c in most)
    return f"Peak of the whole process: {listed}."


def trials(rows: list[dict[str, Any]]) -> str:
    """Returns the mean number of trials in an iteration, by case and contender."""
    contenders = _contenders(rows, "trials")
    lines = [
        [row["case"], *(f"{row['trials'][c]:.2f}" if c in row["trials"] else "" for c in contenders)] for row in rows
    ]
    return "\n\n".join(["Steps tried in an iteration, mean.", _grid(["case", *contenders], lines)])


def errors(rows: list[dict[str, Any]]) -> str:
    """Returns test errors by record: the median over seeds and its range, then one number for each other method."""
    others = [name for name in _contenders(rows, "error") if name != "default"]
    lines = []
    for row in rows:
        seeds = sorted(math.inf if e is None else e for e in row["error"]["default"])
        one = {name: _error(found[0]) for name, found in row["error"].items() if name in others}
        published = ", ".join(f"{name} {_error(e)}" for name, e in row["published"].items())
        later = f"{statistics.median(row['later_seconds']):.1f}" if row["later_seconds"] else ""
        shares = [share for share in row["coverage"] if share is not None]
        lines.append(
            [
                f"{row['case']} ({row['unit']})" if row["unit"] else row["case"],
                " / ".join(map(str, row["rows"])),
                f"**{_error(statistics.median(seeds))}** ({_error(seeds[0])} … {_error(seeds[-1])})",
                *(one.get(name, "") for name in others),
                published,
                ""
                if not (shares := [c for c in row["coverage"] if c is not None])
                else f"{statistics.median(shares):.0%}",
                f"{row['first_seconds']:.1f}",
                later,
            ]
        )
    return "\n\n".join(
        [
            "Root mean squared error of a free run on the test part, median over seeds (smallest … largest); seconds "
            "of the first identification, which compiles, and of the later ones.",
            _grid(
                ["record", "rows, train / test", "default", *others, "published", "in bands", "first s", "later s"],
                lines,
            ),
            *_about_ranks(rows),
        ]
    )


def _about_ranks(rows: list[dict[str, Any]]) -> list[str]:
    """A sentence on whether out-of-fold errors tell those on the test part."""
    found = identification.rank_correlations(rows)
    if not found:
        return []
    middle, positive = statistics.median(found), sum(rho > 0 for rho in found)
    return [
        f"Out-of-fold errors rank the structures of a search as errors on the test part do: Spearman's correlation is "
        f"{middle:.2f} (median over records and seeds), and positive in {positive} of {len(found)} searches."
    ]


def reached(rows: list[dict[str, Any]]) -> str:
    """Returns seconds and updates by trainer and training error, medians over the starts that reached it."""
    levels = list(dict.fromkeys(level for row in rows for level in row["reached"]))
    lines = []
    for row in rows:
        cells = [row["case"], row["dtype"], f"{row['first'][0]:.1f} s", _ms(statistics.median(row["update"]))]
        for level in levels:
            runs = row["reached"][level]
            there = [run for run in runs if "updates" in run]
            took = [statistics.median(run[what] for run in there) for what in ("seconds", "updates") if there]
            missed = [run["seconds"] for run in runs if "updates" not in run]
            cell = f"{took[0]:.3g} s, {took[1]:g} updates" if there else f"not in {statistics.median(missed):.3g} s"
            cells.append(cell + (f" ({len(there)} of {len(runs)} starts)" if there and missed else ""))
        lines.append([*cells, f"{statistics.median(row['lowest']):.2g}"])
    heads = [f"error {float(level):.0e}" for level in levels]
    return "\n\n".join(
        [
            "Seconds of the first call, which compiles; milliseconds for one update; time and updates until the error "
            "is reached, medians over the starts that reached it; the lowest error seen, median over starts.",
            _grid(["trainer", "dtype", "first call", "ms an update", *heads, "lowest"], lines),
        ]
    )


def crossovers(found: list[dict[str, Any]]) -> str:
    """Returns the size from which on the GPU is faster than the CPU, by contender."""
    contenders = list(dict.fromkeys(c for line in found for c in line["from"]))
    lines = []
    for line in found:
        sizes = [line["from"].get(c, math.nan) for c in contenders]
        cells = ["never" if size is None else "" if math.isnan(size) else f"{size:.3g}" for size in sizes]
        lines.append([line["family"], line["grows"], *cells])
    return "\n\n".join(
        [
            "The GPU is faster than the CPU from this size on, interpolated between those measured.",
            _grid(["network", "what grows", *contenders], lines),
        ]
    )


def differences(rows: list[dict[str, Any]], tolerance: float) -> str:
    """Returns the largest relative difference from the CPU's gradient, by contender."""
    names = _contenders(rows, "difference")
    worst = {
        name: max((r["difference"][name] for r in rows if name in r["difference"]), key=lambda d: (math.isnan(d), d))
        for name in names
    }
    listed = ", ".join(f"{name} {apart:.1e}" for name, apart in worst.items())
    return f"Largest relative difference from the CPU's gradient (required {tolerance:g}, TF32 aside): {listed}."


def _contenders(rows: list[dict[str, Any]], kind: str) -> list[str]:
    return list(dict.fromkeys(c for row in rows for c in row[kind]))


def _grid(head: list[str], lines: list[list[str]]) -> str:
    return "\n".join(
        ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *("| " + " | ".join(c) + " |" for c in lines)]
    )


def _error(value: float | None) -> str:
    return "diverged" if value is None or not math.isfinite(value) else f"{value:.3g}"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"


def main() -> int:
    """Rewrites the tables; returns 1 if `--check` finds them out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    tables = [
        section(path.stem, json.loads(path.read_text()), path.with_suffix(".png").exists())
        for path in sorted(RESULTS.glob("*.json"))
    ]
    text = README.read_text()
    before, rest = text.split(BEGIN)
    new = before + BEGIN + "\n\n" + "\n\n".join(tables) + "\n\n" + END + rest.split(END)[1]
    if options.check:
        print("up to date" if new == text else "out of date: run python -m benchmarks.table")
        return int(new != text)
    README.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
