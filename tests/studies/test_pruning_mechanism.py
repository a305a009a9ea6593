"""PM's procedures: channel pruning, small networks, weights on the way, utility and planes."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic import prepared_data

from tfprune import layout
from tfprune.config import from_settings, replace
from tfprune.errors import InputError, SettingError
from tfprune.files import load_arrays
from tfprune.measures.ablation import Ablations, utility
from tfprune.measures.evaluation import splits_of
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import set_masks
from tfprune.pruning.shrink import shrink
from tfprune.pruning.weights import write_weights
from tfprune.store import read_metrics
from tfprune.studies import small, surfaces
from tfprune.studies import utility as utilities
from tfprune.studies.iterative import PruneRetrain
from tfprune.studies.partial_tables import PartialTable
from tfprune.studies.settings import SurfaceConfig, UtilityConfig
from tfprune.studies.trial import Trial
from tfprune.training.trainer import Trainer

DATA = prepared_data(examples=40, test_examples=20)
TINY = {
    "model": "vanilla_cnn_bn",
    "width": 0.25,
    "prunable": "conv",
    "train_epochs": 3,
    "batch_size": 16,
    "levels": 2,
    "prune_fraction": 0.3,
    "learning_rate": 0.1,
    "lr_drop_epochs": (2,),
    "momentum": 0.9,
    "retrain": "lr_rewind",
    "seeds": (0,),
    "snapshot_every": 1,
}
CHANNELS = {"criterion": "filter_gamma", "batch_norm_gamma": "uniform"}
UTILITY = UtilityConfig(ablation_ratios=(0.1, 0.25), ablation_subsets=3, ablation_examples=30)


@pytest.fixture(scope="module")
def trainers():
    """One for weights and one for channels; they differ in the masks they hold."""
    configs = {False: from_settings(TINY), True: from_settings({**TINY, **CHANNELS})}
    return {key: Trainer(c, DATA.input_shape, DATA.num_classes) for key, c in configs.items()}


def loop_of(folder, trainers, seed=0, **values):
    config = from_settings({**TINY, "output_dir": str(folder), **values}, experiment="test")
    trainer = trainers[config.pruning.prunes_filters]
    trainer._model_config = config.model
    return PruneRetrain(Trial(config, seed), trainer, DATA)


def trained(folder, trainers, **values):
    loop = loop_of(folder, trainers, **values)
    for stage in loop.trial.stages():
        loop.run(stage, lambda logs: None)
    return loop


@pytest.fixture(scope="module")
def weights_loop(tmp_path_factory, trainers):
    return trained(tmp_path_factory.mktemp("weights"), trainers)


@pytest.fixture(scope="module")
def channels_loop(tmp_path_factory, trainers):
    return trained(tmp_path_factory.mktemp("channels"), trainers, **CHANNELS)


def arrays(loop, level, name=layout.END):
    return load_arrays(loop.trial.stage(level).folder / name)


def masks_of(stage):
    return Masks.load(stage.folder / layout.MASKS)


def rates(loop, stage):
    metrics = read_metrics(loop.trial.output_dir, stage.relative)
    return metrics.learning_rate.round(6).tolist()


def test_channel_pruning_takes_the_globally_smallest_scales(channels_loop):
    for level in (1, 2):
        before, masks = arrays(channels_loop, level - 1), masks_of(channels_loop.trial.stage(level))
        earlier = masks_of(channels_loop.trial.stage(level - 1))
        scales, kept, left = [], [], []
        for name, mask in masks.items():
            scales += np.abs(before[f"{name}_bn/gamma"]).tolist()
            kept += mask.reshape(-1, mask.shape[-1]).any(axis=0).tolist()
            left += earlier[name].reshape(-1, mask.shape[-1]).any(axis=0).tolist()
            # A filter goes as a whole.
            assert mask.reshape(-1, mask.shape[-1]).any(0).tolist() == mask.all((0, 1, 2)).tolist()
        scales, kept, left = map(np.array, (scales, kept, left))
        assert (left & ~kept).sum() == np.ceil(0.3 * left.sum())
        assert scales[left & ~kept].max() <= scales[kept].min()


def test_pruned_channels_stay_dead_through_retraining(channels_loop):
    masks, end = masks_of(channels_loop.trial.stage(2)), arrays(channels_loop, 2)
    dead = {name: ~mask.any((0, 1, 2)) for name, mask in masks.items()}
    assert sum(gone.sum() for gone in dead.values()) > 0
    for name, gone in dead.items():
        assert not end[f"{name}/kernel"][..., gone].any()
        assert not end[f"{name}_bn/gamma"][gone].any()
        assert not end[f"{name}_bn/beta"][gone].any()
        assert end[f"{name}_bn/beta"][~gone].all()


def test_more_levels_than_there_are_filters_are_refused(tmp_path, trainers):
    loop = loop_of(tmp_path, trainers, **CHANNELS, prune_fraction=0.9, levels=5)
    with pytest.raises(SettingError, match="levels=5"):
        loop.check()


def test_channels_without_batch_norm_are_refused_before_anything_is_trained(tmp_path):
    config = from_settings(
        {**TINY, "model": "vanilla_cnn", "criterion": "filter_gamma", "output_dir": str(tmp_path)}
    )
    trainer = Trainer(config, DATA.input_shape, DATA.num_classes)
    with pytest.raises(InputError, match="no batch norm after it for filter_gamma"):
        PruneRetrain(Trial(config, 0), trainer, DATA).check()


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"levels": 0}, "levels=0: at least 1"),
        ({"rewind_to": "5it"}, "rewind_to=5it: a number of epochs"),
        ({"retrain": "weight_rewind", "rewind_to": "5it"}, "rewind_to=5it"),
    ],
)
def test_networks_without_a_twin_are_refused_before_anything_is_trained(
    tmp_path, trainers, values, match
):
    loop = loop_of(tmp_path, trainers, **values)
    with pytest.raises(SettingError, match=match):
        utilities.check_pruned(loop, (UtilityConfig(),))
    if "retrain" not in values:  # The surface has a twin only for learning-rate rewinding.
        with pytest.raises(SettingError, match=match):
            surfaces.check_surface(loop, (SurfaceConfig(),))
    for fine in ({}, {"rewind_to": "0it"}, {"retrain": "finetune", "rewind_to": "5it"}):
        utilities.check_pruned(loop_of(tmp_path, trainers, **fine), (UtilityConfig(),))
    surfaces.check_surface(
        loop_of(tmp_path, trainers, retrain="weight_rewind", rewind_to="5it"), (SurfaceConfig(),)
    )


def test_a_small_network_has_its_twins_weights_and_the_schedule_of_all_its_trainings(weights_loop):
    loop = weights_loop
    for level, passes in ((1, 2), (2, 3)):
        branch = small.small(loop.config, level)
        stage = loop.trial.branch_stage("small", level)
        branch.train(loop, stage, lambda logs: None)
        twin = masks_of(loop.trial.stage(level))
        assert masks_of(stage).remaining == twin.remaining
        assert masks_of(stage) != twin
        assert branch.epochs == 3 * passes == stage.result()["train_epochs"]
        assert rates(loop, stage) == [0.1, 0.1, 0.01] * passes
    # Each level has a draw of its own, so the sparser network is no part of the denser one.
    first, second = (masks_of(loop.trial.branch_stage("small", level)) for level in (1, 2))
    assert any((second[name] & ~first[name]).any() for name in first)


# Filters of each layer of TINY's network, and those a hand-made pruning leaves: the first ones.
FILTERS, KEPT = (4, 4, 4, 8, 8, 16, 16), (2, 3, 4, 5, 6, 7, 8)


def pruned_by_hand(folder, trainers, kept):
    """A loop whose level 1 has the first filters of every layer left; its masks are drawn."""
    loop = loop_of(folder, trainers, **CHANNELS, levels=1, train_epochs=1, lr_drop_epochs=())
    dense = loop.trainer.dense_masks
    assert [mask.shape[-1] for mask in dense.values()] == list(FILTERS)
    masks = {
        name: np.broadcast_to(np.arange(mask.shape[-1]) < count, mask.shape)
        for (name, mask), count in zip(dense.items(), kept, strict=True)
    }
    dense.replaced(masks).save(loop.trial.stage(1).folder / layout.MASKS)
    for stage in loop.trial.stages():
        loop.run(stage, lambda logs: None)
    return loop


def test_the_small_twin_of_pruned_channels_has_the_weights_that_are_left_without_them(
    tmp_path, trainers
):
    """Counted by hand, 3x3 kernels of the filters left and the dense layer that reads eight."""
    loop = pruned_by_hand(tmp_path, trainers, KEPT)
    read = (DATA.input_shape[-1], *KEPT)
    live = 9 * sum(into * out for into, out in zip(read, KEPT, strict=False))
    live += KEPT[-1] * DATA.num_classes
    stage = loop.trial.stage(1)
    assert live == 1536
    assert stage.result()["live_weights"] == live
    # The masks leave more: whole filters, over channels that are dead.
    assert (
        masks_of(stage).remaining
        == 9 * (1 * 2 + 4 * 3 + 4 * 4 + 4 * 5 + 8 * 6 + 8 * 7 + 16 * 8) + 48
    )

    loop.trainer.load(arrays(loop, 1), masks_of(stage))
    kernels = [
        layer.kernel for layer in shrink(loop.trainer.model).layers if hasattr(layer, "kernel")
    ]
    assert sum(int(np.prod(kernel.shape)) for kernel in kernels) == live

    twin = loop.trial.branch_stage("small", 1)
    small.small(loop.config, 1).train(loop, twin, lambda logs: None)
    assert masks_of(twin).remaining == live
    weights = [v for n, v in load_arrays(twin.folder / layout.END).items() if n.endswith("kernel")]
    assert sum(np.count_nonzero(value) for value in weights) == live


def test_a_network_whose_last_channels_are_all_dead_has_no_small_twin_and_that_is_said(
    tmp_path, trainers
):
    loop = pruned_by_hand(tmp_path, trainers, (2, 3, 4, 5, 6, 7, 0))
    assert loop.trial.stage(1).result()["live_weights"] == 0
    notes, plans = [], []
    study = SimpleNamespace(note=notes.append, train=lambda plan: plans.append(plan) or {})
    assert small.train_small(study, {loop.trial: [1]}) == {loop.trial: []}
    assert plans == [{}]
    assert "no small network, for of level 1's weights 0 are not dead" in notes[0]


def test_a_small_network_repeats_rewound_and_finetuned_schedules_as_they_were(tmp_path, trainers):
    for values, expected in (
        ({"rewind_to": "1ep"}, [0.1, 0.1, 0.01, 0.1, 0.01]),
        ({"retrain": "finetune"}, [0.1, 0.1, 0.01, 0.01, 0.01, 0.01]),
        ({"retrain": "finetune", "finetune_lr": 0.002}, [0.1, 0.1, 0.01, 0.002, 0.002, 0.002]),
    ):
        loop = trained(tmp_path / str(values), trainers, levels=1, **values)
        stage = loop.trial.branch_stage("small", 1)
        small.small(loop.config, 1).train(loop, stage, lambda logs: None)
        assert rates(loop, stage) == pytest.approx(expected)
        assert rates(loop, loop.trial.stage(1)) == pytest.approx(expected[3:])


def test_a_small_network_of_a_one_shot_pruning_is_trained_twice(tmp_path, trainers):
    config = replace(loop_of(tmp_path, trainers).config, sparsities=(0.25, 0.5, 0.75))
    assert [small.small(config, level).epochs for level in (1, 2, 3)] == [6, 6, 6]


def test_small_networks_start_from_the_trials_own_initialization_rescaled(weights_loop):
    loop = weights_loop
    stage = small.size_stage(loop.trial, 0.25, 1)
    small.size(loop.config, 0.25).train(loop, stage, lambda logs: None)
    masks = masks_of(stage)
    assert masks.remaining == np.ceil(masks.total / 4)
    assert stage.result()["train_epochs"] == 3
    start, initial = load_arrays(stage.folder / layout.START), arrays(loop, 0, layout.START)
    for name, mask in masks.items():
        factor = np.sqrt(mask.size / mask.sum())
        expected = initial[f"{name}/kernel"] * mask * factor
        np.testing.assert_allclose(start[f"{name}/kernel"], expected, rtol=1e-6)
    assert stage.name == "size_0.25"


def test_a_size_is_the_same_network_wherever_it_stands_among_the_sizes(tmp_path, trainers):
    found = []
    for place in (1, 2):
        loop = trained(tmp_path / str(place), trainers, levels=0, train_epochs=1, lr_drop_epochs=())
        stage = small.size_stage(loop.trial, 0.4, place)
        small.size(loop.config, 0.4).train(loop, stage, lambda logs: None)
        found.append((masks_of(stage), load_arrays(stage.folder / layout.END)))
    (first, ours), (second, theirs) = found
    assert first == second
    for name, value in ours.items():
        np.testing.assert_array_equal(theirs[name], value, err_msg=name)


def test_weights_on_the_way_are_the_same_whether_kept_or_trained_again(tmp_path, trainers):
    kept = trained(tmp_path / "kept", trainers, levels=0)
    later = trained(tmp_path / "later", trainers, levels=0, snapshot_every=0)
    assert not (later.trial.stage(0).folder / layout.snapshot(1)).exists()
    for (epoch, one), (same, other) in zip(
        kept.snapshots.at([0, 1, 2, 3]), later.snapshots.at([0, 1, 2, 3]), strict=True
    ):
        assert epoch == same
        for name, value in one.items():
            np.testing.assert_array_equal(other[name], value, err_msg=f"{epoch} {name}")


def test_a_damaged_snapshot_is_trained_again(tmp_path, trainers):
    loop = trained(tmp_path, trainers, levels=0)
    path = loop.trial.stage(0).folder / layout.snapshot(1)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    ((_, weights),) = loop.snapshots.at([1])
    assert path.read_bytes() == whole
    assert weights.keys() == arrays(loop, 0).keys()


def measured(measurement, loop, stage):
    table = measurement.table(stage)
    columns = measurement.measure(loop, stage, table)
    return pd.read_csv(table), columns


def test_utility_is_measured_at_every_kept_epoch_and_at_the_last_equals_the_function(weights_loop):
    loop = weights_loop
    stage = loop.trial.stage(0)
    table, _ = measured(utilities.utility_dynamics(loop.config, UTILITY), loop, stage)
    assert table.epoch.unique().tolist() == [0, 1, 2, 3]
    assert table.groupby("epoch").ablation_amount.apply(list).tolist() == [[0.1, 0.25]] * 4
    write_weights(loop.trainer.model, arrays(loop, 0))
    set_masks(loop.trainer.model, loop.trainer.dense_masks)
    ablations = Ablations(amounts=(0.1, 0.25), subsets=3, num_examples=30, seed=0)
    expected = utility(loop.trainer.model, splits_of(DATA)["train"], ablations)
    last = table[table.epoch == 3]
    np.testing.assert_allclose(last.utility_mean, expected.mean, rtol=1e-6)
    np.testing.assert_allclose(last.utility_imbalance, expected.imbalance, rtol=1e-6)
    ends, _ = measured(utilities.utility("ratio", UTILITY), loop, stage)
    np.testing.assert_allclose(ends.utility, expected.values.ravel(), rtol=1e-6)
    np.testing.assert_allclose(ends.ablated_accuracy, expected.accuracies.ravel())


def keep_part(measurement, stage, rows):
    """Leaves rows of a measurement as one that was interrupted does; returns the file."""
    table = PartialTable(measurement.table(stage))
    table.rows = rows.to_dict("records")
    table.keep()
    return measurement.table(stage).parent / f"{measurement.table(stage).name}.part"


def test_interrupted_measurements_keep_the_epochs_they_have(weights_loop):
    loop = weights_loop
    stage = loop.trial.stage(0)
    measurement = utilities.utility_dynamics(loop.config, UTILITY)
    whole, _ = measured(measurement, loop, stage)
    part = keep_part(measurement, stage, whole[whole.epoch < 2].assign(accuracy=0.125))
    again, _ = measured(measurement, loop, stage)
    assert not part.exists()
    assert (again[again.epoch < 2].accuracy == 0.125).all()
    pd.testing.assert_frame_equal(
        again[again.epoch >= 2].reset_index(drop=True),
        whole[whole.epoch >= 2].reset_index(drop=True),
    )


def test_kernels_and_seed_are_as_asked_for(tmp_path, trainers):
    loop = trained(tmp_path, trainers, seed=7, levels=0, train_epochs=1, lr_drop_epochs=())
    stage = loop.trial.stage(0)
    options = dataclasses.replace(UTILITY, ablation_kernels="conv")
    table, _ = measured(utilities.utility("ratio", options), loop, stage)
    weights = arrays(loop, 0)
    conv = sum(v.size for n, v in weights.items() if n.endswith("/kernel") and n[:4] == "conv")
    assert table.ablated_weights.unique().tolist() == [np.ceil(0.1 * conv), np.ceil(0.25 * conv)]
    model = loop.trainer.model
    write_weights(model, weights)
    set_masks(model, masks_of(stage))
    ours = Ablations((0.1, 0.25), subsets=3, kernels="conv", num_examples=30, seed=7)
    expected = utility(model, splits_of(DATA)["train"], ours).values
    np.testing.assert_allclose(table.utility.to_numpy().reshape(2, 3), expected, rtol=1e-5)


def test_numbers_are_ratios_of_the_whole_network_and_at_most_what_is_left(weights_loop):
    loop = weights_loop
    stage = small.size_stage(loop.trial, 0.2, 1)
    small.size(loop.config, 0.2).train(loop, stage, lambda logs: None)
    table, _ = measured(utilities.utility("number", UTILITY), loop, stage)
    kernels = [v.size for n, v in arrays(loop, 0).items() if n.endswith("/kernel")]
    left = masks_of(stage).remaining
    numbers = table.groupby("ablation_amount").ablated_weights.unique()
    assert numbers[0.1].tolist() == [np.ceil(0.1 * sum(kernels))]
    assert numbers[0.25].tolist() == [min(np.ceil(0.25 * sum(kernels)), left)]


def test_with_a_magnitude_to_be_above_ratios_are_of_the_weights_above_it(weights_loop):
    loop, stage = weights_loop, weights_loop.trial.stage(0)
    magnitudes = np.concatenate(
        [abs(v).ravel() for n, v in arrays(loop, 0).items() if n.endswith("/kernel")]
    )
    threshold = float(np.quantile(magnitudes, 0.9))
    options = dataclasses.replace(UTILITY, ablation_magnitude_above=threshold)
    above = np.count_nonzero(magnitudes > threshold)
    for kind, sizes in (
        ("ratio", [np.ceil(0.1 * above), np.ceil(0.25 * above)]),
        ("number", [min(np.ceil(0.1 * magnitudes.size), above), above]),
    ):
        table, _ = measured(utilities.utility(kind, options), loop, stage)
        numbers = table.groupby("ablation_amount").ablated_weights.unique()
        assert [numbers[0.1].tolist(), numbers[0.25].tolist()] == [[n] for n in sizes], kind


def test_pretrained_utility_is_over_the_weights_that_pruning_leaves(weights_loop):
    loop = weights_loop
    stage = loop.trial.stage(2)
    table, _ = measured(utilities.utility("pretrained", UTILITY), loop, stage)
    masks = masks_of(stage)
    eligible = masks.remaining
    sizes = table.groupby("ablation_amount").ablated_weights.unique()
    assert sizes[0.1].tolist() == [np.ceil(round(0.1 * eligible, 9))]
    # The pretrained network's own accuracy, before retraining.
    whole = utilities._meter(loop, Ablations(subsets=1, num_examples=30)).measure(arrays(loop, 0))
    assert table.accuracy.unique().tolist() == [whole.accuracy]


OPTIONS = SurfaceConfig(plane_points=3, plane_margin=0.5, plane_batch_norm="interpolated")


def test_the_three_networks_lie_on_the_plane_at_distances_of_their_weights(weights_loop):
    loop = weights_loop
    stage = loop.trial.stage(2)
    plane = surfaces._plane(loop, stage)
    networks = {"pretrained": arrays(loop, 0), "pruned": arrays(loop, 2, layout.START)}
    networks["retrained"] = arrays(loop, 2)
    for point, (name, weights) in zip(plane.points, networks.items(), strict=True):
        where = plane.project(weights)
        np.testing.assert_allclose((where.x, where.y), point, atol=1e-4)
        assert where.distance < 1e-3, name
    _, columns = measured(surfaces.plane(OPTIONS), loop, stage)
    flat = {
        name: np.concatenate([
            v.ravel() for n, v in weights.items() if not n.rsplit("/", 1)[-1].startswith("moving")
        ]).astype(np.float64)
        for name, weights in networks.items()
    }  # fmt: skip
    for first, second in (("pretrained", "pruned"), ("pretrained", "retrained")):
        expected = np.linalg.norm(flat[first] - flat[second])
        assert columns[f"distance_{first}_{second}"] == pytest.approx(expected, rel=1e-6)


def test_batch_norm_on_the_plane_is_as_asked_for(weights_loop):
    loop, stage = weights_loop, weights_loop.trial.stage(1)
    again = dataclasses.replace(OPTIONS, plane_batch_norm="reestimated")
    mixed, estimated = (measured(surfaces.plane(o), loop, stage)[0] for o in (OPTIONS, again))
    pd.testing.assert_frame_equal(mixed[["x", "y"]], estimated[["x", "y"]])
    assert (mixed.train_loss != estimated.train_loss).all()


def test_an_interrupted_grid_measures_its_missing_cells_only(weights_loop):
    loop = weights_loop
    stage = loop.trial.stage(1)
    measurement = surfaces.plane(OPTIONS)
    whole, _ = measured(measurement, loop, stage)
    assert len(whole) == 9
    keep_part(measurement, stage, whole[:4].assign(train_loss=-1.0))
    again, _ = measured(measurement, loop, stage)
    assert (again.train_loss[:4] == -1).all()
    pd.testing.assert_frame_equal(again[4:], whole[4:])


@pytest.mark.parametrize("content", [b"", b"\0\xff", b"x,y\n1,2\n", "of another table"])
def test_a_part_that_is_not_the_tables_own_is_not_taken(weights_loop, content):
    stage = weights_loop.trial.stage(1)
    path = surfaces.plane(OPTIONS).table(stage)
    part = path.parent / f"{path.name}.part"
    if isinstance(content, bytes):
        part.write_bytes(content)
    else:
        keep_part(surfaces.trajectory(), stage, pd.DataFrame({"x": [1.0]})).replace(part)
    assert PartialTable(path).rows == []
    part.unlink(missing_ok=True)


def test_the_trajectory_has_all_networks_so_far_and_its_own_lie_on_the_plane(weights_loop):
    loop = weights_loop
    table, _ = measured(surfaces.trajectory(), loop, loop.trial.stage(2))
    assert table.cycle.tolist() == [0, 1, 1, 2, 2]
    assert table.network.tolist() == ["pretrained", *["pruned", "retrained"] * 2]
    own = table[(table.cycle == 2) | (table.cycle == 0)]
    assert (own.distance < 1e-3).all()
    np.testing.assert_allclose(own[["x", "y"]].iloc[0], 0, atol=1e-4)
    assert table.distance[1] > 1e-2  # Another cycle's network is beside the plane.


def test_both_structures_are_pruned_by_their_own_fractions():
    base = from_settings({**TINY, "output_dir": "runs"}, experiment="test")
    runs = surfaces.structured([base], SurfaceConfig())
    assert [(c.pruning.criterion, c.pruning.prune_fraction, k["structure"]) for c, k in runs] == [
        ("magnitude", 0.3, "weights"),
        ("filter_gamma", 0.2, "channels"),
    ]
