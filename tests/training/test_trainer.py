"""The trainer: the same bits again, after an interruption, and in another process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic import is_nested, prepared_data

from tfprune import __main__ as door
from tfprune import layout
from tfprune.config import from_settings
from tfprune.errors import TrainingDiverged
from tfprune.files import load_arrays
from tfprune.pruning import model as pruned
from tfprune.pruning.masks import Masks
from tfprune.pruning.weights import read_weights
from tfprune.training import runtime, schedules
from tfprune.training.epoch_program import Feeding
from tfprune.training.scoring import prune
from tfprune.training.trainer import Trainer, TrainingOutputs, TrainingPlan

DATA = prepared_data(examples=50, test_examples=20, val_examples=10)
EPOCHS = 4
CONFIG = from_settings(
    {"train_epochs": EPOCHS, "batch_size": 16, "momentum": 0.9, "learning_rate": 0.05}
)


@pytest.fixture(scope="module")
def trainer():
    runtime.configure(CONFIG)  # As every run does: deterministic kernels round differently.
    return Trainer(CONFIG, DATA.input_shape, DATA.num_classes)


def half_masks(trainer):
    rng = np.random.default_rng(1)
    dense = trainer.dense_masks
    return Masks({name: rng.random(mask.shape) < 0.5 for name, mask in dense.items()})


def plan_of(trainer, **changes):
    initial = trainer.initial_weights(seed=3)
    values = {
        "seed": 3,
        "level": 1,
        "weights": initial,
        "masks": half_masks(trainer),
        "initial": initial,
        "schedule": schedules.training_schedule(CONFIG.training),
        "epochs": EPOCHS,
        "augment": "flip_shift",
    }
    return TrainingPlan(**{**values, **changes})


def outputs_of(folder, **changes):
    return TrainingOutputs(folder, folder / "tensorboard", **changes)


def without_clock(rows):
    """What metrics.csv holds but the clock, as rows; the loss of the steps taken is left out."""
    columns = [name for name in layout.METRIC_COLUMNS if name != "wall_seconds"]
    return [{name: row[name] for name in columns} for row in rows]


def test_the_same_plan_gives_the_same_bits(trainer, tmp_path):
    ends, rows = [], []
    for name in "ab":
        rows.append(
            without_clock(trainer.train(DATA, plan_of(trainer), outputs_of(tmp_path / name)))
        )
        ends.append(read_weights(trainer.model))
    assert rows[0] == rows[1]
    for name, value in ends[0].items():
        np.testing.assert_array_equal(value, ends[1][name])


def test_an_interrupted_training_ends_bit_for_bit_where_an_uninterrupted_one_does(
    trainer, tmp_path
):
    rows = trainer.train(DATA, plan_of(trainer), outputs_of(tmp_path / "whole"))
    whole = read_weights(trainer.model)

    class PowerCutError(Exception):
        pass

    def cut(logs):
        if (tmp_path / "cut" / layout.CHECKPOINTS[0]).exists():
            raise PowerCutError

    interrupted = outputs_of(tmp_path / "cut", checkpoint_seconds=0, advance=cut)
    with pytest.raises(PowerCutError):
        trainer.train(DATA, plan_of(trainer), interrupted)
    # A new process has a new trainer, whose optimizer has not taken a step.
    fresh = Trainer(CONFIG, DATA.input_shape, DATA.num_classes)
    told = []
    outputs = outputs_of(tmp_path / "cut", advance=told.append)
    again = fresh.train(DATA, plan_of(fresh), outputs)
    assert len(again) == EPOCHS
    # Where it goes on is told before its first epoch.
    assert [logs.get(layout.EPOCHS_BEFORE) for logs in told] == [EPOCHS - len(told) + 1] + [
        None
    ] * (len(told) - 1)
    assert 1 < len(told) <= EPOCHS
    assert without_clock(again) == without_clock(rows)
    for name, value in read_weights(fresh.model).items():
        np.testing.assert_array_equal(value, whole[name])
    table = (tmp_path / "cut" / layout.METRICS).read_text().splitlines()
    assert len(table) == EPOCHS + 1


def test_pruned_weights_are_zero_at_the_end_and_in_every_checkpoint(trainer, tmp_path):
    plan = plan_of(trainer)
    trainer.train(DATA, plan, outputs_of(tmp_path, checkpoint_seconds=0))
    checkpoint = load_arrays(tmp_path / layout.CHECKPOINTS[0])
    for name, mask in plan.masks.items():
        assert not np.any(pruned.prunable_weights(trainer.model)[name][~mask])
        assert not np.any(checkpoint[f"model/{name}/kernel"][~mask])


def test_training_to_a_step_and_on_is_training_through(trainer, tmp_path):
    """Rewinding to the middle of epoch 2 starts from exactly the weights that passed there."""
    plan = plan_of(trainer, level=0)
    trainer.train(DATA, plan, outputs_of(tmp_path / "whole"))
    whole = read_weights(trainer.model)
    plain = Trainer(
        from_settings(
            {"train_epochs": EPOCHS, "batch_size": 16, "learning_rate": 0.05, "jit": "off"}
        ),
        DATA.input_shape,
        DATA.num_classes,
    )
    middle = plain.train_to(DATA, plan, step=6)
    rest = plan_of(trainer, level=0, weights=middle, start_step=6)
    rows = plain.train(DATA, rest, outputs_of(tmp_path / "rest"))
    assert [row["epoch"] for row in rows] == [2, 3, 4]
    through = plain.train(DATA, plan, outputs_of(tmp_path / "through"))
    end = read_weights(plain.model)
    plain.train(DATA, rest, outputs_of(tmp_path / "again"))
    for name, value in read_weights(plain.model).items():
        np.testing.assert_array_equal(value, end[name])
    expected, got = without_clock(through)[1:], without_clock(rows)
    for row in (expected[0], got[0]):  # Over the steps of epoch 2 that were taken: all, or a part.
        del row["running_train_accuracy"]
    assert got == expected
    # Momentum was on there, and XLA rounds otherwise.
    assert any(np.abs(whole[name] - end[name]).max() > 1e-3 for name in end)


def test_two_processes_give_the_same_bits(trainer, tmp_path):
    code = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from training.test_trainer import CONFIG, DATA, Trainer, outputs_of, plan_of
from tfprune.files import save_arrays
from tfprune.pruning.weights import read_weights
from tfprune.training import runtime
runtime.configure(CONFIG)
t = Trainer(CONFIG, DATA.input_shape, DATA.num_classes)
t.train(DATA, plan_of(t), outputs_of(Path(sys.argv[1])))
save_arrays(Path(sys.argv[1]) / "end.npz", read_weights(t.model))
"""
    root = Path(door.__file__).parents[1]
    code = code.format(root=str(root), tests=str(root / "tests"))
    folder = tmp_path / "there"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, capture_output=True)
    there = load_arrays(folder / "end.npz")
    trainer.train(DATA, plan_of(trainer), outputs_of(tmp_path / "here"))
    here = read_weights(trainer.model)
    assert there.keys() == here.keys()
    for name, value in there.items():
        np.testing.assert_array_equal(value, here[name])


def test_a_loss_that_is_not_a_number_stops_the_trial_and_says_where(trainer, tmp_path):
    plan = plan_of(trainer, schedule=schedules.fixed(1e20), where="seed 3, level 1")
    with pytest.raises(TrainingDiverged, match=r"seed 3, level 1: .*after epoch 1 .*1e\+20"):
        trainer.train(DATA, plan, outputs_of(tmp_path))


def test_random_scores_differ_between_levels_and_seeds(trainer):
    config = from_settings({"criterion": "random"})
    weights, masks = trainer.initial_weights(3), trainer.dense_masks
    keys = [(3, 1), (3, 2), (4, 1)]
    found = [prune(trainer, DATA, *key, weights, masks, config.pruning) for key in keys]
    assert found[0] != found[1]
    assert found[0] != found[2]
    again = prune(trainer, DATA, 3, 1, weights, masks, config.pruning)
    assert again == found[0]


def test_scoring_batches_differ_between_levels_and_seeds(trainer):
    def labels(seed, level):
        program = trainer.attach(DATA, Feeding(seed, level, schedules.fixed(0.0)))
        return np.concatenate([np.asarray(batch) for _, batch in program.scoring_batches(2)])

    assert np.any(labels(3, 1) != labels(3, 2))
    assert np.any(labels(3, 1) != labels(4, 1))
    np.testing.assert_array_equal(labels(3, 1), labels(3, 1))


def test_a_diverged_training_leaves_its_metrics(trainer, tmp_path):
    plan = plan_of(trainer, schedule=schedules.fixed(1e20))
    with pytest.raises(TrainingDiverged):
        trainer.train(DATA, plan, outputs_of(tmp_path))
    assert len((tmp_path / layout.METRICS).read_text().splitlines()) == 2
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert events.stat().st_size > 200


def test_gradient_scores_are_the_same_every_time(trainer):
    config = from_settings({"criterion": "snip", "criterion_batches": 2})
    weights, masks = trainer.initial_weights(3), half_masks(trainer)
    once, twice = (prune(trainer, DATA, 3, 1, weights, masks, config.pruning) for _ in range(2))
    assert once == twice
    assert is_nested(once, masks)
    assert once.remaining == masks.remaining - -(-masks.remaining // 5)
