"""Figures draw what they are given, on the axes they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text
from networks import BY_NAME

import lddn_jax as lddn
from lddn_jax import diagnostics, plots

TIME = np.linspace(0, 1, 11)


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def test_response_draws_every_signal(ax):
    assert plots.response(TIME, TIME, {"model": 2 * TIME, "other": 3 * TIME}, ylabel="y", ax=ax) is ax
    assert [line.get_label() for line in ax.lines] == ["measured", "model", "other"]
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), 2 * TIME)
    assert ax.get_ylabel() == "y"


def test_errors_are_measured_minus_predicted(ax):
    plots.errors(TIME, TIME, {"model": 3 * TIME}, ax=ax)
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), -2 * TIME)


def test_training_curve_marks_the_best_network(ax):
    plots.training_curve({"loss": [3.0, 2.0], "validation_loss": [4.0, 5.0]}, best_epoch=1, ax=ax)
    assert ax.get_yscale() == "log"
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [0, 1])
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), [1, 2])  # a validation loss is that after the step
    assert "epoch 1" in ax.lines[2].get_label()


def test_axes_are_made_when_none_are_given():
    ax = plots.training_curve({"loss": [1.0]})
    assert len(ax.lines) == 1
    plt.close(ax.figure)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_response_shades_the_parts_of_a_record(ax):
    plots.response(TIME, TIME, {}, splits={"train": (0, 0.6), "test": (0.6, 1)}, ax=ax)
    assert texts(ax) == ["train", "test"]
    assert [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in ax.patches] == [(0, 0.6), (0.6, 1)]


def test_residual_correlations_are_drawn_with_their_bounds(ax):
    e = np.random.default_rng(0).normal(size=200)
    found = diagnostics.cross_correlation(e, np.roll(e, 3), lags=5)
    assert plots.residual_correlations(found, title="u with e", ax=ax) is ax
    usual, outside = (line for line in ax.lines if line.get_marker() == "o")
    assert outside.get_xdata().tolist() == list(found.outside(0.99)) == [3]
    np.testing.assert_array_equal(usual.get_ydata(), found.values[found.lags != 3])
    wide, narrow = (band.get_paths()[0].get_extents().y1 for band in ax.collections[:2])
    assert wide == pytest.approx(found.bound(0.99).max())
    assert narrow == pytest.approx(found.bound(0.95).max())
    assert ax.get_ylim()[1] > wide


def test_a_lag_without_a_value_is_not_drawn(ax):
    found = diagnostics.autocorrelation(np.array([1.0, np.nan, -1.0, np.nan, 1.0, 2.0]), 3)
    plots.residual_correlations(found, ax=ax)
    assert np.isfinite(ax.get_ylim()).all()


def test_error_histogram_counts_every_error(ax):
    e = np.append(np.random.default_rng(0).normal(size=500), [np.nan, np.inf])
    plots.error_histogram(e, bins=20, ax=ax)
    assert sum(bar.get_height() for bar in ax.patches) == 500
    gaussian = ax.lines[0]
    width = ax.patches[0].get_width()
    area = np.trapezoid(gaussian.get_ydata(), gaussian.get_xdata()) / width
    assert area == pytest.approx(500, rel=0.02)  # the ends of the Gaussian are cut off


def test_equal_errors_have_no_gaussian(ax):
    plots.error_histogram(np.ones(9), ax=ax)
    assert legend(ax) == ["9 errors"]


def test_regression_shows_line_and_correlation(ax):
    y = np.append(TIME, np.nan)
    plots.regression(y, 0.5 * y + 2, name="y", ax=ax)
    assert legend(ax)[-1] == "slope 0.5, R = 1.0000"
    np.testing.assert_allclose(ax.lines[2].get_ydata(), 0.5 * ax.lines[2].get_xdata() + 2)
    assert len(ax.lines[0].get_xdata()) == 11


def test_weights_map_shows_every_block_at_its_place(ax):
    net = BY_NAME["awkward"].net
    plots.weights_map(net, ax=ax)
    table = np.ma.getdata(ax.collections[0].get_array()).reshape(6, -1)
    known = ~np.ma.getmaskarray(ax.collections[0].get_array()).reshape(6, -1)
    assert known.sum() == net.parameter_count
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names[:4] == ["u, delay 0", "u, delay 2", "v, delay 1", "v, delay 4"]
    assert names[-1] == "bias"
    np.testing.assert_array_equal(table[:2, 2:4], net.IW["h", "u"][1])
    np.testing.assert_array_equal(table[2:4, 6:8], net.IW["g", "v"][1])
    np.testing.assert_array_equal(table[:2, -1], net.b["h"])
    low, high = ax.collections[0].get_clim()
    assert -low == high == pytest.approx(np.abs(net.ravel()[0]).max())


def test_horizon_profile_has_a_line_for_each_output(ax):
    plots.horizon_profile([1, 10, 100], {"y": [1, 2, 3], "z": [1, 2, np.inf]}, ax=ax)
    assert legend(ax) == ["y", "z"]
    assert ax.lines[0].get_ydata().tolist() == [1, 2, 3]
    assert np.isnan(ax.lines[1].get_ydata()[2])
    assert ax.get_xscale() == "log"


def test_training_state_draws_what_was_recorded():
    history = {"loss": [2.0, 1.0], "gradient_norm": [3.0, 2.0], "gamma": [5.0, 6.0], "horizon": [1.0, np.nan]}
    assert plots.training_states(history) == ["gradient_norm", "gamma"]
    first, second = plots.training_state(history)
    assert first.lines[0].get_ydata().tolist() == [3, 2]
    assert second.lines[0].get_ydata().tolist() == [5, 6]
    assert (first.get_yscale(), second.get_yscale()) == ("log", "linear")
    assert (texts(first), texts(second)) == (["1 step", "all steps"], [])
    plt.close(first.figure)


@pytest.mark.parametrize(
    "call",
    [
        lambda ax: plots.error_histogram([np.nan], ax=ax),
        lambda ax: plots.regression([1.0], [np.inf], ax=ax),
        lambda ax: plots.weights_map(BY_NAME["no-parameters"].net, ax=ax),
        lambda ax: plots.training_state({"loss": [1.0]}, axes=ax),
    ],
)
def test_nothing_to_draw_is_an_error(call, ax):
    with pytest.raises(lddn.LDDNError):
        call(ax)


MATHEMATICS = "cost $^{ per $"  # between dollar signs matplotlib reads mathematics, and this is none
NAMED = {
    "response": lambda ax: plots.response(
        TIME, TIME, {MATHEMATICS: TIME}, ylabel=MATHEMATICS, splits={MATHEMATICS: (0, 1)}, ax=ax
    ),
    "bands": lambda ax: plots.bands(TIME, TIME, TIME, TIME, ylabel=MATHEMATICS, ax=ax),
    "horizons": lambda ax: plots.horizon_profile([1, 2], {MATHEMATICS: [1.0, 2.0]}, ylabel=MATHEMATICS, ax=ax),
    "histogram": lambda ax: plots.error_histogram(TIME - 0.5, xlabel=MATHEMATICS, ax=ax),
    "regression": lambda ax: plots.regression(TIME, TIME, name=MATHEMATICS, ax=ax),
    "correlations": lambda ax: plots.residual_correlations(
        diagnostics.autocorrelation(np.sin(9 * TIME), 3), title=MATHEMATICS, ax=ax
    ),
    "weights": lambda ax: plots.weights_map(lddn.Network(named_topology(), init="zeros"), ax=ax),
    "diagram": lambda ax: plots.diagram(named_topology(), ax=ax),
}


def named_topology():
    connections = [lddn.Connection(MATHEMATICS, to=f"{MATHEMATICS}'", delays=(0, 1))]
    layers = [lddn.Layer(f"{MATHEMATICS}'", 1, transfer="linear")]
    return lddn.Topology([lddn.Input(MATHEMATICS, 1)], layers, connections, [f"{MATHEMATICS}'"])


@pytest.mark.parametrize("name", NAMED)
def test_dollar_signs_in_names_are_drawn_as_they_are(name, ax):
    NAMED[name](ax)
    ax.figure.canvas.draw()  # raises ValueError where matplotlib parses a name
    assert any(MATHEMATICS in text.get_text().replace(r"\$", "$") for text in ax.figure.findobj(Text))


# ---- hostile data ----------------------------------------------------------------------------------------------------

T = np.arange(200.0)
Y = np.sin(T / 9)
DIVERGED = np.where(T < 120, Y, np.exp(np.minimum(T, 180.0) - 115))
with np.errstate(divide="ignore"):
    INFINITE = np.where(T < 150, DIVERGED, np.log(0 * T))
LONG = "temperature of the upper half of the boiler, measured at the inlet of the steam_pipe in $ %"


def test_a_diverged_run_does_not_flatten_the_figure_and_is_marked(ax):
    plots.response(T, Y, {"one step ahead": Y, "free run": INFINITE, "nothing": np.full(200, np.nan)}, ax=ax)
    low, high = ax.get_ylim()
    assert -3 < low < -1 < 1 < high < 8
    assert legend(ax) == ["measured", "one step ahead", "free run, cut off from 120 on"]
    assert np.nanmax(np.abs(ax.lines[2].get_ydata())) < 20


def test_errors_of_a_diverged_run_end_where_it_is_cut_off(ax):
    plots.errors(T, Y, {"free run": INFINITE}, ax=ax)
    error = ax.lines[-1].get_ydata()
    assert np.isnan(error[120:]).all()
    assert np.isfinite(error[:120]).all()


def test_pieces_are_not_joined(ax):
    plots.response(T, Y, {"free run": Y}, steps=(50, 100, 50), ax=ax)
    gaps = [line for line in ax.lines if line.get_label() in ("measured", "free run")]
    assert [np.flatnonzero(np.isnan(line.get_ydata())).tolist() for line in gaps] == [[50, 151]] * 2
    borders = [line.get_xdata()[0] for line in ax.lines if line not in gaps]
    assert borders == [49.5, 149.5]


def test_a_value_between_gaps_is_a_dot(ax):
    plots.response(T[:4], [1.0, np.nan, 2.0, 3.0], {}, ax=ax)
    assert ax.lines[0].get_markevery() == [0]


def test_more_lines_than_colors_are_told_apart(ax):
    plots.response(T, Y, {f"{k} steps ahead": Y for k in range(12)}, ax=ax)
    looks = [(line.get_color(), line.get_linestyle()) for line in ax.lines]
    assert len(set(looks)) == len(looks) == 13
    plots.horizon_profile([1, 2], {f"y{k}": [1.0, 2.0] for k in range(9)}, ax=ax)
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines[-9:]}) == 9


def test_errors_that_grow_have_a_logarithmic_axis(ax):
    plots.horizon_profile([1, 2, 3], {"y": [0.1, 1.0, 1e6], "z": [np.nan] * 3}, ax=ax)
    assert ax.get_yscale() == "log"
    assert legend(ax) == ["y"]


def test_a_histogram_chooses_its_bars_by_the_data(ax):
    e = np.append(1e-9 * np.random.default_rng(0).normal(size=400), [5.0, -3.0])
    plots.error_histogram(e, xlabel="error of y", ax=ax)
    assert legend(ax)[0] == "402 errors, 2 of them outside"
    assert 8 <= len(ax.patches) <= 60
    assert max(np.abs(ax.get_xlim())) < 1e-8
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("error of y", "number of steps")


@pytest.mark.parametrize("values", [[0.3] * 30, [1.0, np.nextafter(1, 2)], [0.2], [0.0], [1e140, -1e140, 0.0]])
def test_a_histogram_of_hardly_anything(values, ax):
    plots.error_histogram(values, ax=ax)
    ax.figure.canvas.draw()
    assert sum(bar.get_height() for bar in ax.patches) == len(values)


def test_a_histogram_of_errors_that_cannot_be_squared(ax):
    plots.error_histogram([1e300, -1e300, 0.0, np.inf, np.nan], ax=ax)
    assert legend(ax)[0] == "4 errors, 3 of them outside"
    with pytest.raises(lddn.ShapeError, match="finite"):
        plots.error_histogram([1e300], ax=ax)


def test_a_regression_leaves_out_what_is_far_off(ax):
    predicted = np.where(T < 100, Y, INFINITE * 1e5)
    plots.regression(1e9 + Y, 1e9 + predicted, ax=ax)
    assert "more outside" in legend(ax)[0]
    assert legend(ax)[-1].startswith("slope 1, R = ")
    with pytest.raises(lddn.ShapeError, match="far outside"):
        plots.regression(Y, Y + 1e9, ax=ax)


def test_the_lines_of_a_regression_end_at_the_measured_range(ax):
    plots.regression(Y, np.where(T < 100, Y, 2 * Y), ax=ax)
    for line in ax.get_lines()[1:]:
        assert (line.get_xdata().min(), line.get_xdata().max()) == (Y.min(), Y.max())
    assert ax.get_xlim() == ax.get_ylim()
    assert ax.get_box_aspect() == 1


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e12])
@pytest.mark.parametrize("offset", [0.0, 1e9])
@pytest.mark.parametrize("steps", [1, 2, 200])
def test_any_scale_and_length_is_drawn(scale, offset, steps):
    t, y = T[:steps], (offset + scale * Y)[:steps]
    figure, axes = plt.subplots(2, 3)
    axes = axes.ravel()
    plots.response(t, y, {"free run": y + scale}, ylabel=LONG, ax=axes[0])
    plots.errors(t, y, {"free run": y + scale}, ax=axes[1])
    plots.bands(t, y, y, np.full(steps, scale), ylabel=LONG, ax=axes[2])
    plots.error_histogram(y, xlabel=LONG, ax=axes[3])
    plots.regression(y, y, name=LONG, ax=axes[4])
    plots.horizon_profile([1], {LONG: [scale]}, ax=axes[5])
    figure.canvas.draw()
    assert all(ax.has_data() and np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all() for ax in axes)
    plt.close(figure)


def test_nothing_finite_is_drawn_as_nothing(ax):
    nothing = np.full(200, np.nan)
    plots.response(T, nothing, {"free run": nothing}, ax=ax)
    assert ax.get_legend() is None


def test_an_unmeasured_run_that_diverges(ax):
    plots.response(T, None, {"free run": INFINITE}, ax=ax)
    assert ax.get_ylim()[1] < 100


def test_a_measurement_that_stands_still(ax):
    plots.response(T, np.full(200, 1.5), {"near": 1.5 + 1e-5 * Y, "far": INFINITE}, ax=ax)
    assert ax.get_ylim()[1] - ax.get_ylim()[0] < 10


def test_predictions_of_a_measurement_that_stands_still_are_not_cut_off(ax):
    rough, fine = np.random.default_rng(0).normal(size=(2, 200)) * [[5e-4], [1e-4]]
    plots.response(T, np.full(200, 2.0), {"rough": 2 + rough, "fine": 2 + fine}, ax=ax)
    assert legend(ax) == ["measured", "rough", "fine"]


@pytest.mark.parametrize(("time", "label"), [(np.arange(5.0) + 512, "sample"), (np.arange(5) * 0.1, "time")])
def test_rows_that_are_counted_are_no_time(time, label, ax):
    for draw in (plots.response, plots.errors):
        draw(time, np.ones(5), {"free run": np.ones(5)}, ax=ax)
        assert ax.get_xlabel() == label


def test_epochs_and_lags_are_whole_numbers():
    for epochs in (1, 2, 3, 40):
        ax = plots.training_curve({"loss": np.geomspace(1, 0.1, epochs), "validation_loss": np.full(epochs, np.nan)})
        ax.figure.canvas.draw()
        low, high = ax.get_xlim()
        ticks = [tick for tick in ax.get_xticks() if low <= tick <= high]
        assert ticks == [round(tick) for tick in ticks] != []
        assert legend(ax) == ["training"]
        plt.close(ax.figure)


def test_restarts_share_a_name(ax):
    plots.training_curve({"loss": np.ones((5, 3)), "validation_loss": np.ones((5, 3))}, ax=ax)
    assert len(ax.lines) == 6
    assert legend(ax) == ["training", "validation"]


def test_a_loss_of_zero_has_a_linear_axis(ax):
    plots.training_curve({"loss": [0.0, 0.0]}, ax=ax)
    assert ax.get_yscale() == "linear"
    ax.figure.canvas.draw()


def test_long_names_take_two_lines(ax):
    plots.response(T, Y, {}, ylabel=LONG, ax=ax)
    lines = ax.get_ylabel().splitlines()
    assert len(lines) == 2
    assert max(map(len, lines)) <= 38
    assert lines[-1].endswith("…")
