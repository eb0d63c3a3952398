"""Networks that `identify` knows by name."""

import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.identification.named_models import NAMED, named_reads_outputs, settings_of

FEW = {"epochs": 2, "restarts": 2, "folds": 2, "keep": 1}


def record(length=120):
    rng = np.random.default_rng(0)
    u, y = rng.uniform(-1, 1, (length, 1)), np.zeros((length, 1))
    for t in range(1, length):
        y[t] = 0.7 * y[t - 1] + np.tanh(2 * u[t - 1])
    return lddn.data.Record({"u": u}, {"y": y})


@pytest.mark.parametrize("name", NAMED)
def test_every_name_is_a_network_of_the_records_signals(name):
    settings = lddn.Settings(model=name)
    inputs, outputs = ({"u": 1}, {"y": 1}) if name == "narma-l2" else ({"u": 2, "v": 1}, {"y": 1, "z": 2})
    topology = settings.topology_for(inputs, outputs)
    assert {i.name for i in topology.inputs} - {"measured_y"} == set(inputs)
    assert list(topology.outputs) == list(outputs)
    assert settings.chosen_model == ("narx" if named_reads_outputs(name) else "state-space")
    assert named_reads_outputs(name) == (name == "narma-l2")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model": "gru", "hidden": 3}, lddn.models.gru({"u": 1}, {"y": 1}, hidden=3)),
        ({"model": "wiener", "hidden": 3, "states": 1}, lddn.models.wiener({"u": 1}, {"y": 1}, hidden=3, states=1)),
        ({"model": "bilinear", "states": (3,)}, lddn.models.bilinear({"u": 1}, {"y": 1}, states=3)),
        (
            {"model": "narma-l2", "hidden": 2, "input_delays": (1,)},
            lddn.models.narma_l2({"u": 1}, {"y": 1}, hidden=2, input_delays=(1,)),
        ),
    ],
    ids=lambda value: value["model"] if isinstance(value, dict) else "",
)
def test_settings_are_those_of_the_declaration(settings, expected):
    made = lddn.Settings(**settings)
    assert made.topology_for({"u": 1}, {"y": 1}) == expected
    declared = made.with_declared(expected)
    assert declared.declared == expected
    assert (declared.hidden, declared.states) == (None, None)


@pytest.mark.parametrize("name", ["gru", "hammerstein"])
def test_they_are_identified_on_folds(name):
    found = lddn.identify(record(), ["u"], ["y"], lddn.Settings(model=name, hidden=2, **FEW))
    assert found.settings.declared == lddn.Settings(model=name, hidden=2).topology_for({"u": 1}, {"y": 1})
    assert found.model.net.topology == found.settings.declared
    assert np.isfinite(found.trained.chosen.found.error)


def test_networks_that_read_measured_outputs_are_trained_over_growing_horizons():
    settings = lddn.Settings(model="narma-l2", hidden=2, epochs=2, restarts=1, horizons=(1, None))
    found = lddn.identify(record(), ["u"], ["y"], settings)
    assert [stage.horizon for stage in found.trained.stages] == [1, None]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "gru", "states": 2}, r"states=2 is no setting of model='gru', which has \['hidden'\]"),
        ({"model": "wiener", "input_delays": (1,)}, "input_delays.*is no setting of model='wiener'"),
        ({"model": "bilinear", "states": (1, 2)}, 'several numbers compete for model="state-space" only.*states=1'),
        ({"model": "lstn"}, "Did you mean 'lstm'"),
        ({"model": "lstm", "trainer": "adam"}, "trainer='adam'"),
    ],
)
def test_settings_that_a_network_does_not_have(settings, message):
    with pytest.raises(lddn.LDDNError, match=message):
        lddn.Settings(**settings)


def test_arguments_of_a_declaration_are_known():
    assert {"hidden", "states"} <= set(settings_of("hammerstein"))
