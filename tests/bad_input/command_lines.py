"""Lines that are typed wrong: what the command line is given, and what it must say on the way out with code 2."""

FIT = "fit {csv} --inputs u --targets y --out {folder}/out"

LINES = {
    "no command": ("", "required: COMMAND"),
    "unknown command": ("fti {csv}", "'fti'.*choose from.*fit"),
    "misspelt option": (f"{FIT} --hiddn-neurons 3", "--hiddn-neurons"),
    "half an option": (f"{FIT} --resum", "unrecognized arguments: --resum"),
    "no target": ("fit {csv} --inputs u", "required: --targets"),
    "no file": ("fit absent.csv --targets y --out {folder}/out", "no file absent.csv"),
    "missing column": (
        "fit {csv} --inputs u --targets yy --out {folder}/out",
        "'yy'.*it has time, u, y.*Did you mean 'y'",
    ),
    "column as both": ("fit {csv} --inputs y --targets y --out {folder}/out", "'y' is both.*Leave 'y' out"),
    "bad number": (f"{FIT} --hidden ten", "--hidden: 'ten' is not a whole number from 0"),
    "negative number": (f"{FIT} --epochs -5", "--epochs: '-5' is not a positive whole number"),
    "delays by semicolon": (f"{FIT} --delays 1;2", "--delays: '1;2' is not whole numbers such as 1,2"),
    "delays out of order": (f"{FIT} --delays 2,1", r"\(2, 1\).*delays=\(1, 2\)"),
    "feedback at once": (f"{FIT} --feedback 0,1", r"feedback_delays=\(0, 1\).*\(1,\)"),
    "share beyond 1": (f"{FIT} --train 1.5", "--train: '1.5' is not a share between 0 and 1"),
    "unknown trainer": (f"{FIT} --trainer sgd", "--trainer.*'sgd'.*'lm', 'br', 'adam'"),
    "misspelt first weights": (f"{FIT} --init glorrot", "'glorrot'.*Did you mean 'glorot'"),
    "misspelt groups": (f"{FIT} --groups dealy", "--groups.*'dealy'.*'delay'"),
    "gradient check with a value": (f"{FIT} --check-gradients=no", "check-gradients.*'no'"),
    "window too long": (f"{FIT} --trainer adam --window 500", "30 samples.*502"),
    "gap": ("fit {gap} --inputs u --targets y --out {folder}/out", "'gap'.*'u' is nan at sample 2.*fill the gap"),
    "words in a file": ("fit {words} --inputs u --targets y --out {folder}/out", "line 3, column 'y': 'low'"),
    "empty file": ("fit {empty} --inputs u --targets y --out {folder}/out", "empty.csv is empty.*header such as"),
    "model not there": ("predict {csv} --model absent.npz", "absent.npz cannot be read"),
    "table for a model": ("predict {csv} --model {csv}", "record.csv.*lddn.save"),
    "model of another kind": ("predict {csv} --model {bare}", "bare.npz holds a Network.*lddn.Scaled"),
    "column of a model": ("predict {other} --model {model}", "'u'.*it has v, y"),
    "warm-up of all": ("predict {csv} --model {model} --warmup 99 --out {folder}/out", "warmup=99.*28 steps"),
    "report of another model": ("report {csv} --model {bare}", "bare.npz holds a Network.*lddn.Scaled"),
    "report of an unknown column": ("report {other} --model {model} --out {folder}/report.html", "'u'.*it has v, y"),
    "no steps ahead": ("predict {csv} --model {model} --ahead 0", "--ahead: '0' is not numbers such as 1,5,20,all"),
    "all steps ahead": ("predict {csv} --model {model} --ahead all", "--ahead all.*--ahead 1,10"),
    "compare without sizes": ("compare {csv} --targets y --hidden 0", "--hidden: '0' is not a positive whole number"),
    "compare of an unknown column": ("compare {csv} --targets z --out {folder}/out", "'z'.*it has time, u, y"),
    "check of no file": ("check absent.json", "absent.json"),
    "check of a table": ("check {csv}", "record.csv is not JSON.*topology.to_dict"),
    "check of a loop": ("check {loop}", "zero-delay loop A -> B -> A"),
    "check of a misspelt transfer function": ("check {misspelt}", "'tahn'.*Did you mean 'tanh'"),
    "check of no steps": ("check {loop} --steps 0", "--steps: '0' is not a positive whole number"),
}


def lines():
    yield from ((f"command line: {name}", row) for name, row in LINES.items())
