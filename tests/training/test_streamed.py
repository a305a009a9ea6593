"""The streamed program: the same updates and metrics as by hand over the batches it is fed."""

import dataclasses

import numpy as np
import pytest
from devices import tolerance
from synthetic import softmax_regression

from tfprune.backend import tf
from tfprune.data.prepare import prepare
from tfprune.data.settings import DataConfig
from tfprune.data.sources import load_source
from tfprune.data.streaming import StreamedData
from tfprune.training import schedules
from tfprune.training.epoch_model import EpochModel
from tfprune.training.epoch_program import Feeding
from tfprune.training.optimizers import SGD
from tfprune.training.streamed import StreamedProgram

BATCH = 4


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """9 training and 4 test images of several sizes: too odd to be stacked, so they stream."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, each in (("train", 3), ("test", 2)):
        for name in ("cat", "dog", "owl"):
            (root / split / name).mkdir(parents=True)
            for number in range(each):
                pixels = rng.integers(0, 255, (6 + number, 7, 3)).astype(np.uint8)
                encoded = tf.io.encode_png(pixels).numpy()
                (root / split / name / f"{number}.png").write_bytes(encoded)
    config = DataConfig(
        dataset=f"folder:{root}", label_noise="symmetric", noise_fraction=0.3, augment="crop_flip"
    )
    prepared = prepare(load_source(config), config, seed=0)
    assert isinstance(prepared, StreamedData)
    small = {"resize": 5, "crop": 4}
    return dataclasses.replace(prepared, source=dataclasses.replace(prepared.source, **small))


def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_an_epoch_is_the_updates_by_hand(data):
    model = softmax_regression(data, dtype="float32")
    kernel, bias = (w.astype(np.float64) for w in model.get_weights())
    model.compile(SGD(0.3))
    program = StreamedProgram(model, BATCH, jit=False)
    program.attach(data, Feeding(0, 1, schedules.fixed(0.3), "crop_flip"))
    metrics = program.run(2)
    losses, right = [], []
    for images, labels, _ in data.train_epoch(0, 1, 2, BATCH):
        x = images.numpy().reshape(len(labels), -1).astype(np.float64)
        p = softmax(x @ kernel + bias)
        losses += list(-np.log(p[np.arange(len(labels)), labels]))
        right += list(p.argmax(1) == labels)
        error = p - np.eye(3)[labels]
        kernel, bias = kernel - 0.3 * x.T @ error / len(x), bias - 0.3 * error.mean(0)
    assert len(losses) == 9
    np.testing.assert_allclose(metrics["loss"], np.mean(losses), rtol=tolerance(1e-5))
    np.testing.assert_allclose(metrics["running_train_accuracy"], np.mean(right), rtol=1e-6)
    np.testing.assert_allclose(model.get_weights()[0], kernel, atol=tolerance(1e-5))
    test_images, test_labels, _ = next(iter(data.evaluation("test", 100)))
    p = softmax(test_images.numpy().reshape(6, -1) @ kernel + bias)
    np.testing.assert_allclose(
        metrics["test_loss"],
        -np.log(p[np.arange(6), test_labels]).mean(),
        rtol=tolerance(1e-4),
    )
    assert {"permuted_accuracy", "restored_accuracy", "noisy_loss"} <= set(metrics)


def test_it_trains_through_fit_as_resident_data_do(data):
    model = EpochModel.of(softmax_regression(data, dtype="float32"))
    model.compile(SGD(0.1))
    model.program = StreamedProgram(model, BATCH, jit=False)
    model.program.attach(data, Feeding(0, 0, schedules.fixed(0.01), "crop_flip"))
    history = model.fit_epochs(0, 2, [])
    assert len(history.history["test_loss"]) == 2


def test_an_epoch_in_two_parts_is_the_epoch(data):
    ends = []
    start = softmax_regression(data, dtype="float32").get_weights()
    for parts in (((0, None),), ((0, 2), (2, None))):
        model = softmax_regression(data, dtype="float32")
        model.set_weights(start)
        model.compile(SGD(0.1))
        program = StreamedProgram(model, BATCH, jit=False)
        for first, last in parts:
            program.attach(
                data, Feeding(0, 0, schedules.fixed(0.1), start_step=first, stop_step=last)
            )
            program.run_steps(0)
        ends.append(model.get_weights()[0])
    np.testing.assert_array_equal(*ends)


def test_scoring_batches_are_the_same_every_time(data):
    model = softmax_regression(data, dtype="float32")
    model.compile(SGD(0.1))
    program = StreamedProgram(model, BATCH, jit=False)
    program.attach(data, Feeding(0, 1, schedules.fixed(0.0)))
    once, twice = program.scoring_batches(2), program.scoring_batches(2)
    assert [len(labels) for _, labels in once] == [4, 4]
    for (a, b), (c, d) in zip(once, twice, strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)
