"""The prune-retrain loop: what each way to retrain starts from, and trunks reused."""

import numpy as np
import pytest
from synthetic import is_nested, prepared_data, tell_nobody

from tfprune import layout
from tfprune.catalog import RETRAINING, Retraining
from tfprune.config import from_settings
from tfprune.engine.executors import InProcess
from tfprune.engine.study import StudyEngine
from tfprune.engine.workshop import Workshop
from tfprune.errors import SettingError
from tfprune.files import load_arrays, read_json
from tfprune.pruning.masks import Masks
from tfprune.store import read_results
from tfprune.studies.iterative import PruneRetrain
from tfprune.studies.trial import Trial
from tfprune.training.evaluating import evaluate
from tfprune.training.scoring import prune
from tfprune.training.trainer import Trainer

DATA = prepared_data(examples=40, test_examples=20)
TINY = {
    "train_epochs": 3,
    "batch_size": 16,
    "width": 0.05,
    "levels": 2,
    "learning_rate": 0.1,
    "lr_drop_epochs": (2,),
    "momentum": 0.9,
    "jit": "off",  # XLA takes longer to compile than these trainings take.
}


def loop_of(tmp_path, trainers, seed=0, **values):
    config = from_settings({**TINY, "output_dir": str(tmp_path), **values}, experiment="test")
    if config.training not in trainers:
        trainers[config.training] = Trainer(config, DATA.input_shape, DATA.num_classes)
    return PruneRetrain(Trial(config, seed), trainers[config.training], DATA)


@pytest.fixture(scope="module")
def executor():
    """One for all studies of this file: their network is compiled once."""
    return InProcess(Workshop([], tell_nobody))


@pytest.fixture(scope="module")
def trainers():
    return {}


def run_all(loop):
    trained = []
    for stage in loop.trial.stages():
        if not stage.is_done:
            loop.run(stage, lambda logs: None)
            trained.append(stage.name)
    return trained


def start(loop, level):
    return load_arrays(loop.trial.stage(level).folder / layout.START)


def end(loop, level):
    return load_arrays(loop.trial.stage(level).folder / layout.END)


def masks(loop, level):
    return Masks.load(loop.trial.stage(level).folder / layout.MASKS)


def under(weights, kept):
    return {
        name: value * kept[name.removesuffix("/kernel")]
        if name.removesuffix("/kernel") in kept
        else value
        for name, value in weights.items()
    }


def assert_same(got, want):
    assert got.keys() == want.keys()
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def rows(loop, level):
    return read_json(loop.trial.stage(level).folder / layout.RESULT)


def rates(loop, level):
    lines = (loop.trial.stage(level).folder / layout.METRICS).read_text().splitlines()
    at = lines[0].split(",").index("learning_rate")
    return [round(float(line.split(",")[at]), 6) for line in lines[1:]]


def test_weight_rewinding_starts_from_the_masked_initialization(tmp_path, trainers):
    loop = loop_of(tmp_path, trainers)
    run_all(loop)
    for level in (1, 2):
        assert_same(start(loop, level), under(start(loop, 0), masks(loop, level)))
        assert rates(loop, level) == [0.1, 0.1, 0.01]


def test_weight_rewinding_to_an_epoch_starts_from_the_dense_weights_of_that_epoch(
    tmp_path, trainers
):
    one = loop_of(tmp_path / "one", trainers, train_epochs=1, lr_drop_epochs=(2,), levels=0)
    run_all(one)
    loop = loop_of(tmp_path, trainers, rewind_to="1ep")
    run_all(loop)
    assert_same(start(loop, 2), under(end(one, 0), masks(loop, 2)))
    assert rates(loop, 2) == [0.1, 0.01]


def test_learning_rate_rewinding_keeps_the_weights_and_replays_the_schedule(tmp_path, trainers):
    loop = loop_of(tmp_path, trainers, retrain="lr_rewind", rewind_to="1ep")
    run_all(loop)
    for level in (1, 2):
        assert_same(start(loop, level), under(end(loop, level - 1), masks(loop, level)))
        assert rates(loop, level) == [0.1, 0.01]


def test_finetuning_keeps_the_weights_at_the_schedules_last_rate(tmp_path, trainers):
    loop = loop_of(tmp_path, trainers, retrain="finetune")
    run_all(loop)
    assert_same(start(loop, 1), under(end(loop, 0), masks(loop, 1)))
    assert rates(loop, 1) == [0.01, 0.01, 0.01]
    own = loop_of(tmp_path, trainers, retrain="finetune", finetune_lr=0.002)
    run_all(own)
    assert rates(own, 1) == [0.002] * 3


def test_scratch_draws_new_weights_for_every_level(tmp_path, trainers):
    loop = loop_of(tmp_path, trainers, retrain="scratch")
    run_all(loop)
    kernels = [start(loop, level)["dense1/kernel"] for level in range(3)]
    both = masks(loop, 2)["dense1"]
    assert not any(np.array_equal(kernels[0][both], kernels[i][both]) for i in (1, 2))
    assert not np.array_equal(kernels[1][both], kernels[2][both])
    assert rates(loop, 1) == [0.1, 0.1, 0.01]


def test_extended_dense_training_removes_nothing(tmp_path, trainers):
    loop = loop_of(tmp_path, trainers, retrain="extended_dense")
    run_all(loop)
    assert_same(start(loop, 2), end(loop, 1))
    assert rows(loop, 2)["sparsity"] == 0
    assert rates(loop, 2) == [0.1, 0.1, 0.01]


def halfway(inputs):
    """The middle of where weights are and where they were at the rewind point."""
    rewound = inputs.rewound()
    return {name: (value + rewound[name]) / 2 for name, value in inputs.trained.items()}


def doubling(training, pruning):
    """A rate of its own for each epoch."""
    return lambda epoch, steps: np.full(steps, 0.01 * 2**epoch, np.float32)


@pytest.fixture
def retrainings(monkeypatch):
    """The table, and what a test adds to it."""
    monkeypatch.setattr(RETRAINING, "_entries", dict(RETRAINING._entries))
    return RETRAINING


def test_a_sixth_retraining_is_one_entry(tmp_path, trainers, retrainings):
    """Its weights, its first epoch and its learning rates are all its own."""
    retrainings.add("halfway", Retraining(halfway, "1ep", doubling), "of a test")
    loop = loop_of(tmp_path, trainers, retrain="halfway", rewind_to="2it")
    loop.check()
    run_all(loop)
    rewound = load_arrays(loop.trial.rewind_file())
    for level in (1, 2):
        trained = end(loop, level - 1)
        middle = {name: (value + rewound[name]) / 2 for name, value in trained.items()}
        assert_same(start(loop, level), under(middle, masks(loop, level)))
        assert rates(loop, level) == [0.02, 0.04]
    assert loop.last_rate(1) == pytest.approx(0.04)
    assert masks(loop, 2).remaining < masks(loop, 1).remaining


def test_an_entry_may_prune_nothing_and_give_each_level_an_initialization(
    tmp_path, trainers, retrainings
):
    again = Retraining(lambda inputs: inputs.initial, prunes=False, new_initialization=True)
    retrainings.add("again", again, "of a test")
    loop = loop_of(tmp_path, trainers, retrain="again", rewind_to="1ep", prune_fraction=0.999)
    loop.check()  # More than any level could take.
    run_all(loop)
    assert rows(loop, 2)["sparsity"] == 0
    for level in (1, 2):
        assert_same(start(loop, level), loop.trainer.initial_weights(0, level))
        assert rates(loop, level) == [0.1, 0.01]


def test_an_entry_that_starts_after_the_end_is_refused(tmp_path, trainers, retrainings):
    retrainings.add("late", Retraining(start="3ep"), "of a test")
    with pytest.raises(SettingError, match=r"retrain=late: .*9 steps"):
        loop_of(tmp_path, trainers, retrain="late").check()


def test_a_level_removes_the_ceiling_and_masks_nest_across_levels(tmp_path, trainers):
    loop = loop_of(tmp_path, trainers, levels=4)
    run_all(loop)
    remaining = masks(loop, 0).total
    assert remaining == sum(w.size for name, w in end(loop, 0).items() if name.endswith("/kernel"))
    for level in range(1, 5):
        remaining -= -(-remaining // 5)
        assert masks(loop, level).remaining == remaining
        assert is_nested(masks(loop, level), masks(loop, level - 1))
        for name, mask in masks(loop, level).items():
            assert not np.any(end(loop, level)[f"{name}/kernel"][~mask])


def test_magnitude_pruning_removes_the_smallest_trained_weights(tmp_path, trainers):
    loop = loop_of(tmp_path, trainers, levels=1)
    run_all(loop)
    kept = masks(loop, 1)
    trained = end(loop, 0)
    magnitudes = np.concatenate([np.abs(trained[f"{n}/kernel"]).ravel() for n in kept])
    assert magnitudes[~kept.flat()].max() <= magnitudes[kept.flat()].min()


def test_five_levels_of_magnitude_masks_equal_a_numpy_computation(tmp_path, trainers):
    """On fixed weights: after each level, the 20% smallest of all that is left are gone."""
    loop = loop_of(tmp_path, trainers)
    weights = loop.trainer.initial_weights(0)
    kept = loop.trainer.dense_masks
    flat = np.concatenate([weights[f"{name}/kernel"].ravel() for name in kept])
    output = weights["logits/kernel"].size
    alive = np.ones(flat.size, bool)
    for level in range(1, 6):
        kept = prune(loop.trainer, DATA, 0, level, weights, kept, loop.config.pruning)
        count = int(np.ceil((alive.sum() + output) * 0.2))
        ranked = np.argsort(np.where(alive, np.abs(flat), np.inf), kind="stable")
        alive[ranked[:count]] = False
        np.testing.assert_array_equal(kept.flat(), alive)


def test_one_shot_levels_all_come_from_the_dense_network(tmp_path, trainers):
    loop = loop_of(tmp_path, trainers, sparsities=(0.5, 0.9))
    run_all(loop)
    total = masks(loop, 0).total
    assert [masks(loop, i).remaining for i in (1, 2)] == [
        total - -(-total // 2),
        total - -(-total * 9 // 10),
    ]
    trained = end(loop, 0)
    kept = masks(loop, 2)
    magnitudes = np.concatenate([np.abs(trained[f"{n}/kernel"]).ravel() for n in kept])
    assert magnitudes[~kept.flat()].max() <= magnitudes[kept.flat()].min()


def test_instability_is_the_fraction_of_the_accuracy_that_pruning_takes(tmp_path, trainers):
    loop = loop_of(tmp_path, trainers, levels=1, prune_fraction=0.9)
    run_all(loop)
    before = evaluate(loop.trainer, DATA, end(loop, 0), masks(loop, 0))["test_accuracy"]
    after = evaluate(loop.trainer, DATA, end(loop, 0), masks(loop, 1))["test_accuracy"]
    assert before != after
    np.testing.assert_allclose(rows(loop, 1)["instability"], (before - after) / before, atol=1e-6)
    assert rows(loop, 0)["instability"] is None


def test_the_loss_change_is_what_pruning_does_to_the_training_loss(tmp_path, trainers):
    loop = loop_of(tmp_path, trainers, levels=2, prune_fraction=0.5)
    run_all(loop)
    for level in (1, 2):
        before, after = (
            evaluate(loop.trainer, DATA, end(loop, level - 1), masks(loop, n))["train_loss"]
            for n in (level - 1, level)
        )
        assert rows(loop, level)["loss_change"] == pytest.approx(after - before, abs=1e-6)
        assert abs(after - before) > 1e-3
    assert rows(loop, 0)["loss_change"] is None


def test_for_a_tiny_weight_the_loss_change_is_its_first_order(tmp_path, trainers):
    loop = loop_of(tmp_path, trainers, levels=1, prune_fraction=0.01)
    run_all(loop)
    exact, linear = (rows(loop, 1)[name] for name in ("loss_change", "loss_change_linear"))
    assert exact == pytest.approx(linear, rel=0.2)
    assert linear != 0


def test_the_dense_training_is_shared_and_nothing_is_trained_twice(tmp_path, trainers):
    assert run_all(loop_of(tmp_path, trainers)) == ["level_00", "level_01", "level_02"]
    assert run_all(loop_of(tmp_path, trainers)) == []
    assert run_all(loop_of(tmp_path, trainers, levels=3)) == ["level_03"]
    assert run_all(loop_of(tmp_path, trainers, criterion="random")) == ["level_01", "level_02"]


def test_a_stage_continued_alone_equals_the_one_of_a_whole_run(tmp_path, trainers):
    """Each stage is a function of the files before it, whichever process trains it."""
    whole = loop_of(tmp_path / "whole", trainers)
    run_all(whole)
    first = loop_of(tmp_path / "parts", trainers, levels=1)
    run_all(first)
    trainers.clear()
    rest = loop_of(tmp_path / "parts", trainers)
    assert run_all(rest) == ["level_02"]
    assert_same(end(rest, 2), end(whole, 2))


def test_more_levels_than_weights_are_refused_before_anything_is_written(tmp_path, trainers):
    with pytest.raises(SettingError, match="levels=100"):
        loop_of(tmp_path, trainers, levels=100).check()
    with pytest.raises(SettingError, match=r"sparsities=0\.99:"):
        loop_of(tmp_path, trainers, sparsities=(0.5, 0.99)).check()
    assert not list(tmp_path.iterdir())


def test_a_rewind_step_past_the_end_is_refused(tmp_path, trainers):
    with pytest.raises(SettingError, match=r"rewind_to=9it: .*9 steps"):
        loop_of(tmp_path, trainers, rewind_to="9it").check()
    loop_of(tmp_path, trainers, rewind_to="8it").check()


def test_a_study_writes_a_tidy_row_per_stage(tmp_path, executor):
    config = from_settings(
        {**TINY, "output_dir": str(tmp_path), "seeds": (0, 1), "levels": 1}, experiment="test"
    )
    study = StudyEngine(
        [config], ["--levels=1"], tell_nobody, {"efficacy_tolerance": 0.01}, executor=executor
    )
    study.train_trunks()
    assert (study.trained, study.reused, study.failures) == (4, 0, [])
    results = read_results(tmp_path)
    assert list(results.columns[: len(layout.RESULT_COLUMNS)]) == list(layout.RESULT_COLUMNS)
    assert list(zip(results.seed, results.level, strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert set(results.trial) == {Trial(config, 0).name}
    again = StudyEngine([config], [], tell_nobody, {"efficacy_tolerance": 0.01}, executor=executor)
    again.train_trunks()
    assert (again.trained, again.reused) == (0, 4)


def test_a_trial_that_diverges_is_named_and_the_others_go_on(tmp_path, executor):
    bad = from_settings(
        {**TINY, "output_dir": str(tmp_path), "seeds": (0,), "learning_rate": 1e30},
        experiment="test",
    )
    good = from_settings({**TINY, "output_dir": str(tmp_path), "seeds": (0,)}, experiment="test")
    study = StudyEngine([bad, good], [], tell_nobody, executor=executor)
    study.train_trunks()
    assert len(study.failures) == 1
    assert "level 0" in study.failures[0]
    assert study.trained == 3
