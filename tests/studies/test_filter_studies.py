"""GST's procedures: filters pruned or disturbed in training, what came of it, and flatness."""

from __future__ import annotations

import dataclasses
import math
import shutil
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from networks import three_blocks_added
from synthetic import prepared_data, tell_nobody

from tfprune import layout
from tfprune.config import from_settings
from tfprune.engine.executors import InProcess
from tfprune.engine.study import StudyEngine
from tfprune.engine.workshop import Workshop
from tfprune.errors import SettingError
from tfprune.files import load_arrays
from tfprune.measures.curvature import flatness as measure_flatness
from tfprune.measures.evaluation import splits_of
from tfprune.pruning.filter_selection import kept_filters
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import get_masks, strip
from tfprune.pruning.shrink import flops, shrink
from tfprune.pruning.weights import read_weights
from tfprune.store import read_metrics, read_results
from tfprune.studies import filter_trainings as filters
from tfprune.studies.flatness import flatness
from tfprune.studies.iterative import PruneRetrain
from tfprune.studies.settings import FilterConfig, FlatnessConfig, NoiseConfig
from tfprune.studies.trial import Stage, Trial
from tfprune.training import runtime
from tfprune.training.evaluating import evaluate
from tfprune.training.trainer import Trainer

DATA = prepared_data(examples=40, test_examples=20)  # 3 steps an epoch.
TINY = {
    "model": "vanilla_cnn_bn",
    "width": 0.25,  # 4, 4, 4, 8, 8, 16, 16 filters.
    "prunable": "conv",
    "criterion": "filter_l2",
    "train_epochs": 5,
    "batch_size": 16,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "lr_drop_epochs": (4,),
    "levels": 0,
    "seeds": (0,),
    "checkpoint_seconds": 1000.0,
}
RESIDUAL = {"model": "three_blocks", "cut_shortcuts": True, "train_epochs": 3, "optimizer": "sgd"}
# conv6 after epochs 2 and 4, conv7 after 3 and 5, at the periods of 2 that most tests take.
OPTIONS = FilterConfig(
    prune_layers="last2", prune_fractions=(0.3, 0.6), prune_starts=(1, 2), prune_ends=(3, 4)
)
EARLIER = dataclasses.replace(OPTIONS, prune_starts=(1,), prune_ends=(3,))


class PowerCut(Exception):
    pass


def new_trainer(config):
    runtime.configure(config)  # As every run does: deterministic kernels round differently.
    return Trainer(config, DATA.input_shape, DATA.num_classes)


@pytest.fixture(scope="module")
def trainers():
    """One for each network, which most tests share: it is compiled once."""
    return {}


@pytest.fixture(scope="module")
def others():
    """As of another process, which has not trained what the first one has."""
    return {}


def loop_of(folder, trainers, **values):
    config = from_settings({**TINY, "output_dir": str(folder), **values}, experiment="test")
    return loop_in(trainers, Trial(config, 0))


def loop_in(trainers, trial):
    if trial.config.model not in trainers:
        trainers[trial.config.model] = new_trainer(trial.config)
    return PruneRetrain(trial, trainers[trial.config.model], DATA)


def dense(folder, trainers, **values):
    loop = loop_of(folder, trainers, **values)
    loop.run(loop.trial.stage(0), lambda logs: None)
    return loop


def train(loop, branch, advance=lambda logs: None):
    stage = filters._stage(loop.trial, branch)
    branch.train(loop, stage, advance)
    return stage


def pruned(loop, text, options=OPTIONS):
    return filters.pruned(loop.config, filters.Pruning.parse(text), options)


def noisy(loop, text, settings, options=EARLIER):
    return filters.noisy(loop.config, filters.Noise.parse(text), options, settings)


def end(stage):
    return load_arrays(stage.folder / layout.END)


def masks_of(stage):
    return Masks.load(stage.folder / layout.MASKS)


def metrics(loop, stage):
    return read_metrics(loop.trial.output_dir, stage.relative)


def events(stage):
    return pd.read_csv(stage.folder / layout.EVENTS)


def without_clock(table):
    return table.drop(columns="wall_seconds")


def assert_same(got, want):
    assert got.keys() == want.keys()
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def kept_by_the_formula(count, fraction, done, of):
    """ceil(K + (F - K) (N - i) / N) with K = ceil((1 - fraction) F), in exact arithmetic."""
    final = math.ceil((1 - Fraction(str(fraction))) * count)
    return math.ceil(final + Fraction((count - final) * (of - done), of))


@pytest.fixture(scope="module")
def trunk(tmp_path_factory, trainers):
    return dense(tmp_path_factory.mktemp("trunk"), trainers, snapshot_every=1)


@dataclasses.dataclass
class Watched:
    """A stage, with the filters and the weights that were left after each epoch."""

    stage: Stage
    kept: list
    weights: list


@pytest.fixture(scope="module")
def watched(trunk):
    seen = Watched(None, [], [])

    def watch(logs):
        kept = kept_filters(get_masks(trunk.trainer.model))
        seen.kept.append({name: int(flags.sum()) for name, flags in kept.items()})
        seen.weights.append(read_weights(trunk.trainer.model))

    seen.stage = train(trunk, pruned(trunk, "largest:2"), watch)
    return seen


@pytest.fixture(scope="module")
def ends(trunk, watched):
    """What `outcome` says of the watched training: columns and the table of its layers."""
    return measured(filters.outcome(), trunk, watched.stage)


def measured(measurement, loop, stage):
    table = measurement.table(stage)
    return measurement.measure(loop, stage, table), pd.read_csv(table)


def test_kept_filters_follow_the_formula_after_every_event_and_events_csv_says_so(watched):
    done = {"conv6": [0, 1, 1, 2, 2], "conv7": [0, 0, 1, 1, 2]}
    expected = {
        name: [kept_by_the_formula(16, fraction, i, 2) for i in counts]
        for (name, counts), fraction in zip(done.items(), (0.3, 0.6), strict=True)
    }
    assert expected == {"conv6": [16, 14, 14, 12, 12], "conv7": [16, 16, 12, 12, 7]}
    for name, counts in watched.kept[0].items():
        want = expected.get(name, [counts] * 5)
        assert [kept[name] for kept in watched.kept] == want, name
    table = events(watched.stage)
    assert table.epoch.tolist() == [2, 3, 4, 5]
    assert table.layers.tolist() == ["conv6", "conv7"] * 2
    assert table.filters_removed.tolist() == [2, 4, 2, 5]
    assert table.filters_kept.tolist() == [30, 26, 24, 19]


def test_before_its_first_event_a_pruned_training_is_the_trunks_bit_for_bit(trunk, watched):
    ((_, first),) = trunk.snapshots.at([1])
    assert_same(watched.weights[0], first)
    ours, theirs = (metrics(trunk, s) for s in (watched.stage, trunk.trial.stage(0)))
    pd.testing.assert_frame_equal(without_clock(ours)[:1], without_clock(theirs)[:1])
    # The first event is after the second epoch's training.
    before = events(watched.stage).accuracy_before[0]
    assert before == theirs.test_accuracy[1]
    ((_, second),) = trunk.snapshots.at([2])
    gone = ~masks_of(watched.stage)["conv6"].any((0, 1, 2))
    changed = {name for name, value in second.items() if np.any(watched.weights[1][name] != value)}
    assert changed == {"conv6/kernel", "conv6_bn/gamma", "conv6_bn/beta"}
    assert gone.sum() == 4


def test_the_rows_of_epochs_with_events_are_of_the_network_after_them(trunk, watched):
    table, rows = events(watched.stage), metrics(trunk, watched.stage)
    assert np.any(table.accuracy_before != table.accuracy_after)
    at = rows.set_index("epoch").test_accuracy[table.epoch]
    assert at.tolist() == table.accuracy_after.tolist()
    # And so are the losses: those of the weights that go on.
    last = evaluate(trunk.trainer, trunk.data, end(watched.stage), masks_of(watched.stage))
    for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
        assert rows[name].iloc[-1] == pytest.approx(last[name], rel=1e-6), name


def test_stability_is_the_mean_over_events_of_what_is_left_of_the_accuracy(watched):
    table, result = events(watched.stage), watched.stage.result()
    left = table.accuracy_after / table.accuracy_before
    np.testing.assert_allclose(table.stability, left, rtol=1e-12)
    assert result["stability"] == pytest.approx(left.mean(), rel=1e-12)
    assert result["instability"] == pytest.approx(1 - left.mean(), abs=1e-12)
    assert (result["pruned_epochs"], result["last_pruning_epoch"]) == (4, 5)
    assert (result["target"], result["period"]) == ("largest", 2)
    assert (result["total_fraction"], result["iterative_rate"]) == (0.6, 0.3)


def test_masks_and_weights_at_the_end_are_of_the_pruned_network(trunk, watched):
    masks, weights, result = masks_of(watched.stage), end(watched.stage), watched.stage.result()
    assert {n: int(k.sum()) for n, k in kept_filters(masks).items()} == watched.kept[-1]
    trunk.trainer.load(weights, masks)
    model = strip(trunk.trainer.model)
    images = np.random.default_rng(0).normal(size=(8, *DATA.input_shape)).astype(np.float32)
    for name in ("conv6", "conv7"):
        gone = ~masks[name].any((0, 1, 2))
        channels = type(model)(model.input, model.get_layer(f"{name}_bn").output)(images).numpy()
        assert not channels[..., gone].any()
        assert channels[..., ~gone].any((0, 1, 2)).all()
    assert result["sparsity"] == masks.sparsity == pytest.approx(1 - masks.remaining / masks.total)
    # The largest by l2 norm went first: conv6's two after epoch 2.
    ((_, before),) = trunk.snapshots.at([2])
    norms = np.linalg.norm(before["conv6/kernel"].reshape(-1, 16).astype(np.float64), axis=0)
    assert set(np.argsort(norms)[-2:]) <= set(np.flatnonzero(~masks["conv6"].any((0, 1, 2))))


def test_the_shrunk_network_is_the_same_function_with_the_flops_of_the_columns(
    trunk, watched, ends
):
    columns, table = ends
    trunk.trainer.load(end(watched.stage), masks_of(watched.stage))
    model = strip(trunk.trainer.model)
    small = shrink(model)
    images = np.random.default_rng(0).normal(size=(8, *DATA.input_shape)).astype(np.float32)
    np.testing.assert_allclose(small(images), model(images), rtol=0, atol=1e-5)
    whole, left = (4, 4, 4, 8, 8, 16, 16), (4, 4, 4, 8, 8, 12, 7)
    assert table.filters.tolist() == list(whole)
    assert table.kept.tolist() == list(left)
    assert columns["flops"] == flops(model) == flops_by_hand(whole)
    assert columns["flops_shrunk"] == flops(small) == flops_by_hand(left)
    assert columns["parameters"] == parameters_by_hand(whole)
    assert columns["parameters_shrunk"] == parameters_by_hand(left)
    result = watched.stage.result()
    assert result["filters_remaining"] == sum(left) / sum(whole)
    assert result["live_weights"] == kernel_weights_by_hand(left)
    assert result["live_weights_remaining"] == result["live_weights"] / kernel_weights_by_hand(
        whole
    )
    # What the masks count as left: also what reads dead channels, and without the dense kernel.
    assert result["weights_remaining"] > result["live_weights_remaining"]


def flops_by_hand(counts):
    """3x3 kernels on sides of 4, 2 and 1, then one dense layer; two for each multiply-add."""
    sides = (4, 4, 4, 2, 2, 1, 1)
    kernels = zip((1, *counts), counts, sides, strict=False)
    return 2 * (sum(9 * a * b * side**2 for a, b, side in kernels) + counts[-1] * 3)


def parameters_by_hand(counts):
    """Kernels, four of batch norm to a filter, and the dense layer's bias."""
    return kernel_weights_by_hand(counts) + 4 * sum(counts) + 3


def kernel_weights_by_hand(counts):
    """Of the convolutions, and of the dense layer."""
    return sum(9 * a * b for a, b in zip((1, *counts), counts, strict=False)) + 3 * counts[-1]


def test_accuracy_once_stable_is_the_best_at_or_after_the_last_event(tmp_path):
    stage = Stage(tmp_path, "trial", 0, "filters_largest_p2-0", 0, "filters_largest_p2")
    stage.folder.mkdir(parents=True)
    accuracies = {"test_accuracy": [0.9, 0.5, 0.6, 0.7, 0.7], "train_accuracy": [1, 1, 1, 0.8, 1]}
    accuracies["running_train_accuracy"] = [0.5, 0.6, 0.7, 0.75, 0.9]
    running = {0: 0.5, 3: 0.75, 5: 0.9}
    rows = pd.DataFrame({"epoch": [1, 2, 3, 4, 5], **accuracies}, columns=layout.METRIC_COLUMNS)
    rows.to_csv(stage.folder / layout.METRICS, index=False)
    expected = {0: (0.9, 1.0), 3: (0.7, 0.8), 5: (0.7, 1.0)}
    for last, (best, fitted) in expected.items():
        event = "layers,filters_removed,filters_kept,accuracy_before,accuracy_after"
        text = f"epoch,{event},instability,stability\n{last},conv7,1,15,0.9,0.5,0.4,0.6\n"
        (stage.folder / layout.EVENTS).write_text(text)
        found = filters._stable(stage)
        assert (found["stable_accuracy_best"], found["train_accuracy_at_best"]) == (best, fitted)
        assert found["generalization_gap"] == pytest.approx(fitted - best)
        assert found["running_generalization_gap"] == pytest.approx(running[last] - best)
    (stage.folder / layout.EVENTS).unlink()  # As of a network that is not pruned.
    assert filters._stable(stage)["stable_accuracy_best"] == 0.9


def test_the_dense_network_has_all_of_its_filters(trunk):
    columns, table = measured(filters.outcome(), trunk, trunk.trial.stage(0))
    assert table.kept.tolist() == table.filters.tolist()
    assert columns["flops_shrunk"] == columns["flops"]
    best = metrics(trunk, trunk.trial.stage(0)).test_accuracy.max()
    assert columns["stable_accuracy_best"] == best


def test_scratch_trains_without_its_filters_from_the_outset_and_has_no_instability(trunk):
    seen = []
    branch = pruned(trunk, "scratch:smallest")
    stage = train(trunk, branch, lambda logs: seen.append(get_masks(trunk.trainer.model)))
    masks, initial = masks_of(stage), load_arrays(trunk.trial.stage(0).folder / layout.START)
    assert len(seen) == 5
    assert all(mask == masks for mask in seen)
    for name, kept in (("conv6", 12), ("conv7", 7)):
        norms = np.linalg.norm(initial[f"{name}/kernel"].reshape(-1, 16), axis=0)
        left = np.sort(np.argsort(norms)[16 - kept :])
        np.testing.assert_array_equal(np.flatnonzero(masks[name].any((0, 1, 2))), left)
    result, table = stage.result(), events(stage)
    assert table.epoch.tolist() == [0]
    assert table.filters_kept.tolist() == [19]
    assert (result["stability"], result["instability"], result["pruned_epochs"]) == (1, 0, 0)
    assert result["last_pruning_epoch"] is None
    assert result["period"] is None
    columns, _ = measured(filters.outcome(), trunk, stage)
    assert columns["stable_accuracy_best"] == metrics(trunk, stage).test_accuracy.max()


def test_a_pruning_of_its_own_fraction_prunes_every_layer_by_it(trunk):
    stage = train(trunk, pruned(trunk, "random:2:0.25"))
    kept = kept_filters(masks_of(stage))
    assert [int(kept[name].sum()) for name in ("conv6", "conv7")] == [12, 12]
    assert stage.result()["total_fraction"] == 0.25
    assert stage.branch == "filters_random_p2_f0.25"


@pytest.mark.parametrize("text", ["largest:2:0.25/0.75", "scratch:largest:0.25/0.75"])
def test_a_pruning_of_its_own_fractions_prunes_each_layer_by_its_own(trunk, text):
    stage = train(trunk, pruned(trunk, text))
    kept = kept_filters(masks_of(stage))
    assert [int(kept[name].sum()) for name in ("conv6", "conv7")] == [12, 4]
    assert stage.branch.endswith("_f0.25-0.75")
    assert stage.result()["layer_fractions"] == "0.25,0.75"
    assert stage.result()["prune_fractions"] == "0.3,0.6"


def test_fractions_of_another_number_of_layers_are_refused(trunk):
    options = dataclasses.replace(OPTIONS, prunings=("smallest:2:0.1/0.2/0.3",))
    with pytest.raises(SettingError, match=r"prunings=smallest:2:0.1/0.2/0.3: .*, or 2"):
        filters.check_layers(trunk, (options,))


@pytest.fixture(scope="module")
def plain(tmp_path_factory, trainers):
    """A dense training without snapshots."""
    return dense(tmp_path_factory.mktemp("plain"), trainers)


def interrupted(folder, trained, others, branch_of, after):
    """Trains until the epoch `after` is over, then on in a new loop with another trainer.

    It begins with the dense training of the loop `trained`, which is copied.
    """
    config = dataclasses.replace(trained.config, output_dir=str(folder), checkpoint_seconds=0.0)
    loop = PruneRetrain(Trial(config, 0), trained.trainer, DATA)
    first = loop.trial.stage(0).folder
    shutil.copytree(trained.trial.stage(0).folder, first)
    epochs = []

    def cut(logs):
        epochs.append(logs)
        # The checkpoint of the epoch is saved before anyone is told of it.
        if len(epochs) == after:
            raise PowerCut

    branch = branch_of(loop)
    with pytest.raises(PowerCut):
        train(loop, branch, cut)
    stage = filters._stage(loop.trial, branch)
    saved = [load_arrays(p) for p in stage.folder.glob("checkpoint-*.npz")]
    assert max(int(arrays["epoch"]) for arrays in saved) == after
    # The events come from the checkpoint, as the rest: this file may have been lost or damaged.
    (stage.folder / layout.EVENTS).write_text("garbage")
    fresh = loop_in(others, loop.trial)
    rest = []
    train(fresh, branch_of(fresh), rest.append)
    assert rest.pop(0)[layout.EPOCHS_BEFORE] == after
    assert len(rest) == loop.config.training.train_epochs - after
    return stage, max(saved, key=lambda arrays: int(arrays["epoch"]))


def assert_ends_alike(stage, whole):
    assert_same(end(stage), end(whole))
    assert masks_of(stage) == masks_of(whole)
    pd.testing.assert_frame_equal(events(stage), events(whole))
    tables = [pd.read_csv(s.folder / layout.METRICS) for s in (stage, whole)]
    pd.testing.assert_frame_equal(*map(without_clock, tables))
    results = [{**s.result(), "wall_seconds": 0, "events": ""} for s in (stage, whole)]
    assert results[0] == results[1]


def test_an_interrupted_pruning_ends_bit_for_bit_where_an_uninterrupted_one_does(
    tmp_path, plain, others
):
    """The events are after epochs 2, 3, 4 and 5; the interruption is after epoch 3."""
    text = "random:2"
    stage, _ = interrupted(tmp_path, plain, others, lambda loop: pruned(loop, text), after=3)
    whole = train(plain, pruned(plain, text))
    assert events(whole).epoch.tolist() == [2, 3, 4, 5]
    assert_ends_alike(stage, whole)


NOISE = NoiseConfig(noise_target="largest", noise_period=2)


@pytest.mark.parametrize(
    "text",
    [
        "restoring:4:cumulative",
        "gaussian:4",
        # What restoring does, but for what it puts back.
        pytest.param("zeroing:4", marks=pytest.mark.slow),
    ],
)
def test_noise_that_is_on_across_an_interruption_goes_on_as_if_there_was_none(
    tmp_path, plain, others, text
):
    """Events after epochs 2 and 4; the noise is for all of epoch 3 and a batch of epoch 4."""

    def branch_of(loop):
        return noisy(loop, text, NOISE)

    stage, saved = interrupted(tmp_path, plain, others, branch_of, after=3)
    assert saved["state/conv7/remaining"] == 1
    # One at the event, two for batches, three for evaluations: after it, and two of epoch 3.
    assert saved["state/conv7/draws"] == (6 if "gaussian" in text else 0)
    held = not saved["model/conv7/kernel"][..., saved["state/conv7/active"]].any()
    assert held == ("gaussian" not in text)
    assert saved["state/conv7/targeted"].sum() == 4
    whole = train(plain, noisy(plain, text, NOISE))
    assert events(whole).epoch.tolist() == [2, 4]
    assert_ends_alike(stage, whole)
    assert np.any(end(whole)["conv7/kernel"] != end(plain.trial.stage(0))["conv7/kernel"])


def test_noise_targets_what_would_be_pruned_and_prunes_nothing(trunk):
    first = train(trunk, pruned(trunk, "largest:2", EARLIER))
    stages = [train(trunk, noisy(trunk, text, NOISE)) for text in ("zeroing:3", "gaussian:3")]
    for stage in stages:
        assert masks_of(stage) == trunk.trainer.dense_masks
        mine, theirs = events(stage), events(first)
        assert mine.accuracy_before[0] == theirs.accuracy_before[0]
        for name in ("epoch", "layers", "filters_removed", "filters_kept"):
            assert mine[name].tolist() == theirs[name].tolist()
    zeroing, gaussian = (stage.result() for stage in stages)
    assert (zeroing["noise"], zeroing["noise_batches"], zeroing["cumulative"]) == ("zeroing", 3, 0)
    assert gaussian["sparsity"] == 0
    left = events(stages[0]).accuracy_after / events(stages[0]).accuracy_before
    assert zeroing["stability"] == pytest.approx(left.mean(), rel=1e-12)
    assert len({stage.name for stage in stages}) == 2


def test_a_training_without_noise_after_one_with_it_is_as_in_a_new_trainer(
    trunk, trainers, tmp_path
):
    """The trunk's was the first that its trainer trained; the noise is still on at its end."""
    train(trunk, noisy(trunk, "gaussian:100", NOISE))
    again = dense(tmp_path, trainers)
    assert again.trainer is trunk.trainer
    assert_same(end(again.trial.stage(0)), end(trunk.trial.stage(0)))


@pytest.fixture
def residual():
    """The network with shortcuts, by its name."""
    with three_blocks_added():
        yield RESIDUAL


def test_with_gates_shortcuts_into_pruned_channels_are_cut_and_interruptions_leave_no_trace(
    tmp_path, trainers, residual
):
    options = FilterConfig(
        prune_layers="last2", prune_fractions=(0.5,), prune_starts=(0,), prune_ends=(1,)
    )
    loop = dense(tmp_path / "whole", trainers, **residual)
    whole = train(loop, pruned(loop, "largest:1", options))

    def branch_of(loop):
        """Something else is trained on the way, with all gates open."""
        loop.run(loop.trial.stage(0), lambda logs: None)
        return pruned(loop, "largest:1", options)

    stage, _ = interrupted(tmp_path, loop, trainers, branch_of, after=1)
    assert_ends_alike(stage, whole)
    layers = events(whole).layers[0].split()
    assert events(whole).epoch.tolist() == [1, 2]
    masks, weights = masks_of(whole), end(whole)
    gates = [name for name in weights if name.endswith("_gate/depthwise_kernel")]
    closed = [name for name in gates if not weights[name].all()]
    assert len(closed) == 1  # That of the last block: the others end in layers that are whole.
    gone = ~masks[layers[-1]].any((0, 1, 2))
    np.testing.assert_array_equal(weights[closed[0]].ravel() == 0, gone)
    assert 2 * gone.sum() == len(gone)
    loop.trainer.load(weights, masks)
    model = strip(loop.trainer.model)
    images = np.random.default_rng(0).normal(size=(4, *DATA.input_shape)).astype(np.float32)
    add = model.get_layer(closed[0].split("_gate")[0])
    channels = type(model)(model.input, add.output)(images).numpy()
    assert not channels[..., gone].any()
    assert channels[..., ~gone].any((0, 1, 2)).all()
    columns, _ = measured(filters.outcome(), loop, whole)
    np.testing.assert_allclose(shrink(model)(images), model(images), rtol=0, atol=1e-5)
    assert columns["flops_shrunk"] == flops(shrink(model)) < columns["flops"]


def test_layers_are_all_the_last_ones_or_named(trunk):
    every = [f"conv{n}" for n in range(1, 8)]
    assert filters.prunable_layers(trunk, "all") == every
    assert filters.prunable_layers(trunk, "last3") == every[-3:]
    assert filters.prunable_layers(trunk, "conv2,conv5") == ["conv2", "conv5"]
    for wrong in ("last0", "last8", "conv2,conv9", "logits"):
        with pytest.raises(SettingError, match=f"prune_layers={wrong}: .*last1 to last7"):
            filters.prunable_layers(trunk, wrong)


def test_as_many_schedules_as_layers_or_one_for_all(trunk):
    one = FilterConfig(prune_layers="last3", prune_fractions=(0.5,))
    assert [s.fraction for s in filters._schedules(trunk, one, 4)] == [0.5] * 3
    wrong = dataclasses.replace(OPTIONS, prune_layers="last3")
    with pytest.raises(SettingError, match=r"prune_fractions=0.3,0.6: .* 3, one for each"):
        filters._schedules(trunk, wrong, 4)
    # And before anything is trained.
    filters.check_layers(trunk, (OPTIONS,))
    with pytest.raises(SettingError, match=r"prune_fractions=0.3,0.6: .* 3, one for each"):
        filters.check_layers(trunk, (wrong,))


class SharedWorkshop(Workshop):
    """Takes the trainers of this file's tests, and their data."""

    def __init__(self, trainers):
        super().__init__([], tell_nobody)
        self._all = trainers

    def _build(self, trial):
        return loop_in(self._all, trial)


def test_rows_of_other_options_stay_apart_and_come_back_with_them(tmp_path, trainers):
    config = from_settings({**TINY, "output_dir": str(tmp_path)}, experiment="test")
    both = FilterConfig(
        prunings=("smallest:1", "scratch:largest"),
        prune_layers="last1",
        prune_fractions=(0.5,),
        prune_starts=(0,),
        prune_ends=(0,),
    )
    other = dataclasses.replace(both, prunings=("smallest:1",), prune_fractions=(0.25,))

    def run(options):
        executor = InProcess(SharedWorkshop(trainers))
        study = StudyEngine([config], [], tell_nobody, executor=executor)
        study.train_trunks()
        stages = filters.train_pruned(study, options)
        study.measure(filters.outcome(), stages)
        table = read_results(tmp_path).set_index("branch")
        (found,) = stages.values()
        return study.trained, found, table.sort_index()

    trained, stages, first = run(both)
    assert trained == 3
    assert [stage.branch for stage in stages] == ["", "filters_smallest_p1", "scratch_largest"]
    assert first.stability.notna().to_dict() == {
        "": False, "filters_smallest_p1": True, "scratch_largest": True
    }  # fmt: skip
    trained, _, second = run(other)
    assert trained == 1
    assert second.loc["filters_smallest_p1", "total_fraction"] == 0.25
    # What these options do not train is not overwritten, and says its settings.
    fractions = {"filters_smallest_p1": "0.25", "scratch_largest": "0.5"}
    for branch, fraction in fractions.items():
        assert str(second.loc[branch, "prune_fractions"]) == fraction
    every = read_results(tmp_path, every_variant=True)
    pairs = every.loc[every["branch"] == "filters_smallest_p1", ["prune_fractions", "stability"]]
    assert sorted(pairs["prune_fractions"].astype(str)) == ["0.25", "0.5"]
    assert first.loc["filters_smallest_p1", "stability"] in pairs["stability"].tolist()
    trained, _, again = run(both)
    assert trained == 0
    pd.testing.assert_frame_equal(again[first.columns], first)


FLAT = FlatnessConfig(flatness_examples=12, eigenvalues=3, trace_probes=4, perturbed_eigenvectors=2)


@pytest.mark.parametrize(("unpruned_only", "asked", "count"), [(True, 12, 12), (False, 512, 20)])
def test_flatness_is_that_of_the_function_on_the_network_at_the_end(
    trunk, watched, unpruned_only, asked, count
):
    options = dataclasses.replace(FLAT, unpruned_only=unpruned_only, flatness_examples=asked)
    measurement = flatness(options)
    columns, table = measured(measurement, trunk, watched.stage)
    assert_same(read_weights(trunk.trainer.model), end(watched.stage))
    assert get_masks(trunk.trainer.model) == masks_of(watched.stage)
    test = splits_of(DATA)["test"]
    some = dataclasses.replace(test, images=test.images[:count], labels=test.labels[:count])
    masks = masks_of(watched.stage) if unpruned_only else {}  # Nothing is left out.
    expected = measure_flatness(trunk.trainer.model, some, test, masks, 3, 4, 2, seed=0)
    parameters = sum(v.numpy().size for v in trunk.trainer.model.trainable_variables)
    assert (expected.eigenpairs.vectors.shape[1] < parameters) == unpruned_only
    assert columns == {
        "hessian_trace_top": expected.eigenpairs.trace,
        "hessian_trace": expected.hessian_trace.value,
        "hessian_trace_error": expected.hessian_trace.standard_error,
        "gradient_covariance_trace": expected.gradient_covariance_trace,
        "tic_proxy": expected.tic_proxy,
        "tic_proxy_hutchinson": expected.tic_proxy_hutchinson,
        "epsilon": pytest.approx(expected.epsilon, nan_ok=True),
        "top_eigenvalue": expected.eigenpairs.values[0],
        "flatness_examples": count,
        "perturbations": columns["perturbations"],
    }
    np.testing.assert_allclose(table.eigenvalue, expected.eigenpairs.values, rtol=1e-12)
    rises = pd.read_csv(watched.stage.output_dir / columns["perturbations"])
    np.testing.assert_allclose(
        rises.test_loss_rise, expected.perturbations.rises.ravel(), rtol=1e-12
    )
    assert rises.direction.value_counts().tolist() == [81, 81]
    recorded = measurement.table(watched.stage).name.replace("flatness", "examples")
    assert pd.read_csv(watched.stage.folder / recorded).test_index.tolist() == list(range(count))


def test_of_a_test_split_sorted_by_class_the_examples_of_derivatives_are_drawn(trunk):
    """A folder's are: its first ones are of one class."""
    order = np.argsort(DATA.test_labels, kind="stable")
    data = dataclasses.replace(
        DATA, test_images=DATA.test_images[order], test_labels=DATA.test_labels[order]
    )
    loop = PruneRetrain(trunk.trial, trunk.trainer, data)
    measurement, stage = flatness(FLAT), trunk.trial.stage(0)
    measured(measurement, loop, stage)
    recorded = measurement.table(stage).name.replace("flatness", "examples")
    rows = pd.read_csv(stage.folder / recorded).test_index
    assert len(set(rows)) == 12
    assert set(data.test_labels[rows]) == {0, 1, 2} != set(data.test_labels[:12])


def test_stages_share_the_programs_of_curvature_of_their_network(trunk, watched):
    measurement = flatness(FLAT)
    measured(measurement, trunk, watched.stage)
    curvature = trunk.trainer.once("curvature", lambda: None)
    before = curvature.traces
    measured(measurement, trunk, trunk.trial.stage(0))
    assert curvature.traces == before
