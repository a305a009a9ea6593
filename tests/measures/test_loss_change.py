"""The change of the loss by pruning, to first order, against a gradient written by hand."""

import numpy as np
import pytest
from synthetic import prepared_data, softmax_regression

from tfprune.measures.evaluation import splits_of
from tfprune.measures.loss_change import linear_loss_change
from tfprune.pruning.weights import read_weights

DATA = prepared_data(examples=10, side=2, classes=3)


def gradient_by_hand(kernel, bias):
    inputs = (DATA.images / 255.0 - DATA.mean) / DATA.std
    flat = inputs.reshape(len(inputs), -1).astype(np.float64)
    logits = flat @ kernel + bias
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return flat.T @ (p - np.eye(3)[DATA.labels]) / len(flat)


@pytest.mark.parametrize("batch_size", [3, 128])
def test_it_is_minus_the_gradient_times_the_removed_weights(batch_size):
    model = softmax_regression(DATA)
    layer = model.layers[-1]
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(4, 3)), rng.normal(size=3)
    layer.set_weights([kernel, bias])
    before = {layer.name: np.ones((4, 3), bool)}
    before[layer.name][0, 0] = False
    after = {layer.name: before[layer.name].copy()}
    after[layer.name][1, 2] = after[layer.name][3, 0] = False
    kept = read_weights(model)
    found = linear_loss_change(model, splits_of(DATA)["train"], before, after, batch_size)
    g = gradient_by_hand(kernel, bias)
    expected = -(g[1, 2] * kernel[1, 2] + g[3, 0] * kernel[3, 0])
    assert found == {layer.name: pytest.approx(expected, rel=1e-6)}
    for name, value in read_weights(model).items():
        np.testing.assert_array_equal(value, kept[name])


def test_pruning_nothing_changes_nothing_and_weights_cannot_return():
    model = softmax_regression(DATA)
    name, some = model.layers[-1].name, np.eye(4, 3) > 0
    train = splits_of(DATA)["train"]
    assert linear_loss_change(model, train, {name: some}, {name: some}) == {name: 0.0}
    with pytest.raises(ValueError, match="pruned before"):
        linear_loss_change(model, train, {name: some}, {name: np.ones_like(some)})
    with pytest.raises(ValueError, match="after"):
        linear_loss_change(model, train, {name: some}, {})
