"""Two tiers, a compilation cache, and strictness for every test.

`pytest` runs what a change must pass, `pytest --deep` everything: a test marked `deep` runs only there. Strictness
means float64, no silent promotion, types checked at run time and reproducible draws.
"""

import os
from pathlib import Path

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib
# Eigenvalues come from LAPACK, whose threads wait for each other a hundred times longer than they compute where several
# processes share few cores. This must stand before the first import of NumPy, SciPy or JAX.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import compilation
import hypothesis
import jax
import jaxtyping
import pytest
from tiers import deep_unless

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Checks the annotations of the package while it runs; this must stand before the first import of the package. A
# declaration is left out: it checks itself whatever it is given, and says more about it than a type checker.
UNCHECKED = ("lddn_jax.topology.parts", "lddn_jax.topology.topology", "lddn_jax.topology.validation")
PACKAGE = Path(__file__).parents[1] / "lddn_jax"
MODULES = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PACKAGE.rglob("*.py")]
jaxtyping.install_import_hook(
    sorted(name for name in MODULES if name not in UNCHECKED and not name.endswith("__init__")),
    "beartype.beartype",
)

TOPOLOGIES = {False: 4, True: 300}  # by tier
KILLS = 2

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
        "--deep",
        action="store_true",
        help="also run what is marked deep: long trainings, kills, notebooks, benchmarks, 300 random topologies",
    )
    parser.addoption(
        "--topologies",
        type=int,
        metavar="N",
        help=f"how many random topologies all gradient methods are compared on (default {TOPOLOGIES[False]}, "
        f"--deep {TOPOLOGIES[True]})",
    )
    parser.addoption("--topology", type=int, metavar="K", help="compare them on random topology number K alone")
    parser.addoption(
        "--shrink",
        action="store_true",
        help="where methods disagree on a random topology, look for a simpler one on which they do (minutes)",
    )
    parser.addoption(
        "--kills",
        type=int,
        default=KILLS,
        metavar="N",
        help="how many times a run is killed and goes on (default %(default)s; needs --deep)",
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "deep: takes long, or repeats at length what other tests show; needs --deep")
    config.addinivalue_line("markers", "optimized: reads what XLA made of a program, or trains for long (whole files)")
    config.pluginmanager.register(FailuresAtOnce(config))
    compilation.optimize(False)
    compilation.keep_programs(getattr(config, "cache", None))


def pytest_report_header(config):
    if config.getoption("--deep"):
        return "tier: all tests"
    return "tier: what a change must pass; `pytest --deep` runs all tests"


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker("deep")
    items.sort(key=lambda item: item.path.suffix != ".ipynb")  # what takes minutes in one piece comes first
    if config.getoption("--deep"):
        return
    kept = [item for item in items if not item.get_closest_marker("deep")]
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("deep")])
    items[:] = kept


def pytest_generate_tests(metafunc):
    if "topology_number" in metafunc.fixturenames:
        option = metafunc.config.getoption
        count = TOPOLOGIES[option("--deep")] if option("--topologies") is None else option("--topologies")
        numbers = range(count) if option("--topology") is None else [option("--topology")]
        named = option("--topologies") is not None or option("--topology") is not None
        metafunc.parametrize(
            "topology_number", [pytest.param(k, marks=deep_unless(named or k < TOPOLOGIES[False])) for k in numbers]
        )


class FailuresAtOnce:
    """Tells what failed when it fails, and not at the end, which a run that is killed never reaches."""

    def __init__(self, config):
        self.config = config

    def pytest_runtest_logreport(self, report):
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        crash = getattr(report.longrepr, "reprcrash", None)
        if report.failed and terminal is not None and crash is not None:
            terminal.write_line(f"\nFAILED {report.nodeid}\n{crash.message}")


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs(request):
    if request.node.get_closest_marker("optimized"):
        with compilation.as_users_have_it():
            yield
    else:
        yield
    compilation.drop_programs_before_memory_maps_run_out()


@pytest.fixture
def compiled_as_users_have_it():
    """For one test that reads what a compiled program takes or does, in a file that is not marked `optimized`."""
    with compilation.as_users_have_it(), compilation.nothing_read_back():
        yield


@pytest.fixture
def unchecked():
    """Switches the run-time check of annotations off, for tests that read the error about a wrong type."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
