"""A study that is planned and not trained."""

import pytest

from tfprune.config import from_settings
from tfprune.engine.plan import PlannedTrial, plan
from tfprune.experiments import cli, redense
from tfprune.measures.descent import ROLES
from tfprune.studies.procedure import Branch


def runs(folder, **values):
    return [from_settings({"output_dir": folder, "levels": 3, **values}, experiment="test")]


def test_levels_of_all_seeds_are_planned_and_the_dense_network_they_share_once():
    found = plan(
        lambda folder: (
            [c for name in ("magnitude", "random") for c in runs(folder, criterion=name)],
            lambda study: None,
        )
    ).trainings
    seeds = len(runs("x")[0].seeds)
    assert len(found) == seeds * (1 + 2 * 3)
    assert {one.epochs for one in found} == {runs("x")[0].training.train_epochs}
    assert {one.branch for one in found} == {""}


def test_what_follows_the_trunks_is_planned_from_stages_that_are_taken_as_done():
    def further(study):
        (trial, *_) = study.trials
        assert trial.is_finished()
        branch = Branch("more", 7, lambda loop, stage, advance: pytest.fail("trained"))
        stages = [trial.branch_stage("more", level) for level in (0, 2, 2)]
        assert study.train({trial: (branch, stages)})[trial] == stages

    found = plan(lambda folder: (runs(folder), further)).trainings
    assert [(one.branch, one.epochs) for one in found[-2:]] == [("more", 7)] * 2


def test_a_curve_of_30_levels_has_every_role_that_sdd_samples():
    command = cli.parse(redense.EXPERIMENT, ["--preset=smoke", "--levels=30", "--seeds=0"])
    found = plan(lambda folder: (command.configs, lambda study: redense.further(command, study)))
    branches = [one for one in found.trainings if one.branch.startswith("redense")]
    assert len(branches) == len(ROLES)
    kinds = [one.measurement.name for one in found.measurements]
    # Line and surface are of the dense network too.
    minima = len(ROLES) + 1
    assert kinds == ["interpolation"] * len(ROLES) + ["line"] * minima + ["surface"] * minima
    assert len({one.file for one in found.measurements}) == len(kinds)


def test_a_shard_plans_its_own_trials():
    sharded = {"shard": "1/2", "seeds": (0, 1, 2)}
    found = plan(lambda folder: (runs(folder, **sharded), lambda study: None)).trainings
    assert {one.stage.split("/")[2] for one in found} == {"seed_1"}


def test_planning_leaves_nothing_in_the_output_folder_and_trains_nothing(tmp_path):
    trial = PlannedTrial(runs(str(tmp_path))[0], seed=0)
    assert trial.stage(2).is_done
    plan(lambda folder: (runs(folder), lambda study: None))
    assert list(tmp_path.iterdir()) == []
