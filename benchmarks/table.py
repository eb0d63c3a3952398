"""Builds the tables of `benchmarks/README.md` from the JSON files in `benchmarks/results`; no number is typed by hand.

`python -m benchmarks.table` rewrites what stands between the markers; `--check` only says whether it is up to date.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def table(name: str, content: dict[str, Any]) -> str:
    """One markdown section: the question, the machine, a row for each case, and geometric means of the ratios."""
    machine, rows = content["machine"], content["rows"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v)
    contenders = list(dict.fromkeys(c for row in rows for c in row["seconds"]))
    yardstick, others = contenders[0], contenders[1:]
    lines = [
        f"### {name}",
        "",
        content["question"],
        "",
        f"{machine['date']}; {machine['processor']}, {machine['cores']} core(s) pinned; device {machine['device']}; "
        f"{versions}. `{machine['command']}`",
        "",
        "Milliseconds for one run, median (distance of quartiles); then the time of each peer divided by that of "
        f"{yardstick}.",
        "",
        "| case | dtype | " + " | ".join([*contenders, *(f"{c} / {yardstick}" for c in others)]) + " |",
        "|---" * (2 + len(contenders) + len(others)) + "|",
    ]
    ratios: dict[str, list[float]] = {c: [] for c in others}
    for row in rows:
        seconds = row["seconds"]
        cells = [row["case"], row["dtype"]]
        for c in contenders:
            cells.append(f"{_ms(seconds[c]['median'])} ({_ms(seconds[c]['quartiles'])})" if c in seconds else "")
        for c in others:
            if c in seconds:
                ratios[c].append(seconds[c]["median"] / seconds[yardstick]["median"])
                cells.append(f"{ratios[c][-1]:.2f}")
            else:
                cells.append("")
        lines.append("| " + " | ".join(cells) + " |")
    means = [f"{math.exp(sum(map(math.log, r)) / len(r)):.2f}" if r else "" for r in ratios.values()]
    lines.append("| **geometric mean** | " + " | " * (1 + len(contenders)) + " | ".join(means) + " |")
    first = [f"{c} {sum(row['seconds'][c]['first'] for row in rows if c in row['seconds']):.1f} s" for c in contenders]
    lines += ["", f"First calls of all cases together, which compile: {', '.join(first)}."]
    return "\n".join(lines)


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"


def main() -> int:
    """Rewrites the tables; returns 1 if `--check` finds them out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    tables = [table(path.stem, json.loads(path.read_text())) for path in sorted(RESULTS.glob("*.json"))]
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
