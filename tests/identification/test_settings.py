"""Settings: which model they choose, and what does not go together."""

import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.data import ByRecord
from lddn_jax.errors import DataError, LDDNError, PrecisionError
from lddn_jax.identification.settings import ONLY_NARX

CHOSEN = {
    "default": ({}, "state-space"),
    "named": ({"model": "narx"}, "narx"),
    "named as by default": ({"model": "state-space"}, "state-space"),
    "states": ({"states": 3}, "state-space"),
    "hidden": ({"hidden": 5}, "state-space"),
    "no hidden": ({"hidden": 0}, "state-space"),
    "restarts and steps": ({"restarts": 2, "epochs": 5}, "state-space"),
    "division": ({"division": ByRecord()}, "state-space"),
    "delays": ({"input_delays": (1, 2, 3)}, "narx"),
    "trainer": ({"trainer": "br"}, "narx"),
    "horizons": ({"horizons": (1, None)}, "narx"),
    "default delays": ({"input_delays": (1, 2)}, "state-space"),
}
OTHER = {
    "input_delays": (1,),
    "feedback_delays": (1,),
    "linear_path": False,
    "trainer": "br",
    "bayesian_epochs": 7,
    "groups": "delay",
    "horizons": (1,),
    "batch_size": 2,
    "learning_rate": 0.1,
    "window": 50,
}


@pytest.mark.parametrize("name", CHOSEN)
def test_the_model_follows_from_the_settings(name):
    given, expected = CHOSEN[name]
    assert lddn.Settings(**given).chosen_model == expected


@pytest.mark.parametrize("name", ONLY_NARX)
def test_a_setting_of_a_narx_network_chooses_one(name):
    assert lddn.Settings(**{name: OTHER[name]}).chosen_model == "narx"


@pytest.mark.parametrize(
    "own", [{"states": 3}, {"output_hidden": 2}, {"time_budget": 10.0}], ids=lambda d: next(iter(d))
)
@pytest.mark.parametrize(
    "other", [{"model": "narx"}, {"trainer": "br"}, {"horizons": (1, 5)}], ids=lambda d: next(iter(d))
)
def test_settings_of_two_models_do_not_go_together(own, other):
    ((name, value),), ((why, given),) = own.items(), other.items()
    with pytest.raises(LDDNError) as error:
        lddn.Settings(**own, **other)
    assert f'{name}={value!r} is a setting of model="state-space"' in str(error.value)
    assert (f"because of {why}={given!r}" if why != "model" else 'by model="narx"') in str(error.value)


WRONG = {
    "model": ({"model": "nrax"}, LDDNError, "narx"),
    "trainer of a state space": (
        {"model": "state-space", "trainer": "br"},
        LDDNError,
        'trainer=.br. trains model="narx"',
    ),
    "one fold": ({"folds": 1}, LDDNError, "folds=1: one fold would hold out everything; write folds=4"),
    "no folds": ({"folds": 0}, LDDNError, "folds"),
    "none kept": ({"keep": 0}, LDDNError, "keep"),
    "hidden": ({"hidden": -1}, LDDNError, "hidden"),
    "output_hidden": ({"output_hidden": -1}, LDDNError, "output_hidden"),
    "time": ({"time_budget": 0.0}, LDDNError, "time_budget"),
    "states": ({"states": 0}, LDDNError, "states"),
    "no states": ({"states": ()}, LDDNError, "states"),
    "one of the states": ({"states": (1, -2)}, LDDNError, "states"),
    "epochs": ({"epochs": 0}, LDDNError, "epochs"),
    "restarts": ({"restarts": -1}, LDDNError, "restarts"),
    "float32": ({"dtype": "float32"}, PrecisionError, "too few digits"),
    "shares": ({"train": 0.9, "validation": 0.2}, DataError, "shares of the records"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_name_the_setting(name):
    given, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        lddn.Settings(**given)


def test_one_number_of_states_and_several():
    assert lddn.Settings().orders is None
    assert lddn.Settings(states=2).orders == (2,)
    assert lddn.Settings(states=(1, 4)).orders == (1, 4)


def test_what_a_narx_network_gets_by_default():
    settings = lddn.Settings(model="narx")
    assert (settings.narx_hidden, settings.narx_restarts) == (10, 8)
    assert settings.training_dtype == np.float64
    settings = lddn.Settings(model="narx", hidden=3, restarts=2)
    assert (settings.narx_hidden, settings.narx_restarts) == (3, 2)
