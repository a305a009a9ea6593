"""The callbacks in a user's own plain `fit` on their own model."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import tfprune
from tfprune.backend import keras, tf
from tfprune.catalog import CRITERIA, FILTER_CRITERIA
from tfprune.errors import InputError, TrainingDiverged
from tfprune.event_folders import scalar_tag
from tfprune.pruning.weights import read_weights, write_weights
from tfprune.training.callbacks.filter_noise import NoiseState
from tfprune.training.checkpoints import Checkpoints, States

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 8)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32) + (X[:, 1] > 0)


def own_model(momentum=0.9):
    keras.utils.set_random_seed(1)
    plain = keras.Sequential(
        [
            keras.layers.Dense(16, activation="relu", input_shape=(8,), name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(3, name="output"),
        ]
    )
    model = tfprune.prune_model(plain)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # So few steps are taken sooner than compiled.
    model.compile(tfprune.SGD(0.1, momentum=momentum), loss, metrics=["accuracy"], run_eagerly=True)
    return model


def fit(model, *callbacks, epochs=4):
    return model.fit(
        X, Y, batch_size=16, epochs=epochs, verbose=0, shuffle=False, callbacks=callbacks
    )


def assert_same(got, want):
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


@pytest.mark.parametrize(("point", "epochs"), [("0ep", 0), ("2ep", 2), ("8it", 2)])
def test_rewinding_puts_back_all_weights_of_the_moment(point, epochs):
    """64 examples in batches of 16: 8 iterations are 2 epochs; batch-norm statistics included."""
    reference = own_model()
    if epochs:
        fit(reference, epochs=epochs)
    want = read_weights(reference)
    model = own_model()
    rewind = tfprune.RewindWeights(point)
    fit(model, rewind)
    assert any(np.any(read_weights(model)[name] != want[name]) for name in want)
    rewind.rewind()
    assert_same(read_weights(model), want)


def test_rewinding_keeps_the_mask_and_forgets_the_momentum():
    model = own_model()
    rewind = tfprune.RewindWeights("0ep")
    fit(model, rewind)
    kept = RNG.random((8, 16)) < 0.5
    masks = tfprune.Masks({**tfprune.get_masks(model), "hidden": kept})
    tfprune.set_masks(model, masks)
    rewind.rewind()
    assert tfprune.get_masks(model) == masks
    weights = read_weights(model)["hidden/kernel"]
    assert not np.any(weights[~kept])
    np.testing.assert_array_equal(weights[kept], rewind.weights["hidden/kernel"][kept])
    slots = [v for v in model.optimizer.variables if v is not model.optimizer.learning_rate]
    assert not any(np.any(slot.numpy()) for slot in slots)


def test_rewinding_before_the_point_is_reached_says_so():
    rewind = tfprune.RewindWeights("9ep")
    fit(own_model(), rewind)
    with pytest.raises(RuntimeError, match="not reached the rewind point 9ep"):
        rewind.rewind()


@pytest.mark.parametrize("criterion", ["magnitude", "gradient", "random", "synflow"])
def test_iterative_pruning_removes_a_fraction_per_level_within_one_fit(criterion):
    model = own_model()
    total = tfprune.get_masks(model).total
    rewind = tfprune.RewindWeights("0ep")
    pruning = tfprune.IterativePruning(
        level_epochs=2, levels=2, criterion=criterion, rewind=rewind, batches=[(X[:32], Y[:32])]
    )
    history = fit(model, rewind, pruning, epochs=6).history
    remaining = [total]
    for _ in range(2):
        remaining.append(remaining[-1] - -(-remaining[-1] // 5))
    np.testing.assert_allclose(
        history["sparsity"], [1 - remaining[i] / total for i in (0, 0, 1, 1, 2, 2)]
    )
    masks = tfprune.get_masks(model)
    assert masks.remaining == remaining[2]
    for name, mask in masks.items():
        assert not np.any(read_weights(model)[f"{name}/kernel"][~mask])


def test_redense_lifts_masks_and_recovered_weights_start_at_zero():
    model = own_model()
    kept = RNG.random((8, 16)) < 0.5
    fit(model, epochs=1)  # Momentum at the weights that are pruned next.
    tfprune.set_masks(model, tfprune.Masks({**tfprune.get_masks(model), "hidden": kept}))
    seen = {}

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.setdefault(tfprune.sparsity(self.model), read_weights(self.model))

    fit(model, tfprune.ReDense(at_epoch=2), Look(), epochs=4)
    assert tfprune.sparsity(model) == 0
    lifted = seen[0.0]["hidden/kernel"]
    assert not np.any(lifted[~kept])
    assert np.all(read_weights(model)["hidden/kernel"][~kept] != 0)


def test_redense_keeps_the_rate_that_a_schedule_has_reached():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([8], [0.1, 0.001])
    model = own_model()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tfprune.SGD(schedule, momentum=0.9), loss)
    fit(model, tfprune.ReDense(at_epoch=2), epochs=4)
    assert int(model.optimizer.iterations.numpy()) == 16
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 0.001)
    with pytest.raises(ValueError, match="without a schedule"):
        fit(model, tfprune.ReDense(at_epoch=1, learning_rate=0.5))


def test_redense_sets_the_rate():
    model = own_model()
    fit(model, tfprune.ReDense(at_epoch=1, learning_rate=0.02), epochs=2)
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 0.02)


def test_iterative_pruning_of_an_unwrapped_model_says_what_to_do():
    plain = tfprune.strip(own_model())
    plain.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match="prune_model"):
        fit(plain, tfprune.IterativePruning(1, 1))


def test_distance_is_numpys_over_kernels_and_biases_under_the_mask():
    """SDD 5: all trainable parameters of convolution and linear layers, so no batch norm."""
    model = own_model()
    kept = RNG.random((8, 16)) < 0.5
    tfprune.set_masks(model, tfprune.Masks({**tfprune.get_masks(model), "hidden": kept}))
    before = read_weights(model)
    history = fit(model, tfprune.DistanceFromInit()).history
    after = read_weights(model)
    moved = {name: (after[name] - before[name]).astype(np.float64).ravel() for name in after}
    assert np.any(moved["norm/gamma"])
    assert np.any(moved["output/bias"])
    layers = {
        layer: np.concatenate([moved[f"{layer}/kernel"], moved[f"{layer}/bias"]])
        for layer in ("hidden", "output")
    }
    for layer, difference in layers.items():
        found = history[f"distance_from_init/{layer}"][-1]
        np.testing.assert_allclose(found, np.linalg.norm(difference), rtol=1e-6)
    total = np.linalg.norm(np.concatenate(list(layers.values())))
    np.testing.assert_allclose(history["distance_from_init"][-1], total, rtol=1e-6)
    assert len(history["distance_from_init"]) == 4


def test_distance_leaves_out_what_is_not_trained():
    """A gate on a shortcut is a frozen depthwise kernel; closed, it would count as moved."""
    model = own_model()
    model.get_layer("masked_layer_output").layer.trainable = False
    model.compile(model.optimizer, model.loss)  # Keras trains what was trainable then.
    start = {name: value + 1 for name, value in read_weights(model).items()}
    history = fit(model, tfprune.DistanceFromInit(start), epochs=1).history
    assert "distance_from_init/output" not in history
    assert history["distance_from_init"] == history["distance_from_init/hidden"]


def test_distance_from_given_weights_ignores_what_is_pruned():
    """A pruned weight has not moved: at the start of a level the distance is 0."""
    model = own_model()
    initial = read_weights(model)
    kept = RNG.random((8, 16)) < 0.5
    tfprune.set_masks(model, tfprune.Masks({**tfprune.get_masks(model), "hidden": kept}))
    model.optimizer.learning_rate.assign(0.0)
    history = fit(model, tfprune.DistanceFromInit(initial), epochs=1).history
    assert history["distance_from_init"] == [0.0]


def test_subset_accuracy_is_numpys():
    model = own_model()
    observed = np.where(np.arange(64) % 4 == 0, (Y + 1) % 3, Y)
    selected = np.arange(64) % 4 == 0
    history = fit(model, tfprune.SubsetAccuracy(X, observed, Y, selected), epochs=2).history
    predicted = model.predict(X, verbose=0).argmax(1)
    for name, expected in {
        "unpermuted_accuracy": np.mean(predicted[~selected] == observed[~selected]),
        "permuted_accuracy": np.mean(predicted[selected] == observed[selected]),
        "restored_accuracy": np.mean(predicted[selected] == Y[selected]),
        "train_accuracy": np.mean(predicted == observed),
    }.items():
        np.testing.assert_allclose(history[name][-1], expected, rtol=1e-6, err_msg=name)


def test_tensorboard_gets_every_scalar_of_every_epoch(tmp_path):
    model = own_model()
    history = fit(
        model,
        tfprune.DistanceFromInit(),
        tfprune.TensorBoardScalars(tmp_path, {"sparsity": 0.25}),
        epochs=3,
    ).history
    (file,) = tmp_path.iterdir()
    found = {}
    for event in EventFileLoader(str(file)).Load():
        for value in event.summary.value:
            scalar = value.tensor.float_val or [value.simple_value]
            found.setdefault(value.tag, {})[event.step] = scalar[0]
    np.testing.assert_allclose(list(found["accuracy"].values()), history["accuracy"], rtol=1e-6)
    np.testing.assert_allclose(
        list(found["distance_from_init"].values()), history["distance_from_init"], rtol=1e-6
    )
    assert found["sparsity"] == {1: 0.25, 2: 0.25, 3: 0.25}
    np.testing.assert_allclose(found["learning_rate"][3], 0.1, rtol=1e-6)


def test_tags_group_what_is_compared():
    tags = [scalar_tag(name) for name in ("test_accuracy", "noisy_loss", "loss", "accuracy")]
    assert tags == ["accuracy/test", "loss/noisy", "loss", "accuracy"]


def test_the_record_is_a_csv_of_every_epoch(tmp_path):
    record = tfprune.EpochRecord(tmp_path / "metrics.csv", columns=None)
    history = fit(own_model(), record, epochs=3).history
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    header = lines[0].split(",")
    rows = [dict(zip(header, line.split(","), strict=True)) for line in lines[1:]]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    np.testing.assert_allclose([float(row["loss"]) for row in rows], history["loss"], rtol=1e-7)


def test_a_checkpoint_restores_weights_and_momentum(tmp_path):
    record = tfprune.EpochRecord(columns=None)
    checkpoint = tfprune.EpochCheckpoint(tmp_path, record, seconds=0)
    model = own_model()
    fit(model, record, checkpoint, epochs=2)
    weights = read_weights(model)
    momentum = [v.numpy() for v in model.optimizer.variables]
    fit(model, epochs=1)
    resumed = Checkpoints(tmp_path).restore(model)
    assert (resumed.epoch, len(resumed.rows)) == (2, 2)
    assert_same(read_weights(model), weights)
    for got, want in zip(model.optimizer.variables, momentum, strict=True):
        np.testing.assert_array_equal(got.numpy(), want)


def test_a_checkpoint_restores_masks_that_changed_on_the_way(tmp_path):
    """As of a network whose filters are pruned while it trains."""
    model = own_model()
    fit(model, epochs=1)
    kept = RNG.random((8, 16)) < 0.5
    masks = tfprune.Masks({**tfprune.get_masks(model), "hidden": kept})
    tfprune.set_masks(model, masks)
    Checkpoints(tmp_path).save(model, 1, [])
    weights = read_weights(model)
    other = own_model()
    other.optimizer.build(other.trainable_variables)
    assert Checkpoints(tmp_path).restore(other).epoch == 1
    assert tfprune.get_masks(other) == masks
    assert_same(read_weights(other), weights)
    fit(other, epochs=1)
    assert not np.any(read_weights(other)["hidden/kernel"][~kept])


def noise_of(model, layer="hidden"):
    return NoiseState(model, [layer])


def test_a_checkpoint_restores_noise_that_is_still_on(tmp_path):
    model = own_model()
    fit(model, epochs=1)
    noise = noise_of(model)
    noise.start("restoring", 0)
    noise.begin("hidden", np.arange(16) < 4, 3, cumulative=False)
    Checkpoints(tmp_path, state=noise).save(model, 1, [])
    other = own_model()
    other.optimizer.build(other.trainable_variables)
    resumed = noise_of(other)
    assert Checkpoints(tmp_path, state=resumed).restore(other).epoch == 1
    assert_same(resumed.read(), noise.read())
    assert resumed.read()["hidden/remaining"] == 3
    for state in (noise, resumed):
        state.start("restoring", 0)
        for _ in range(4):
            state.before_batch()
            state.after_batch()
    assert_same(read_weights(other), read_weights(model))
    assert np.all(read_weights(other)["hidden/kernel"][:, :4] != 0)


@pytest.mark.parametrize(("saved", "asked"), [("hidden", ""), ("", "hidden"), ("hidden", "output")])
def test_a_checkpoint_of_other_noise_is_not_used(tmp_path, saved, asked):
    model, told = own_model(), []
    fit(model, epochs=1)
    before = read_weights(model)
    states = [noise_of(model, layer) if layer else States(()) for layer in (saved, asked)]
    Checkpoints(tmp_path, state=states[0]).save(model, 1, [])
    assert Checkpoints(tmp_path, told.append, states[1]).restore(model) is None
    assert len(told) == 1
    assert "another network or optimizer" in told[0]
    assert_same(read_weights(model), before)
    assert not list(tmp_path.glob("checkpoint-?.npz"))


def test_a_nan_loss_stops_fit():
    model = own_model()
    model.optimizer.learning_rate.assign(1e30)
    with pytest.raises(TrainingDiverged, match="mine: loss is nan after epoch"):
        fit(model, tfprune.StopOnNonFinite("mine"))


def test_progress_is_told_of_every_epoch():
    seen = []
    fit(own_model(), tfprune.EpochProgress(seen.append), epochs=3)
    assert len(seen) == 3
    assert all(np.isfinite(logs["loss"]) for logs in seen)


def test_weights_of_another_network_are_refused():
    with pytest.raises(ValueError, match="another network"):
        write_weights(own_model(), {"hidden/kernel": np.zeros((8, 16))})


def test_a_wrapped_and_a_plain_network_have_the_same_names():
    model = own_model()
    assert list(read_weights(model)) == list(read_weights(tfprune.strip(model)))
    assert tf.is_tensor(model(X[:1]))


BATCHES = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prune_fraction": 20}, r"prune_fraction=20: a number in \[0, 1\]"),
        ({"scope": "layers"}, "scope=layers: did you mean layer"),
        ({"criterion": "snap"}, "criterion=snap: did you mean snip"),
        ({"level_epochs": 0}, "level_epochs=0: a whole number of at least 1"),
        ({"level_epochs": 1.5}, "level_epochs=1.5: a whole number"),
        ({"levels": -1}, "levels=-1: a whole number of at least 0"),
        ({"seed": -1}, "seed=-1"),
        ({"batches": (batch for batch in BATCHES)}, "a generator is empty after the first time"),
        ({"batches": BATCHES.repeat()}, "batches never end"),
        (
            {"rewind": tfprune.RewindWeights("4ep")},
            "rewind_to=4ep: at most the first pruning, 3ep",
        ),
    ],
)
def test_arguments_of_iterative_pruning_are_looked_at_when_it_is_made(arguments, message):
    with pytest.raises(InputError, match=message):
        tfprune.IterativePruning(**{"level_epochs": 3, "levels": 1, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"criterion": "snip"}, "needs training batches, and there are none"),
        ({"criterion": "snip", "batches": [(X, Y + 1)]}, "labels go from 1 to 3"),
        ({"criterion": "snip", "batches": [(X, Y, Y)]}, "one has 3 parts"),
        ({"rewind": tfprune.RewindWeights("1ep")}, "rewind must be among the callbacks"),
    ],
)
def test_what_only_fit_can_tell_is_refused_before_its_first_step(arguments, message):
    model = own_model()
    with pytest.raises(InputError, match=message):
        fit(model, tfprune.IterativePruning(**{"level_epochs": 3, "levels": 1, **arguments}))
    assert model.optimizer.iterations.numpy() == 0


def test_a_rewind_point_after_the_first_pruning_is_refused_by_its_batches():
    model, rewind = own_model(), tfprune.RewindWeights("9it")
    with pytest.raises(InputError, match="rewind_to=9it: at most the first pruning, 2ep"):
        fit(model, rewind, tfprune.IterativePruning(2, 1, rewind=rewind))
    assert model.optimizer.iterations.numpy() == 0


def test_batches_of_unknown_length_are_all_read():
    masks = []
    for batches in (list(BATCHES), BATCHES.filter(lambda *_: True)):
        model = own_model()
        fit(model, tfprune.IterativePruning(1, 1, 0.5, "snip", batches=batches), epochs=1)
        masks.append(tfprune.get_masks(model))
    assert masks[0] == masks[1]


SCHEDULE = tfprune.FilterSchedule("hidden", 0, 0, 1, 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tfprune.ReDense(1.5), "at_epoch=1.5: a whole number of at least 0"),
        (lambda: tfprune.ReDense(-1), "at_epoch=-1"),
        (lambda: tfprune.FilterSchedule("a", 0.5, 1, 1, 0.5), "start=0.5: a whole number"),
        (lambda: tfprune.FilterSchedule("a", 0, 1, 0.5, 0.5), "period=0.5"),
        (lambda: tfprune.FilterPruning([SCHEDULE], test=(X, Y[1:])), "64 images and 63 labels"),
        (
            lambda: tfprune.FilterPruning([SCHEDULE], test=BATCHES),
            "must be .images, labels., not a",
        ),
        (lambda: tfprune.FilterPruning([SCHEDULE], test=(X[:0], Y[:0])), "an example at least"),
        (
            lambda: tfprune.FilterPruning([SCHEDULE], test=(X, Y), batches=iter(BATCHES)),
            "is empty after the first time",
        ),
        (lambda: tfprune.UtilityRecord(None, every_epochs=0), "every_epochs=0"),
        (lambda: tfprune.SubsetAccuracy(X, Y, Y[1:], Y == 0), "64 images, and 63 original_labels"),
    ],
)
def test_arguments_of_the_other_callbacks_are_looked_at_when_they_are_made(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        ("filter_activation", "needs training batches, and there are none"),
        ("filter_gamma", "'output' has no batch norm after it"),
    ],
)
def test_a_criterion_that_cannot_score_the_filters_is_refused_before_the_first_step(
    criterion, message
):
    model = own_model()
    schedule = tfprune.FilterSchedule("output", 2, 2, 1, 0.5)
    with pytest.raises(InputError, match=message):
        fit(model, tfprune.FilterNoise([schedule], criterion=criterion, test=(X, Y)))
    assert model.optimizer.iterations.numpy() == 0


@pytest.mark.parametrize(
    "scores",
    [
        lambda inputs: None,
        lambda inputs: {"hidden": np.ones(3)},
        lambda inputs: {name: np.ones(mask.shape).ravel() for name, mask in inputs.masks.items()},
        lambda inputs: {name: np.full(mask.shape, np.nan) for name, mask in inputs.masks.items()},
    ],
)
@pytest.mark.parametrize("filters", [False, True])
def test_what_are_no_scores_is_refused_before_the_first_step(scores, filters, monkeypatch):
    registry = FILTER_CRITERIA if filters else CRITERIA
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    registry.add("mine", scores, "")
    if filters:
        pruning = tfprune.FilterNoise([SCHEDULE], criterion="mine", test=(X, Y))
    else:
        pruning = tfprune.IterativePruning(3, 1, criterion="mine")
    model = own_model()
    with pytest.raises(InputError, match="scores"):
        fit(model, pruning)
    assert model.optimizer.iterations.numpy() == 0


def test_noise_refuses_several_batches_between_two_calls():
    model = own_model()
    model.compile("sgd", model.loss, steps_per_execution=2)
    with pytest.raises(InputError, match="steps_per_execution=1, not 2"):
        fit(model, tfprune.FilterNoise([SCHEDULE], test=(X, Y)))
