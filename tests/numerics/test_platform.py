"""The one XLA flag: set by the command line, told of by the library."""

import logging

import pytest

from lddn_jax.numerics import platform

OLD, NEW = (0, 11, 2), (0, 12, 0)


@pytest.mark.parametrize(
    ("flags", "version", "missing"),
    [
        (None, OLD, True),
        ("--xla_cpu_use_acceleration=1", OLD, True),
        (platform.FLAG, OLD, False),
        ("--xla_backend_extra_options=another_option=1", OLD, False),  # the user's own choice is not touched
        (None, NEW, False),
    ],
)
def test_where_the_flag_is_missing(flags, version, missing):
    assert platform.flag_missing({} if flags is None else {"XLA_FLAGS": flags}, version) is missing


def test_the_flag_is_added_to_those_of_the_user(monkeypatch):
    monkeypatch.setattr(
        platform, "flag_missing", lambda environment: platform.FLAG not in environment.get("XLA_FLAGS", "")
    )
    environment = {"XLA_FLAGS": "--xla_dump_to=somewhere"}
    platform.set_flag(environment)
    assert environment["XLA_FLAGS"] == f"--xla_dump_to=somewhere {platform.FLAG}"
    platform.set_flag(environment)
    assert environment["XLA_FLAGS"] == f"--xla_dump_to=somewhere {platform.FLAG}"
    empty = {}
    platform.set_flag(empty)
    assert empty == {"XLA_FLAGS": platform.FLAG}


def test_the_library_tells_once(monkeypatch, caplog):
    monkeypatch.setattr(platform, "flag_missing", lambda environment: True)
    monkeypatch.setattr(platform.jax, "default_backend", lambda: "cpu")
    platform.tell_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger="lddn_jax"):
        platform.tell_once()
        platform.tell_once()
    assert len(caplog.records) == 1
    assert platform.FLAG in caplog.text
