"""Branches: re-dense and reinitialized trainings, and trunks trained once for all of them."""

import numpy as np
import pytest
from synthetic import prepared_data, tell_nobody

from tfprune import layout
from tfprune.config import from_settings
from tfprune.engine.executors import InProcess
from tfprune.engine.study import StudyEngine
from tfprune.engine.workshop import Workshop
from tfprune.errors import SettingError
from tfprune.files import load_arrays
from tfprune.pruning.masks import Masks
from tfprune.pruning.weights import under_masks
from tfprune.store import read_metrics, read_results
from tfprune.studies import branches
from tfprune.studies.iterative import PruneRetrain
from tfprune.studies.procedure import Measurement
from tfprune.studies.settings import BranchConfig, LandscapeConfig
from tfprune.studies.trial import Trial
from tfprune.training.trainer import Trainer

DATA = prepared_data(examples=40, test_examples=20)
TINY = {
    "train_epochs": 2,
    "batch_size": 16,
    "width": 0.05,
    "levels": 2,
    "learning_rate": 0.1,
    "lr_drop_epochs": (1,),
    "momentum": 0.9,
    "jit": "off",  # XLA takes longer to compile than these trainings take.
}


@pytest.fixture(scope="module")
def executor():
    """One for all studies of this file: their network is compiled once."""
    return InProcess(Workshop([], tell_nobody))


@pytest.fixture(scope="module")
def trainer():
    config = from_settings(TINY)
    return Trainer(config, DATA.input_shape, DATA.num_classes)


@pytest.fixture
def loop(tmp_path, trainer):
    config = from_settings({**TINY, "output_dir": str(tmp_path)}, experiment="test")
    loop = PruneRetrain(Trial(config, 0), trainer, DATA)
    for stage in loop.trial.stages():
        loop.run(stage, lambda logs: None)
    return loop


def train(loop, branch, level):
    stage = loop.trial.branch_stage(branch.name, level)
    branch.train(loop, stage, lambda logs: None)
    return stage


def arrays(stage, name):
    return load_arrays(stage.folder / name)


def assert_same(got, want):
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_redense_starts_where_sparse_training_ended_with_all_masks_lifted(loop):
    stage = train(loop, branches.redense(loop.config, BranchConfig()), level=2)
    sparse = loop.trial.stage(2)
    start = arrays(stage, layout.START)
    assert_same(start, arrays(sparse, layout.END))
    masks = Masks.load(sparse.folder / layout.MASKS)
    assert not any(np.any(start[f"{name}/kernel"][~mask]) for name, mask in masks.items())
    end = arrays(stage, layout.END)
    assert all(np.any(end[f"{name}/kernel"][~mask]) for name, mask in masks.items())
    lifted = Masks.load(stage.folder / layout.MASKS)
    assert lifted.sparsity == 0
    assert stage.result()["sparse_sparsity"] == masks.sparsity


def test_redense_counts_epochs_on_at_the_last_rate_of_the_sparse_training(loop):
    stage = train(loop, branches.redense(loop.config, BranchConfig()), level=1)
    metrics = read_metrics(loop.trial.output_dir, stage.relative)
    assert metrics.epoch.tolist() == [3, 4]
    np.testing.assert_allclose(metrics.learning_rate, 0.01, rtol=1e-6)


def test_redense_options_are_part_of_the_branch(loop):
    options = BranchConfig(redense_lr=0.005, redense_epochs=1)
    branch = branches.redense(loop.config, options)
    stage = train(loop, branch, level=1)
    assert stage.name == "redense_lr0.005_ep1_level_01"
    metrics = read_metrics(loop.trial.output_dir, stage.relative)
    assert metrics.epoch.tolist() == [3]
    np.testing.assert_allclose(metrics.learning_rate, 0.005, rtol=1e-6)


def test_redense_needs_a_rate_of_its_own_after_a_cosine(tmp_path, trainer):
    changes = {"lr_decay": "cosine", "lr_drop_epochs": (), "output_dir": str(tmp_path)}
    loop = PruneRetrain(Trial(from_settings({**TINY, **changes}), 0), trainer, DATA)
    branches.check_redense(loop, (BranchConfig(redense_lr=0.01),))
    with pytest.raises(SettingError, match=r"redense_lr=0\.0: a rate above 0"):
        branches.check_redense(loop, (BranchConfig(),))


def test_redense_distance_is_from_where_the_sparse_training_started(loop):
    stage = train(loop, branches.redense(loop.config, BranchConfig()), level=2)
    initial = arrays(loop.trial.stage(0), layout.START)
    origin = under_masks(initial, Masks.load(loop.trial.stage(2).folder / layout.MASKS))
    end = arrays(stage, layout.END)
    expected = np.sqrt(sum(np.sum((end[n].astype(np.float64) - origin[n]) ** 2) for n in end))
    np.testing.assert_allclose(stage.result()["distance_from_init"], expected, rtol=1e-6)


def test_reinit_keeps_the_mask_and_draws_fresh_weights(loop):
    stage = train(loop, branches.reinit(loop.config), level=2)
    ticket = loop.trial.stage(2)
    masks = Masks.load(stage.folder / layout.MASKS)
    assert masks == Masks.load(ticket.folder / layout.MASKS)
    fresh, rewound = arrays(stage, layout.START), arrays(ticket, layout.START)
    for name, mask in masks.items():
        kernel = fresh[f"{name}/kernel"]
        assert not np.any(kernel[~mask])
        assert np.all(kernel[mask] != rewound[f"{name}/kernel"][mask])
    metrics = read_metrics(loop.trial.output_dir, stage.relative)
    np.testing.assert_allclose(metrics.learning_rate, [0.1, 0.01], rtol=1e-6)


@pytest.mark.parametrize(
    ("retrain", "epochs"),
    [("weight_rewind", [2, 3]), ("lr_rewind", [2, 3]), ("finetune", [1, 2, 3])],
)
def test_reinit_takes_the_steps_of_its_ticket(tmp_path, trainer, retrain, epochs):
    """3 steps an epoch: rewound to step 4, a ticket misses the first epoch and a step."""
    values = {"retrain": retrain, "rewind_to": "4it", "train_epochs": 3, "lr_drop_epochs": (2,)}
    config = from_settings({**TINY, "output_dir": str(tmp_path), **values}, experiment="test")
    loop = PruneRetrain(Trial(config, 0), trainer, DATA)
    for stage in loop.trial.stages():
        loop.run(stage, lambda logs: None)
    branch = branches.reinit(config)
    stage = train(loop, branch, level=2)
    ticket = loop.trial.stage(2)
    found, wanted = (read_metrics(loop.trial.output_dir, s.relative) for s in (stage, ticket))
    assert found.epoch.tolist() == wanted.epoch.tolist() == epochs
    rates = np.array([0.1, 0.1, 0.01])[np.array(epochs) - 1]
    np.testing.assert_allclose(found.learning_rate, rates, rtol=1e-6)
    plan = branches._reinit_plan(loop, stage)
    assert plan.start_step == (0 if retrain == "finetune" else 4)
    # The dense network is compared with one that is trained in full.
    assert branches._reinit_plan(loop, loop.trial.branch_stage("reinit", 0)).start_step == 0


def test_reinit_draws_other_weights_for_every_level_and_seed(loop, trainer):
    stages = [train(loop, branches.reinit(loop.config), level) for level in (0, 1)]
    first, second = (arrays(stage, layout.START)["logits/kernel"] for stage in stages)
    assert np.all(first != second)
    trunk = arrays(loop.trial.stage(0), layout.START)["logits/kernel"]
    assert np.all(first != trunk)


def test_redense_plans_are_keyed_by_seed_and_level_and_augmented(tmp_path, trainer):
    config = from_settings(
        {**TINY, "output_dir": str(tmp_path), "augment": "flip", "seeds": (5,)}, experiment="t"
    )
    loop = PruneRetrain(Trial(config, 5), trainer, DATA)
    for stage in loop.trial.stages():
        loop.run(stage, lambda logs: None)
    plan, _ = branches._redense_plan(loop, loop.trial.branch_stage("redense", 2), 0.0, 2)
    assert (plan.seed, plan.level, plan.augment) == (5, 2, "flip")
    reinit = branches._reinit_plan(loop, loop.trial.branch_stage("reinit", 2))
    assert (reinit.seed, reinit.level, reinit.augment) == (5, 2, "flip")


def test_redense_from_scratch_retraining_is_measured_from_that_levels_initialization(
    tmp_path, trainer
):
    config = from_settings(
        {**TINY, "output_dir": str(tmp_path), "retrain": "scratch"}, experiment="t"
    )
    loop = PruneRetrain(Trial(config, 0), trainer, DATA)
    for stage in loop.trial.stages():
        loop.run(stage, lambda logs: None)
    stage = train(loop, branches.redense(config, BranchConfig(redense_lr=1e-9)), level=1)
    sparse = loop.trial.stage(1).result()["distance_from_init"]
    np.testing.assert_allclose(stage.result()["distance_from_init"], sparse, rtol=1e-4)


def test_the_control_from_level_0_is_the_same_for_every_retraining(loop):
    """It lives beside the dense training, which knows of no fine-tuning."""
    tuned = PruneRetrain(
        Trial(
            from_settings(
                {**TINY, "output_dir": "x", "retrain": "finetune", "finetune_lr": 0.5},
                experiment="t",
            ),
            0,
        ),
        loop.trainer,
        DATA,
    )
    assert tuned.last_rate(0) == loop.last_rate(0)
    assert tuned.last_rate(1) == 0.5


def test_branches_of_level_0_are_shared_by_every_pruning(tmp_path):
    trials = [
        Trial(from_settings({"output_dir": str(tmp_path), "criterion": c}), 0)
        for c in ("magnitude", "random")
    ]
    relative = [[t.branch_stage("redense", n).relative for t in trials] for n in (0, 1)]
    assert relative[0][0] == relative[0][1]
    assert relative[1][0] != relative[1][1]


def test_a_level_the_trunk_does_not_have_is_refused():
    config = from_settings(TINY)
    with pytest.raises(SettingError, match=r"branch_levels=0,7: levels from 0 to 2"):
        BranchConfig(branch_levels="0,7").check_with(config)
    BranchConfig(branch_levels="0,2").check_with(config)
    with pytest.raises(SettingError, match="branch_levels=some"):
        BranchConfig(branch_levels="some")


@pytest.mark.parametrize("step", [0.0, 0.3, 1.5, -0.1])
def test_an_alpha_step_that_does_not_divide_1_is_refused(step):
    with pytest.raises(SettingError, match="alpha_step"):
        LandscapeConfig(alpha_step=step)


def test_no_directions_are_refused():
    with pytest.raises(SettingError, match="directions=0"):
        LandscapeConfig(directions=0)


class Curve:
    """A finished trunk with these accuracies."""

    def __init__(self, last, best):
        self.name = "curve"
        self.config = from_settings({"levels": len(last) - 1})
        self._rows = [
            {"test_accuracy_last": one, "test_accuracy_best": other}
            for one, other in zip(last, best, strict=True)
        ]

    def stages(self):
        return [Finished(row) for row in self._rows]

    def is_finished(self):
        return True


class Finished:
    is_done = True

    def __init__(self, row):
        self._row = row

    def result(self):
        return self._row


class Trained:
    """A study whose trunks are these."""

    def __init__(self, trials):
        self.all_trials = trials

    def is_finished(self, name):
        return True


def test_auto_levels_are_those_of_sdd_by_the_mean_over_seeds():
    last = [0.7, 0.68, 0.55, 0.75, 0.9, 0.8, 0.5]
    best = [0.9, 0.9, 0.91, 0.95, 0.92, 0.85, 0.55]
    seeds = [Curve(np.add(last, e), np.add(best, e)) for e in (-0.01, 0.01)]
    chosen = branches.levels(BranchConfig(), Trained(seeds))["curve"]
    assert {0, 2, 3, 4} <= set(chosen)  # Dense, overfitting, and the two sweet spots.


def test_where_there_is_no_dip_levels_are_evenly_spaced():
    flat = Curve([0.5] * 9, [0.6] * 9)
    assert branches.levels(BranchConfig(), Trained([flat]))["curve"] == [0, 2, 4, 6, 8]
    assert branches.levels(BranchConfig(branch_levels="all"), Trained([flat]))["curve"] == list(
        range(9)
    )
    assert branches.levels(BranchConfig(branch_levels="3,1"), Trained([flat]))["curve"] == [1, 3]


def test_a_study_trains_its_trunk_once_for_all_branches(tmp_path, executor):
    config = from_settings({**TINY, "output_dir": str(tmp_path), "seeds": (0, 1)}, experiment="e")
    first = StudyEngine([config], [], tell_nobody, executor=executor)
    first.train_trunks()
    assert first.trained == 6
    second = StudyEngine([config], [], tell_nobody, executor=executor)
    second.train_trunks()
    levels = branches.levels(BranchConfig(branch_levels="0,2"), second)
    options = BranchConfig()
    second.train_branches(lambda c: branches.redense(c, options), levels)
    second.train_branches(branches.reinit, levels)
    assert (second.trained, second.reused) == (8, 6)
    results = read_results(tmp_path)
    assert results.groupby("branch").size().to_dict() == {"": 6, "redense": 4, "reinit": 4}
    again = StudyEngine([config], [], tell_nobody, executor=executor)
    again.train_trunks()
    again.train_branches(branches.reinit, levels)
    assert (again.trained, again.reused) == (0, 10)


def test_measurements_with_other_options_do_not_mix_in_one_table(tmp_path, executor):
    config = from_settings({**TINY, "output_dir": str(tmp_path), "seeds": (0,)}, experiment="e")
    study = StudyEngine([config], [], tell_nobody, executor=executor)
    study.train_trunks()
    (trial,) = study.trials

    def measurement(width):
        def measure(loop, stage, table):
            table.write_text("x\n1\n")
            return {"sharpness": width * 10.0}

        return Measurement("line", {"width": width}, measure)

    study.measure(measurement(1), {trial: trial.stages()})
    study.measure(measurement(2), {trial: trial.stages()[:1]})
    sharpness = read_results(tmp_path).sort_values("level").sharpness
    assert sharpness.iloc[0] == 20.0
    assert sharpness.iloc[1:].isna().all()
    study.measure(measurement(1), {trial: trial.stages()})
    assert (read_results(tmp_path).sharpness == 10.0).all()


def test_a_sweep_shares_the_dense_training(tmp_path, executor):
    configs = [
        from_settings(
            {**TINY, "output_dir": str(tmp_path), "seeds": (0,), "criterion": criterion},
            experiment="e",
        )
        for criterion in ("magnitude", "random")
    ]
    study = StudyEngine(configs, [], tell_nobody, varying=("criterion",), executor=executor)
    study.train_trunks()
    assert study.trained == 5
    results = read_results(tmp_path)
    assert results.groupby("criterion")["level"].apply(list).to_dict() == {
        "magnitude": [0, 1, 2],
        "random": [0, 1, 2],
    }
    dense = results[results.level == 0]
    assert dense.stage.nunique() == 1
    assert dense.test_accuracy_last.nunique() == 1
