"""The sparsity axis and the bytes of a figure."""

import matplotlib
import numpy as np
import pytest

from tfprune.report import style


def whole_weights():
    """LeNet-300-100's prunable weights, 784 x 300 + 300 x 100: levels remove whole ones."""
    left = [265_200]
    for _ in range(22):
        left.append(left[-1] - int(np.ceil(0.2 * left[-1])))
    return np.array(left) / left[0]


@pytest.mark.parametrize(
    ("remaining", "labels"),
    [
        ([0.8**n for n in range(33)], "0 59.0 83.2 93.1 97.2 98.8 99.5 99.8 99.92"),
        (whole_weights(), "0 59.0 83.2 93.1 97.2 98.8"),
        ([0.5**n for n in range(9)], "0 75.0 93.8 98.4 99.6"),
        ([0.9**n for n in range(33)], "0 57.0 81.5 92.0 96.6"),
        ([1, 0.8, 0.64], "0 20.0 36.0"),
        ([1.0], "0"),
        ([1, 0.8, 1, 0.8, 0.64, 0.0], "0 20.0 36.0"),  # Repeats, and a network of nothing.
    ],
)
def test_ticks_are_at_levels_as_far_apart_as_in_the_papers(remaining, labels):
    assert style.sparsity_ticks(remaining)[1] == labels.split()


def test_long_curves_get_no_more_than_the_ticks_that_fit():
    assert len(style.sparsity_ticks([0.8**n for n in range(80)])[1]) <= 9


def test_equal_levels_stand_at_equal_distances_dense_at_0():
    positions = style.sparsity_position([1, 0.8, 0.64, 0.0])
    np.testing.assert_allclose(positions[:3], [0, 0.2231435513142097, 0.4462871026284195])
    assert np.isnan(positions[3])


def test_a_criterion_keeps_its_colour_whatever_stands_beside_it():
    assert style.color_of("random", ["random"]) == style.color_of("random", ["snip", "random"])
    assert style.color_of("b", ["a", "b"]) != style.color_of("a", ["a", "b"])


def test_the_look_neither_leaks_into_the_users_settings_nor_takes_from_them():
    backend = matplotlib.rcParams._get("backend")
    with matplotlib.rc_context({"font.size": 23, "lines.linestyle": ":"}):
        with style.house_style():
            assert matplotlib.rcParams["font.size"] == 10
            assert matplotlib.rcParams["lines.linestyle"] == "-"
        assert matplotlib.rcParams["font.size"] == 23
        assert matplotlib.rcParams._get("backend") == backend


@pytest.mark.parametrize(
    ("given", "shown"),
    [((99.9, 100.0), (96.2, 100.2)), ((60, 100), (60, 100)), ((50, 51), (48.5, 52.5))],
)
def test_an_accuracy_axis_is_at_least_four_points_high_and_ends_near_100(given, shown):
    axes = style.new_figure(2, 2).subplots()
    axes.set_ylim(*given)
    style.percent_axis(axes)
    assert axes.get_ylim() == pytest.approx(shown)


def test_a_legend_takes_as_few_rows_as_its_figure_allows():
    labels = ["a" * 20] * 6
    # 0.62 + 20 * 0.073 = 2.08 inches a column.
    assert [style.legend_columns(labels, width) for width in (2, 4.2, 6.3, 20)] == [1, 2, 3, 6]


def test_copies_for_papers_are_the_same_bytes_again_and_keep_their_letters(tmp_path):
    def save(folder):
        figure = style.new_figure(2, 2)
        figure.subplots().plot([0, 1], label="test accuracy")
        file = style.save_figure(folder, "one", figure, ("pdf", "svg"))
        assert file == "figures/one.png"
        return {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}

    first, second = save(tmp_path / "a"), save(tmp_path / "b")
    assert sorted(first) == ["one.pdf", "one.png", "one.svg"]
    assert first == second
    assert first["one.pdf"].startswith(b"%PDF")
    assert b"/CIDFontType2" in first["one.pdf"]
