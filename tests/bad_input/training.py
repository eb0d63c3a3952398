"""Trainers, training, and what follows from it."""

import numpy as np
import optax

import lddn_jax as lddn
from lddn_jax import LDDNError

BAYES, MARQUARDT = lddn.BayesianRegularization, lddn.LevenbergMarquardt


def fit(**changed):
    """Trains with an argument that makes no sense."""
    return lambda k: lddn.fit(**({"net": k.net, "data": k.data, "loss": k.mse, "trainer": k.adam} | changed))


def closed(**changed):
    return lambda k: lddn.fit_closed_loop(**({"net": k.net, "data": k.data, "trainer": k.lm} | changed))


def identify(**changed):
    return lambda k: lddn.identify(**({"records": k.table, "inputs": ["u"], "targets": ["y"]} | changed))


def setting(**chosen):
    return lambda k: lddn.Settings(**chosen)


def settled(**chosen):
    return lambda k: lddn.identify(k.table, ["u"], ["y"], lddn.Settings(**chosen))


TRAINERS = {
    "transformation by name": (lambda k: lddn.Optax("adam"), r"'adam'.*lddn\.Optax\(optax\.adam"),
    "transformation not made": (
        lambda k: lddn.Optax(optax.adam),
        r"transformation=<function adam.*optax\.adam\(1e-3\)",
    ),
    "trainer in a trainer": (lambda k: lddn.Optax(k.lm), r"LevenbergMarquardt.*optax\.adam\(1e-3\)"),
    "no sequence in a batch": (lambda k: lddn.Optax(optax.adam(0.1), 0), r"batch_size=0.*positive whole number"),
    "half a sequence": (lambda k: lddn.Optax(optax.adam(0.1), 2.5), r"batch_size=2\.5.*positive whole number"),
    "misspelt solver": (lambda k: MARQUARDT(solver="choleski"), r"solver='choleski'.*'cholesky', 'qr'"),
    "misspelt damping": (lambda k: MARQUARDT(damping="nielson"), r"='nielson'.*'nielsen', 'textbook'"),
    "negative damping": (lambda k: MARQUARDT(mu=-1), r"mu=-1.*positive"),
    "damping in words": (lambda k: MARQUARDT(mu="small"), r"mu='small'.*positive"),
    "damping that never rises": (lambda k: MARQUARDT(mu_inc=0.5), r"mu_inc=0\.5.*larger than 1"),
    "no restarts": (lambda k: MARQUARDT(restarts=0), r"restarts=0.*positive whole number"),
    "half a restart": (lambda k: MARQUARDT(restarts=1.5), r"restarts=1\.5.*positive whole number"),
    "negative gradient": (lambda k: MARQUARDT(min_grad=-1), r"min_grad=-1.*negative"),
    "gradient in words": (lambda k: MARQUARDT(min_grad="1e-7"), r"min_grad='1e-7'.*number"),
    "misspelt first weights": (lambda k: MARQUARDT(init_of_restarts="glorrot"), r"'glorrot'.*Did you mean 'glorot'"),
    "misspelt groups": (lambda k: BAYES(groups="dealy"), r"groups='dealy'.*'delay'"),
    "misspelt update": (lambda k: BAYES(update="each_step"), r"update='each_step'.*\"every_step\""),
    "no start": (lambda k: BAYES(start=0), r"start=0.*positive"),
    "negative tolerance": (lambda k: BAYES(tolerance=-1e-6), r"tolerance=-1e-06.*negative"),
    "adapter by name": (lambda k: lddn.Adapter("sgd"), r"'sgd'.*optax\.sgd\(0\.01\)"),
    "adapter of a trainer": (lambda k: lddn.Adapter(k.adam), r"Optax.*optax\.sgd\(0\.01\)"),
    "number of an optimizer": (
        lambda k: lddn.optimizers.scaled_conjugate_gradient(sigma=-1),
        r"\(sigma=-1\).*> 0.*sigma=5e-05",
    ),
    "misspelt formula": (
        lambda k: lddn.optimizers.conjugate_gradient("polak"),
        r"'polak'.*polak-ribiere",
    ),
    "no steps": (lambda k: lddn.levenberg_marquardt(np.sin, np.ones(2), max_steps=0), r"max_steps=0.*positive"),
    "whole numbers as a start": (
        lambda k: lddn.levenberg_marquardt(np.sin, np.array([1, 2])),
        r"array\(\[1, 2\]\).*jnp\.array\(\[1\.0, 2\.0\]\)",
    ),
    "start before residuals": (
        lambda k: lddn.levenberg_marquardt(np.ones(2), np.sin),
        r"residual_fn=array.*levenberg_marquardt\(residual_fn, parameters",
    ),
}
FITTING = {
    "transformation for a trainer": (fit(trainer=optax.adam(0.1)), r"trainer is Gradient.*lddn\.Optax"),
    "trainer by name": (fit(trainer="lm"), r"trainer is 'lm'.*lddn\.Optax"),
    "no epochs": (fit(epochs=0), r"epochs=0.*positive whole number"),
    "half an epoch": (fit(epochs=2.5), r"epochs=2\.5.*positive whole number"),
    "truth for a number of epochs": (fit(epochs=True), r"epochs=True.*positive whole number"),
    "trainer not made": (
        fit(trainer=lddn.LevenbergMarquardt),
        r"class LevenbergMarquardt.*LevenbergMarquardt\(\), with brackets",
    ),
    "trainer and loss swapped": (
        lambda k: lddn.fit(k.net, k.data, k.adam, k.mse),
        r"trainer is MeanSquaredError, but fit\(net, data, loss, trainer\)",
    ),
    "net and data swapped": (
        lambda k: lddn.fit(k.data, k.net, k.mse, k.adam),
        r"net is Sequences.*fit\(net, data, loss",
    ),
    "data and loss swapped": (lambda k: lddn.fit(k.net, k.mse, k.data, k.adam), r"loss is Sequences.*fit\(net, data"),
    "data as an array": (lambda k: lddn.fit(k.net, k.y, k.mse, k.adam), r"data is ndarray.*lddn\.Sequences\(inputs"),
    "loss by name": (fit(loss="mse"), r"loss is 'mse'.*MeanSquaredError\(\)"),
    "loss not made": (fit(loss=lddn.losses.Huber), r"class Huber.*Huber\(\), with brackets"),
    "what fit returned for a net": (lambda k: lddn.fit(k.fitted, k.data, k.mse, k.adam), r"net is Fitted.*\.net"),
    "scaled for a net": (lambda k: lddn.fit(k.scaled, k.data, k.mse, k.adam), r"net is Scaled.*\.net"),
    "topology for a net": (lambda k: lddn.fit(k.topology, k.data, k.mse, k.adam), r"net is Topology.*Network\("),
    "gap in the targets": (
        lambda k: lddn.fit(k.net, lddn.Sequences(k.inputs, np.full((30, 1), np.nan)), k.mse, k.adam),
        r"target 'y'.*NaN.*missing=\"mask\"",
    ),
    "validation as a pair": (
        lambda k: lddn.fit(k.net, k.data, k.mse, k.adam, validation=(k.u, k.y)),
        r"validation is tup",
    ),
    "validation as a share": (fit(validation=0.15), r"validation is 0\.15.*lddn\.Sequences"),
    "gradient by name": (fit(gradient="bptt"), r"gradient is 'bptt'.*lddn\.BPTT\(\)"),
    "gradient not made": (fit(gradient=lddn.BPTT), r"class BPTT.*BPTT\(\), with brackets"),
    "goal in words": (fit(goal="small"), r"goal='small'.*goal=1e-6"),
    "negative goal": (fit(goal=-1), r"goal=-1.*goal=1e-6"),
    "number for a key": (fit(key=5), r"key=5.*jax\.random\.key\(5\)"),
    "progress in words": (fit(progress="yes"), r"progress='yes'.*progress=True"),
    "callbacks by name": (fit(callbacks="log"), r"callbacks='log'.*callbacks=\["),
    "one callback": (lambda k: lddn.fit(k.net, k.data, k.mse, k.adam, callbacks=print), r"builtin.*callbacks=\["),
    "more in a batch than there is": (fit(trainer=lddn.Optax(optax.adam(0.1), 4)), r"batch_size=4.*1 sequence"),
    "loss without squares": (
        lambda k: lddn.fit(k.net, k.data, lddn.losses.Huber(), k.lm),
        r"Huber is not one.*MeanSquaredError\(\)",
    ),
    "goes on from nothing": (fit(resume="absent.npz"), r"absent\.npz cannot be read"),
    "goes on from a table": (lambda k: lddn.fit(k.net, k.data, k.mse, k.adam, resume=k.csv), r"record\.csv is damaged"),
    "goes on from a network": (lambda k: lddn.fit(k.net, k.data, k.mse, k.adam, resume=k.net), r"resume=Network.*path"),
    "goes on from a file of a network": (
        lambda k: lddn.fit(k.net, k.data, k.mse, k.adam, resume=k.bare),
        r"bare\.npz holds a network",
    ),
    "time in words": (lambda k: lddn.callbacks.TimeLimit("1 h"), r"seconds='1 h'.*positive number"),
    "checkpoints never": (lambda k: lddn.callbacks.Checkpoint("x", seconds=None), r"every=EPOCHS, seconds=SECONDS"),
    "closed on an array": (lambda k: lddn.fit_closed_loop(k.net, k.y, k.lm), r"data is ndarray.*lddn\.Sequences"),
    "closed and validated on an array": (
        lambda k: lddn.fit_closed_loop(k.net, k.data, k.lm, validation=k.y),
        r"validation is ndarray.*lddn\.Sequences",
    ),
    "closed, net and data swapped": (
        lambda k: lddn.fit_closed_loop(k.data, k.net, k.lm),
        r"net is Sequences.*fit_closed",
    ),
    "closed without a trainer": (closed(trainer="lm"), r"trainer is 'lm'.*LevenbergMarquardt\(\)"),
    "one horizon": (closed(horizons=5), r"horizons=5 .*horizons=\(1, 5, 20, None\)"),
    "horizons that shrink": (closed(horizons=(5, 1)), r"horizons=\(5, 1\).*increasing order"),
    "half an epoch of a horizon": (closed(epochs=2.5), r"epochs=2\.5.*epochs=50"),
    "no epochs of a horizon": (closed(epochs=0), r"epochs=0.*epochs=50"),
    "horizon beyond the record": (closed(horizons=(1, 99)), r"\(1, 99\).*longest record has 28 steps"),
    "loops in a list": (closed(loops=["measured_y"]), r"loops=\['measured_y'\].*loops=\{'measured': 'y'\}"),
    "settings of identify as a dict": (
        identify(settings={"hidden": 3}),
        r"settings is dict.*lddn\.Settings\(hidden=5\)",
    ),
    "one input by name": (identify(inputs="u"), r"inputs='u'.*inputs=\['u'\]"),
    "one target by name": (identify(targets="y"), r"targets='y'.*targets=\['y'\]"),
    "warm-up longer than the test": (settled(warmup=99), r"warmup=99.*no test piece"),
    "horizons beyond the record": (settled(horizons=(999,)), r"horizons=\(999,\).*horizons=\(1, 5, None\)"),
    "network loaded": (lambda k: lddn.load(k.net), r"path is Network.*load\(path\)"),
    "number loaded": (lambda k: lddn.load(5), r"path is 5.*load\(path\)"),
    "saved the other way round": (lambda k: lddn.save(k.net, "net.npz"), r"path is Network.*save\(path, net\)"),
    "table loaded": (lambda k: lddn.load(k.csv), r"record\.csv is damaged or was not written by lddn\.save"),
    "half a failure": (fit(max_fail=2.5), r"max_fail=2\.5.*positive whole number"),
    "record of another kind": (identify(records=3), r"made from int\. Pass a Table"),
    "no file that validates": (identify(validation="absent.csv"), r"no file absent\.csv"),
    "no failures": (fit(max_fail=0), r"max_fail=0.*positive whole number"),
    "closed without a measured input": (
        lambda k: lddn.fit_closed_loop(k.fir, k.data, k.lm),
        r"\['u'\].*\['y'\].*loops=\{'measured': 'y'\}",
    ),
    "horizon of no step": (closed(horizons=(0, 5)), r"\(0, 5\).*horizons=\(1, 5, 20, None\)"),
    "no horizon": (closed(horizons=()), r"horizons=\(\).*horizons=\(1, 5, 20, None\)"),
    "epochs of other horizons": (closed(horizons=(1, 5), epochs=(9,)), r"epochs=\(9,\).*one for each"),
    "loop of an unknown output": (closed(loops={"measured_y": "z"}), r"no layer 'z'.*\['hidden', 'y'\]"),
    "loop of an unknown input": (closed(loops={"measured": "y"}), r"no input 'measured'.*'measured_y'"),
    "no targets": (identify(targets=[]), r"no target column.*targets=\['position'\]"),
    "both": (identify(inputs=["y"]), r"'y' is both.*Leave 'y' out"),
    "unknown column": (identify(inputs=["uu"]), r"'uu'.*Did you mean 'u'"),
    "no feedback": (settled(feedback_delays=(0,)), r"feedback_delays=\(0,\).*\(1,\)"),
    "delays longer than the record": (settled(input_delays=(50,)), r"needs 51"),
    "settings as a dict": (
        lambda k: lddn.compare_narx(k.table, ["u"], ["y"], settings={"seed": 1}),
        r"settings is dict.*lddn\.Settings\(seed=1",
    ),
}
PROMISES = {
    "tolerance of nothing": (lambda k: lddn.accuracy.Approximate(0), r"is 0; write Approximate\(1e-3\)"),
    "tolerance in words": (lambda k: lddn.accuracy.Approximate("1e-3"), r"is '1e-3'; write Approximate"),
    "one draw": (lambda k: lddn.accuracy.Random(1), r"draws=1.*2 or more"),
    "reason without a meaning": (lambda k: lddn.StopReason("quiet"), r"'quiet' is unknown.*\"what it means\""),
}
SETTINGS = {
    "trainer": (settled(trainer="sgd"), r"trainer='sgd'.*'lm'"),
    "init": (setting(init="glorrot"), r"'glorrot'.*Did you mean 'glorot'"),
    "groups": (setting(groups="dealy"), r"groups='dealy'.*'delay'"),
    "no epochs": (setting(epochs=0), r"epochs=0.*positive whole number"),
    "no restarts": (setting(restarts=0), r"restarts=0.*positive whole number"),
    "hidden in words": (settled(hidden="10"), r"hidden='10'.*whole number"),
    "batch": (setting(batch_size=2.5), r"batch_size=2\.5.*positive whole number"),
    "rate": (setting(learning_rate=-1), r"learning_rate=-1.*positive number"),
    "window": (setting(window=0), r"window=0.*positive whole number"),
    "horizons": (setting(horizons=(0, 5)), r"horizons=\(0, 5\).*\(1, 5, 20, None\)"),
    "no horizons": (setting(horizons=()), r"horizons=\(\).*\(1, 5, 20, None\)"),
    "shares": (setting(train=0.9, validation=0.2), r"train=0\.9 and validation=0\.2.*the rest is the test part"),
    "division by name": (settled(division="blocks"), r"'blocks'.*lddn\.data\.Blocks\(\)"),
    "missing": (settled(missing="mark"), r"'mark'.*missing=\"mask\""),
    "warm-up": (setting(warmup=-1), r"warmup=-1.*whole number"),
    "dtype": (setting(dtype="int32"), r"dtype='int32'.*dtype=\"float64\""),
    "gradient check in words": (setting(check_gradients="no"), r"check_gradients='no'.*check_gradients=True"),
    "gradient check as a number": (setting(check_gradients=1), r"check_gradients=1 .*True nor False"),
    "a bare delay": (settled(input_delays=2), r"input_delays=2 .*input_delays=\(2,\)"),
}
AFTERWARDS = {
    "of another trainer": (lambda k: lddn.posterior(k.fitted, k.data), r"another trainer.*BayesianRegularization\(\)"),
    "of a network": (lambda k: lddn.posterior(k.net, k.data), r"Network.*posterior\(fitted, data\)"),
    "of data first": (lambda k: lddn.posterior(k.data, k.fitted), r"Sequences.*posterior\(fitted, data\)"),
    "relevance of a network": (lambda k: lddn.relevance(k.net), r"Network.*lddn\.posterior\(fitted, data\)"),
    "relevance of what fit returned": (lambda k: lddn.relevance(k.fitted), r"Fitted.*lddn\.posterior\(fitted, data\)"),
    "pruned beyond all": (lambda k: lddn.prune(k.net, k.posterior, 2), r"threshold=2.*between 0"),
    "pruned in words": (lambda k: lddn.prune(k.net, k.posterior, "weak"), r"threshold='weak'.*between 0"),
    "pruned otherwise": (lambda k: lddn.prune(k.fir, k.posterior), r"different topologies.*prune\(posterior\.net"),
    "pruned the other way round": (
        lambda k: lddn.prune(k.posterior, k.net),
        r"posterior is Network.*prune\(net, posterior",
    ),
    "pruned without data": (lambda k: lddn.prune(k.net, k.dataless), r"no data.*data=sequences"),
    "key and number swapped": (lambda k: k.posterior.sample(5, k.key), r"key=5 .*sample\(key, n\)"),
    "no draws": (lambda k: k.posterior.sample(k.key, 0), r"n=0.*positive whole number"),
    "error bars of misspelt inputs": (lambda k: k.posterior.predict({"v": k.u}), r"input 'v'"),
    "nothing to compare": (lambda k: lddn.compare({}, k.data), r"there is no topology.*topology, \.\.\.\}"),
    "one topology to compare": (lambda k: lddn.compare(k.topology, k.data), r"topologies is Topology.*\{'5 neurons': "),
    "networks to compare": (lambda k: lddn.compare({"a": k.net}, k.data), r"is Network, but compare.*net\.topology"),
    "data to compare first": (
        lambda k: lddn.compare(k.data, {"a": k.topology}),
        r"Sequences.*compare\(topologies, data",
    ),
    "compared by another trainer": (
        lambda k: lddn.compare({"a": k.topology}, k.data, trainer=k.lm),
        r"LevenbergMarquardt.*lddn\.BayesianRegularization\(",
    ),
    "one size": (lambda k: lddn.compare_narx(k.table, ["u"], ["y"], hidden=5), r"hidden=5.*hidden=\(5,\)"),
    "one set of delays": (
        lambda k: lddn.compare_narx(k.table, ["u"], ["y"], input_delays=(1, 2)),
        r"input_delays=\(1, 2\).*input_delays=\(\(1, 2\),\)",
    ),
    "adapted by name": (lambda k: lddn.adapt(k.net, k.data, "sgd"), r"'sgd'.*optax\.sgd\(0\.01\)"),
    "adapted by a trainer": (lambda k: lddn.adapt(k.net, k.data, k.adam), r"Optax.*optax\.sgd\(0\.01\)"),
    "adapted the other way round": (
        lambda k: lddn.adapt(k.data, k.net, optax.sgd(0.1)),
        r"net is Sequences.*adapt\(net, data, transformation",
    ),
    "adapted by a loss": (
        lambda k: lddn.adapt(k.net, k.data, optax.sgd(0.1), "mse"),
        r"'mse', but adapt\(net, data.*SquaredError\(\)",
    ),
    "target of a sample": (
        lambda k: lddn.Adapter(optax.sgd(0.1)).step(k.fir, None, [1.0], [1.0, 2.0]),
        r"target 'y' has shape \(2,\)",
    ),
}


def rows():
    for subject, table in (
        ("trainer", TRAINERS),
        ("fit", FITTING),
        ("promise", PROMISES),
        ("settings", SETTINGS),
        ("afterwards", AFTERWARDS),
    ):
        for name, (call, words) in table.items():
            yield f"{subject}: {name}", (call, LDDNError, words)
