"""Strictness for every test: float64, no silent promotion, types checked at run time, reproducible draws."""

import os
from pathlib import Path

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib
# Eigenvalues come from LAPACK, whose threads wait for each other a hundred times longer than they compute where several
# processes share few cores. This must stand before the first import of NumPy, SciPy or JAX.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import jax
import jaxtyping
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Checks the annotations of the package while it runs; this must stand before the first import of the package. A
# declaration is left out: it checks itself whatever it is given, and says more about it than a type checker.
UNCHECKED = ("lddn_jax.declaration", "lddn_jax.topology", "lddn_jax.wellformed")
PACKAGE = Path(__file__).parents[1] / "lddn_jax"
MODULES = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PACKAGE.rglob("*.py")]
jaxtyping.install_import_hook(
    sorted(name for name in MODULES if name not in UNCHECKED and not name.endswith("__init__")),
    "beartype.beartype",
)

hypothesis.settings.register_profile(
    "lddn",
    deadline=None,  # the first example of a shape compiles
    derandomize=True,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("lddn")


def pytest_addoption(parser):
    parser.addoption(
        "--topologies",
        type=int,
        default=16,
        metavar="N",
        help="how many random topologies all gradient methods are compared on (each one compiles; default 16)",
    )

    parser.addoption(
        "--kills",
        type=int,
        default=2,
        metavar="N",
        help="how many times a run is killed and goes on (each one starts a process; default 2)",
    )


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_are_dropped_after_each_file():
    # Each holds about a hundred memory maps, and Linux gives a process 65530 of them before it dies.
    yield
    jax.clear_caches()


@pytest.fixture
def topologies_wanted(request) -> int:
    """How many random topologies were asked for."""
    return request.config.getoption("--topologies")


@pytest.fixture
def unchecked():
    """Switches the run-time check of annotations off, for tests that read the error about a wrong type."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def one_step():
    """See `bayesian_records.one_step`."""
    from bayesian_records import one_step

    return one_step()


@pytest.fixture(scope="session")
def delays_found():
    """See `bayesian_records.delays_found`."""
    from bayesian_records import delays_found

    return delays_found()
