"""The plane through three networks: geometry by hand, grids against direct evaluation."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from networks import evaluate
from synthetic import prepared_data

from tfprune.backend import keras
from tfprune.catalog import MEASURES
from tfprune.errors import InputError, SettingError
from tfprune.measures.evaluation import Evaluator, Examples, splits_of
from tfprune.measures.plane import Cell, Plane, grid_axes, parameter_names, plane_grid
from tfprune.pruning.weights import read_weights, write_weights

layers = keras.layers


def net():
    images = keras.Input((4, 4, 1))
    x = layers.Dense(4, name="hidden")(layers.Flatten()(images))
    x = layers.ReLU()(layers.BatchNormalization(name="bn")(x))
    return keras.Model(images, layers.Dense(3, name="logits")(x))


def scrambled(model, seed):
    rng = np.random.default_rng(seed)
    return {
        name: rng.uniform(0.5, 1.5, value.shape).astype(np.float32)
        if name.endswith("variance")
        else rng.normal(0, 0.5, value.shape).astype(np.float32)
        for name, value in read_weights(model).items()
    }


def vectors(*values):
    """Networks of one kernel."""
    return [{"dense/kernel": np.array(value, np.float32)} for value in values]


@pytest.fixture(scope="module")
def model():
    return net()


@pytest.fixture(scope="module")
def evaluator(model):
    return Evaluator(model, jit=False)


@pytest.fixture(scope="module")
def networks(model):
    return [scrambled(model, seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def splits():
    return splits_of(prepared_data(examples=11, test_examples=7))


# --- Geometry.


def test_axes_and_coordinates_of_a_plane_made_by_hand():
    # w2 - w1 = (3, 4, 0), of length 5; w3 - w1 = (3, 4, 2): 5 along it and 2 across.
    plane = Plane.through(*vectors([1, 1, 1], [4, 5, 1], [4, 5, 3]))
    np.testing.assert_allclose(plane.first_axis["dense/kernel"], [0.6, 0.8, 0], atol=1e-15)
    np.testing.assert_allclose(plane.second_axis["dense/kernel"], [0, 0, 1], atol=1e-15)
    np.testing.assert_allclose(plane.points, [[0, 0], [5, 0], [5, 2]], atol=1e-14)
    np.testing.assert_allclose(plane.distances, (5, np.sqrt(29), 2), rtol=1e-15)


def test_other_networks_are_projected_and_their_distance_measured():
    plane = Plane.through(*vectors([0, 0, 0, 0], [2, 0, 0, 0], [1, 3, 0, 0]))
    (other,) = vectors([-1, 5, 3, 4])
    np.testing.assert_allclose(plane.project(other), (-1, 5, 5), rtol=1e-15)
    for network, point in zip(plane.anchors, plane.points, strict=True):
        np.testing.assert_allclose(plane.project(network), (*point, 0), atol=1e-12)


def test_the_axes_are_orthonormal_over_all_variables(networks):
    plane = Plane.through(*networks)
    u, v = (
        np.concatenate([axis[name].ravel() for name in plane.names])
        for axis in (plane.first_axis, plane.second_axis)
    )
    np.testing.assert_allclose([u @ u, v @ v, u @ v], [1, 1, 0], atol=1e-12)


def test_distances_are_numpys_over_parameters_or_over_kernels_alone(model, networks):
    everything = Plane.through(*networks)
    assert set(everything.names) == {
        *("hidden/kernel", "hidden/bias", "bn/gamma", "bn/beta", "logits/kernel", "logits/bias")
    }
    kernels = Plane.through(*networks, names=("hidden/kernel", "logits/kernel"))
    for plane in (everything, kernels):
        flat = [np.concatenate([w[n].ravel().astype("f8") for n in plane.names]) for w in networks]
        expected = [np.linalg.norm(flat[i] - flat[j]) for i, j in ((1, 0), (2, 0), (2, 1))]
        np.testing.assert_allclose(plane.distances, expected, rtol=1e-12)
    assert kernels.distances[0] < everything.distances[0]


def test_moving_statistics_and_whole_numbers_are_no_parameters():
    names = ("a/kernel", "a/moving_mean", "a/moving_variance")
    weights = {name: np.zeros(2, np.float32) for name in names}
    weights["a/seen"] = np.zeros(2, np.int64)
    assert parameter_names(weights) == ("a/kernel",)


def test_the_three_networks_lie_at_their_coordinates_exactly(networks):
    plane = Plane.through(*networks)
    np.testing.assert_array_equal(plane.coefficients(plane.points), np.eye(3))


def test_coefficients_are_the_affine_combination_that_lies_at_the_coordinates(networks):
    plane = Plane.through(*networks)
    coordinates = np.array([[0.3, 0.4], [-2.0, 5.0]])
    coefficients = plane.coefficients(coordinates)
    np.testing.assert_allclose(coefficients.sum(axis=1), 1, rtol=1e-14)
    for row, (x, y) in zip(coefficients, coordinates, strict=True):
        for name in plane.names:
            combined = sum(c * w[name].astype("f8") for c, w in zip(row, networks, strict=True))
            along = x * plane.first_axis[name] + y * plane.second_axis[name]
            np.testing.assert_allclose(combined, networks[0][name] + along, atol=1e-12)


@pytest.mark.parametrize(
    "values",
    [([0, 0], [1, 1], [3, 3]), ([1, 2], [1, 2], [3, 4]), ([1, 2], [3, 4], [1, 2])],
)
def test_networks_on_a_line_span_no_plane(values):
    with pytest.raises(InputError, match="lie on a line"):
        Plane.through(*vectors(*values))


def test_networks_built_differently_are_refused(networks):
    with pytest.raises(InputError, match="dense/kernel differ"):
        Plane.through(*vectors([0, 0], [1, 1], [3, 3, 3]))
    with pytest.raises(InputError, match="built alike"):
        Plane.through(*networks).project(vectors([1])[0])


# --- Grids.


def test_the_grid_covers_all_points_with_its_margin():
    x, y = grid_axes([[0, 0], [10, 0], [4, 5]], points=3, margin=0.2)
    np.testing.assert_allclose(x, [-2, 5, 12])
    np.testing.assert_allclose(y, [-1, 2.5, 6])
    with pytest.raises(SettingError, match=r"^points=1"):
        grid_axes([[0, 0], [1, 1]], points=1)
    with pytest.raises(SettingError, match=r"margin=-0\.1"):
        grid_axes([[0, 0], [1, 1]], margin=-0.1)
    with pytest.raises(InputError, match="span no grid"):
        grid_axes([[0, 0], [1, 0]])


def test_the_grid_at_the_three_networks_is_their_direct_evaluation(evaluator, networks, splits):
    plane = Plane.through(*networks)
    (_, _), (a, _), (b, c) = plane.points
    x, y = np.sort([0, a, b]), np.array([0, c])
    cells = list(plane_grid(evaluator, plane, splits, x, y, batch_norm="interpolated"))
    assert [(cell.row, cell.column) for cell in cells] == list(np.ndindex(2, 3))
    by_place = {(cell.x, cell.y): cell for cell in cells}
    for weights, place in zip(networks, [(0, 0), (a, 0), (b, c)], strict=True):
        model = net()
        write_weights(model, weights)
        direct = evaluate(Evaluator(model, jit=False), splits)
        for split, metrics in direct.items():
            assert by_place[place].loss[split] == pytest.approx(metrics.loss[0], rel=1e-6)
            assert by_place[place].accuracy[split] == metrics.accuracy[0]


def test_re_estimated_statistics_depend_on_the_parameters_alone(evaluator, networks, splits):
    """Other moving statistics of the three networks change nothing but when interpolated."""
    moved = [{n: 2 * w if "moving" in n else w for n, w in weights.items()} for weights in networks]
    first, second = (Plane.through(*three) for three in (networks, moved))
    np.testing.assert_array_equal(first.points, second.points)
    axes = ([0.5, 1.5], [0.25])

    def losses(plane, batch_norm):
        cells = plane_grid(evaluator, plane, splits, *axes, batch_norm=batch_norm)
        return [cell.loss["test"] for cell in cells]

    assert losses(first, "reestimated") == losses(second, "reestimated")
    assert losses(first, "interpolated") != losses(second, "interpolated")


def test_re_estimated_statistics_are_those_of_the_split(evaluator, networks, splits):
    """At w1: batch norm by the mean and variance of its inputs over the training split."""
    plane = Plane.through(*networks)
    (cell,) = plane_grid(evaluator, plane, splits, [0], [0])
    train, test = (
        ((s.images / 255 - s.mean) / s.std).reshape(len(s.labels), -1)
        for s in (splits["train"], splits["test"])
    )
    w = {name: value.astype("f8") for name, value in networks[0].items()}
    before, x = (v @ w["hidden/kernel"] + w["hidden/bias"] for v in (train, test))
    x = (x - before.mean(axis=0)) / np.sqrt(before.var(axis=0) + 1e-3)
    x = np.maximum(x * w["bn/gamma"] + w["bn/beta"], 0) @ w["logits/kernel"] + w["logits/bias"]
    labels = splits["test"].labels
    expected = np.mean(np.log(np.exp(x).sum(axis=1)) - x[np.arange(7), labels])
    assert cell.loss["test"] == pytest.approx(expected, rel=1e-5)
    assert cell.accuracy["test"] == np.mean(x.argmax(axis=1) == labels)


@pytest.mark.parametrize("cells_at_once", [1, 4])
def test_a_resumed_grid_is_the_uninterrupted_one_bit_for_bit(
    evaluator, networks, splits, tmp_path, cells_at_once
):
    plane = Plane.through(*networks)
    x, y = grid_axes(plane.points, points=3)
    whole = list(plane_grid(evaluator, plane, splits, x, y))
    begun = plane_grid(evaluator, plane, splits, x, y, cells_at_once=cells_at_once)
    with (tmp_path / "cells.csv").open("w") as file:
        writer = csv.DictWriter(file, list(whole[0].as_row()))
        writer.writeheader()
        for _ in range(5):
            writer.writerow(next(begun).as_row())
    with (tmp_path / "cells.csv").open() as file:
        measured = [Cell.from_row(row) for row in csv.DictReader(file)]
    assert measured == whole[:5]
    rest = list(plane_grid(evaluator, plane, splits, x, y, measured=measured))
    assert rest == whole[5:]
    assert [(cell.row, cell.column) for cell in whole] == list(np.ndindex(3, 3))


def test_all_cells_share_one_program(networks, splits):
    evaluator = Evaluator(net(), jit=False)
    plane = Plane.through(*networks)
    x, y = grid_axes(plane.points, points=3)
    assert len(list(plane_grid(evaluator, plane, splits, x, y, cells_at_once=4))) == 9
    assert evaluator.traces == 1


def test_the_model_is_left_as_found(networks, splits):
    model = net()
    before = read_weights(model)
    list(plane_grid(model, Plane.through(*networks), splits, [0, 1], [0], jit=False))
    for name, value in read_weights(model).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_mistakes_are_refused_before_anything_is_measured(evaluator, networks, splits):
    plane = Plane.through(*networks)
    cell = Cell(0, 1, 1.0, 0.0, {"train": 1.0, "test": 1.0}, {"train": 0.5, "test": 0.5})

    def grid(x=(0, 1), y=(0, 1), **options):
        return plane_grid(evaluator, plane, splits, x, y, **options)

    assert len(list(grid(measured=[cell]))) == 3
    for x, y in (((0, 2), (0, 1)), ((0,), (0,)), ((0, 1), (-1, 1))):
        with pytest.raises(InputError, match=r"cell \(0, 1\) is of another grid"):
            grid(x, y, measured=[cell])
    with pytest.raises(InputError, match="other splits"):
        plane_grid(evaluator, plane, {"train": splits["train"]}, [0, 1], [0], measured=[cell])
    with pytest.raises(InputError, match="x must be increasing"):
        grid(x=(1, 0))
    with pytest.raises(SettingError, match="batch_norm=re"):
        grid(batch_norm="re")
    with pytest.raises(SettingError, match="reestimation_split=val"):
        grid(reestimation_split="val")
    with pytest.raises(SettingError, match="cells_at_once=0"):
        grid(cells_at_once=0)
    with pytest.raises(InputError, match="must be pairs"):
        plane.coefficients([1, 2])
    with pytest.raises(InputError, match="no column 'x'"):
        Cell.from_row({"row": 0, "column": 0})


def test_a_net_without_batch_norm_needs_no_re_estimation(splits):
    inputs = keras.Input((16,))
    model = keras.Model(inputs, layers.Dense(3, name="logits")(inputs))
    flat = {"train": Examples(splits["train"].images.reshape(11, 16) / 255, splits["train"].labels)}
    plane = Plane.through(*(scrambled(model, seed) for seed in (1, 2, 3)))
    found = [
        list(plane_grid(model, plane, flat, [0.5], [0.5], batch_norm=kind, jit=False))
        for kind in ("reestimated", "interpolated")
    ]
    assert found[0] == found[1]


def test_it_is_a_measure_by_name():
    assert MEASURES["plane_grid"] is plane_grid
