"""A setting that changes nothing is said in a line, and nothing else is."""

import dataclasses
from unittest import mock

import pytest

from tfprune.catalog import CRITERIA
from tfprune.config import from_settings
from tfprune.errors import SettingError
from tfprune.experiments import cli
from tfprune.experiments.command import read_preset
from tfprune.experiments.doors import EXPERIMENTS
from tfprune.studies.without_effect import RULES, without_effect

# (experiment, typed, what is said: the setting with its value, and why)
SAID = [
    ("sparse_double_descent", "--lr_drop_epochs=80,120", "`lr_drop_epochs=80,120`: no drop at 120: "
     "training ends with `train_epochs=100`"),
    # The preset's drops after 60 and 80 epochs.
    ("sparse_double_descent", "--train_epochs=40", "`lr_drop_epochs=60,80`: no drop at 60,80"),
    ("sparse_double_descent", "--train_epochs=60", "`lr_drop_epochs=60,80`: no drop at 60,80"),
    ("sparse_double_descent", "--train_epochs=61", "`lr_drop_epochs=60,80`: no drop at 80"),
    ("sparse_double_descent", "--lr_drop_factor=1", "`lr_drop_epochs=60,80`: no effect with "
     "`lr_drop_factor=1.0`"),
    ("sparse_double_descent", "--lr_drop_factor=0.5 --lr_drop_epochs=", "`lr_drop_factor=0.5`: no "
     "effect without `lr_drop_epochs`"),
    ("sparse_double_descent", "--lr_drop_factor=0.5 --lr_decay=cosine --lr_drop_epochs=",
     "`lr_drop_factor=0.5`: no effect with `lr_decay=cosine`"),
    ("sparse_double_descent", "--optimizer=adam", "`momentum=0.9`: no effect with "
     "`optimizer=adam`"),
    ("sparse_double_descent", "--optimizer=nesterov --momentum=0", "`optimizer=nesterov`: the same "
     "as sgd with `momentum=0.0`"),
    ("sparse_double_descent", "--adam_epsilon=1e-7", "`adam_epsilon=1e-07`: no effect"),
    ("sparse_double_descent", "--matmul=ieee --dtype=float64", "`matmul=ieee`: no effect with "
     "`dtype=float64`"),
    ("sparse_double_descent", "--prune_fraction=0", "`prune_fraction=0.0`: nothing is pruned at "
     "any of `levels=17`"),
    ("sparse_double_descent", "--prune_fraction=0.3 --sparsities=0.5", "`prune_fraction=0.3`: no "
     "effect with `sparsities=0.5`"),
    ("sparse_double_descent", "--criterion=snip --levels=0", "`criterion=snip`: no effect with "
     "`levels=0`"),
    ("sparse_double_descent", "--scope=layer --levels=0", "`scope=layer`: no effect"),
    ("sparse_double_descent", "--retrain=scratch --levels=0", "`retrain=scratch`: no effect"),
    ("sparse_double_descent", "--criterion=snip --retrain=extended_dense", "`criterion=snip`: no "
     "effect with `retrain=extended_dense`"),
    ("sparse_double_descent", "--criterion_batches=5", "`criterion_batches=5`: no effect with "
     "`criterion=magnitude`"),
    ("sparse_double_descent", "--rewind_to=9ep --retrain=scratch", "`rewind_to=9ep`: no effect "
     "with `retrain=scratch`"),
    ("sparse_double_descent", "--finetune_lr=0.1", "`finetune_lr=0.1`: no effect with "
     "`retrain=weight_rewind`"),
    ("sparse_double_descent", "--label_noise=pairflip --noise_fraction=0", "`label_noise=pairflip`"
     ": no effect with `noise_fraction=0.0`"),
    ("sparse_double_descent", "--data_dir=/data", "`data_dir=/data`: no effect with "
     "`dataset=digits`"),
    ("sparse_double_descent", "--batch_norm_gamma=uniform", "`batch_norm_gamma=uniform`: no effect "
     "with `model=lenet_300_100`"),
    ("sparse_double_descent", "--shortcut=zero_pad", "`shortcut=zero_pad`: no effect"),
    ("redense", "--interpolation_batch_norm=reestimated", "`interpolation_batch_norm=reestimated`: "
     "no effect with `model=lenet_300_100`"),
    ("sparse_double_descent", "--workers=8", "`workers=8`: more than have work: 3 trials"),
    ("sparse_double_descent", "--stack=32 --seeds=0", "`stack=32`: more places than the "
     "levels of 1 trial fill"),
    ("sparse_double_descent", "--shard=3/8", "`shard=3/8`: nothing of 3 trials is in it"),
    ("sparse_double_descent", "--ray_gpus=1", "`ray_gpus=1.0`: no effect with `executor=local`"),
    ("utility_dynamics", "--train_epochs=5 --lr_drop_epochs=", "`snapshot_every=5`: no "
     "snapshot before the end, `train_epochs=5`"),
    ("generalization_stability", "--train_epochs=48 --lr_drop_epochs=30", "`prune_ends=30,30,30,50`"
     ": training ends with `train_epochs=48`, before the last event of smallest:2"),
    ("generalization_stability", "--prune_fractions=0", "`prune_fractions=0.0`: no filter is"),
    ("accuracy_surface", "--structures=weights --channel_fraction=0.3", "`channel_fraction=0.3`: "
     "no effect with `structures=weights`"),
    ("flatness", "--eigenvalues=5", "`perturbed_eigenvectors=10`: no more than `eigenvalues=5`"),
]  # fmt: skip


def said(experiment, *words):
    command = cli.parse(EXPERIMENTS[experiment], list(words))
    return without_effect(command.configs, command.options, command.given)


@pytest.mark.parametrize(("experiment", "typed", "sentence"), SAID, ids=lambda text: text[:40])
def test_what_changes_nothing_is_said_with_its_reason(experiment, typed, sentence):
    found = said(experiment, *typed.split())
    assert len(found) == 1
    assert found[0].startswith(sentence)


def test_every_rule_was_tried():
    tried = {sentence[1:].split("=")[0] for *_, sentence in SAID}
    siblings = {"ray_address", "ray_cpus", "ray_retries", "cut_shortcuts", "channel_criterion"}
    assert {rule.setting for rule in RULES} == tried | siblings


@pytest.mark.parametrize(
    ("experiment", "typed"),
    [
        ("sparse_double_descent", ""),
        ("sparse_double_descent", "--train_epochs=81"),
        ("sparse_double_descent", "--levels=0"),
        ("sparse_double_descent", "--noise_fraction=0"),
        ("sparse_double_descent", "--sparsities=0.5,0.9"),
        ("sparse_double_descent", "--workers=3 --stack=3 --shard=2/3"),
        ("sparse_double_descent", "--workers=auto --stack=auto"),
        # In one of the runs it has an effect.
        ("sparse_double_descent", "--criterion_batches=5 --sweep=criterion=magnitude,snip"),
        ("pruning_effect", "--scope=layer"),
        ("generalization_stability", "--criterion=filter_l1"),
        ("generalization_stability", "--train_epochs=51 --lr_drop_epochs=30"),
    ],
)
def test_nothing_is_said_of_what_has_an_effect_or_was_not_asked_for(experiment, typed):
    assert said(experiment, *typed.split()) == []


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_no_preset_holds_a_setting_that_changes_nothing(experiment):
    own = EXPERIMENTS[experiment]
    for preset in own.presets:
        command = cli.parse(own, [f"--preset={preset}"])
        written = {word.lstrip("-").split("=")[0] for word in read_preset(experiment, preset)}
        written -= {"label_noise"}  # Which kind there is when --noise_fraction is given.
        assert without_effect(command.configs, command.options, written) == [], preset


def test_what_is_typed_in_a_sweep_or_a_file_of_flags_is_typed(tmp_path):
    file = tmp_path / "my.flags"
    file.write_text("--criterion_batches=5\n")
    assert len(said("sparse_double_descent", f"--flagfile={file}")) == 1
    assert len(said("sparse_double_descent", "--sweep=criterion_batches=5,6")) == 1
    assert len(said("sparse_double_descent", "--criterion_batches", "5")) == 1


def test_without_a_command_line_all_settings_are_looked_at():
    config = from_settings({"optimizer": "adam", "momentum": 0.9, "levels": 3})
    assert "`momentum=0.9`: no effect with `optimizer=adam`" in without_effect([config])
    other = dataclasses.replace(config, training=dataclasses.replace(config.training, momentum=0))
    assert not any("momentum" in sentence for sentence in without_effect([config, other]))


def test_momentum_that_never_ends_is_refused():
    with pytest.raises(SettingError, match=r"momentum=1.0: a number in \[0, 1\)"):
        from_settings({"momentum": 1.0})


def test_nothing_is_said_of_what_a_persons_own_criterion_may_use():
    with mock.patch.dict(CRITERIA._entries):
        CRITERIA.add("own", "tfprune.pruning.criteria:snip", "averaged over batches")
        assert said("sparse_double_descent", "--criterion=own", "--criterion_batches=5") == []
