"""The command line: presets, precedence, help and one-line errors, all without TensorFlow."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfprune import __main__ as door
from tfprune import papers
from tfprune.errors import InputError
from tfprune.experiments import (
    cli,
    example_effects,
    leave_out,
    pruning_effect,
    redense,
    utility_pruned,
)
from tfprune.experiments.doors import EXPERIMENTS
from tfprune.experiments.sparse_double_descent import EXPERIMENT
from tfprune.measures.example_groups import partial_epochs
from tfprune.papers.items import PAPERS
from tfprune.papers.published import published
from tfprune.studies.settings import at_noise

ROOT = Path(door.__file__).parents[1]


def error_of(*argv):
    with pytest.raises(InputError) as error:
        door.dispatch(argv)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_explicit_flags_win_over_the_preset_wherever_they_stand():
    for argv in (["--levels=5", "--preset=smoke"], ["--preset", "smoke", "--levels", "5"]):
        command = cli.parse(EXPERIMENT, argv)
        assert command.configs[0].pruning.levels == 5
        assert command.configs[0].training.train_epochs == 3
        assert command.configs[0].preset == "smoke"


def test_without_any_flag_it_is_the_quick_preset():
    assert cli.parse(EXPERIMENT, []).configs[0].preset == "quick"


def test_clean_labels_need_one_flag():
    """The preset's noise fraction belongs to the preset's noise."""
    data = cli.parse(EXPERIMENT, ["--label_noise=none"]).configs[0].data
    assert (data.label_noise, data.noise_fraction) == ("none", 0.0)
    assert "--noise_fraction=0.2" in error_of("--label_noise=none", "--noise_fraction=0.2")


def test_levels_take_the_place_of_a_presets_sparsities():
    def pruning(*argv):
        return cli.parse(utility_pruned.EXPERIMENT, ["--preset=smoke", *argv]).configs[0].pruning

    assert (pruning().sparsities, pruning().last_level) == ((0.5,), 1)
    assert (pruning("--levels=3").sparsities, pruning("--levels=3").last_level) == ((), 3)
    message = error_of("utility_pruned", "--levels=3", "--sparsities=0.5")
    assert "--levels=3: nothing beside --sparsities" in message


def test_a_boolean_flag_needs_no_value():
    config = cli.parse(EXPERIMENT, ["--nodeterministic", "--levels=3"]).configs[0]
    assert (config.deterministic, config.pruning.levels) == (False, 3)


def test_the_last_value_of_a_flag_wins():
    assert cli.parse(EXPERIMENT, ["--levels=5", "--levels=6"]).configs[0].pruning.levels == 6


def test_seeds_are_a_list_or_a_range():
    assert cli.parse(EXPERIMENT, ["--seeds=0-2,7"]).configs[0].seeds == (0, 1, 2, 7)


def test_every_experiment_has_its_own_figures_tables_and_report():
    assert list(EXPERIMENTS) == list(papers.REPORTS)


def test_every_preset_of_every_experiment_is_a_valid_command():
    for name in EXPERIMENTS:
        experiment = EXPERIMENTS[name]
        assert experiment.presets[:3] == ["smoke", "quick", "gpu_hour"]
        for preset in experiment.presets:
            command = cli.parse(experiment, [f"--preset={preset}"])
            assert all(config.experiment == name for config in command.configs)


# Branches of the paper by benchmark: TIE and RND without noise at each level above 0 (D), for
# two benchmarks the two subsamples too (K.2), and dense subsets at each level with noise (E).
LEFT_OUT = {
    "paper_lenet_mnist": 3 * (2 * 22 + 3 * 23),
    "paper_resnet20_cifar10": 3 * (4 * 21 + 3 * 22),
    "paper_vgg16_cifar10": 3 * (4 * 28 + 3 * 29),
    "paper_resnet32_cifar100": 3 * (2 * 22 + 3 * 23),
    "paper_resnet32_width128_cifar100": 3 * 2 * 22,
    "paper_resnet50_imagenet": 3 * (2 * 12 + 13),
}


@pytest.mark.parametrize("preset", LEFT_OUT)
def test_leave_out_presets_train_the_sets_that_peg_trains(preset):
    command = cli.parse(leave_out.EXPERIMENT, [f"--preset={preset}"])
    options = command.options[1]
    branches = 0
    for config in command.configs:
        for name in at_noise(options.leave_out_sets, config.data.noise_fraction):
            levels = config.pruning.last_level + (name == "dense_subset")
            branches += len(config.seeds) * levels
        assert config.model.width == (8 if "width128" in preset else 1)
    assert options.leave_out_levels == "all"
    assert branches == LEFT_OUT[preset]


def test_el2n_of_imagenet_is_of_the_20th_epoch():
    for preset, epochs in (("paper_resnet50_imagenet", 20), ("paper_vgg16_cifar10", 16)):
        command = cli.parse(example_effects.EXPERIMENT, [f"--preset={preset}"])
        scores = command.options[1]
        trained = command.configs[0].training.train_epochs
        assert partial_epochs(trained, scores.el2n_percent) == epochs
        assert scores.el2n_models == 10


def test_snip_is_pruned_with_without_noise_alone():
    """PEG's only numbers of SNIP are table 2 and figure 8."""
    presets = [name for name in pruning_effect.EXPERIMENT.presets if name.startswith("paper")]
    for preset in presets:
        command = cli.parse(pruning_effect.EXPERIMENT, [f"--preset={preset}"])
        snip = [c for c in command.configs if c.pruning.criterion == "snip"]
        assert [config.data.noise_fraction for config in snip] == [0]


def test_paper_presets_hold_the_table_of_hyperparameters():
    """SDD A.1, both rows."""
    lenet = cli.parse(EXPERIMENT, ["--preset=paper_mnist"]).configs[0]
    assert lenet.training.train_epochs == 200
    assert (lenet.training.learning_rate, lenet.training.momentum) == (0.1, 0.0)
    assert (lenet.training.batch_size, lenet.pruning.rewind_to) == (128, "0ep")
    assert len(lenet.seeds) == 5
    for name in ("paper_cifar10", "paper_cifar100"):
        resnet = cli.parse(EXPERIMENT, [f"--preset={name}"]).configs[0]
        assert resnet.training.lr_drop_epochs == (80, 120)
        assert resnet.training.train_epochs == 160
        assert (resnet.training.momentum, resnet.training.weight_decay) == (0.9, 1e-4)
        assert (resnet.pruning.rewind_to, len(resnet.seeds)) == ("1000it", 3)


SDD = ("sparse_double_descent", "redense", "learning_distance", "random_reinit")
PEG = ("pruning_effect", "width_scaling", "example_effects", "example_galleries", "leave_out")
GST = ("generalization_stability", "pruning_as_noise", "flatness")
# GST's architectures_and_layers: torchvision's VGG with a new dense layer, pytorch-cifar's
# ResNet-18 as it is made, and CIFAR ResNets whose kernels alone are Kaiming normal.
GST_INITIALIZATION = {
    "vgg11": "kaiming_fan_out",
    "resnet18": "pytorch",
    "resnet20": "open_lth",
    "resnet56": "open_lth",
}


@pytest.mark.parametrize("name", [*SDD, *PEG, *GST])
def test_paper_presets_start_and_normalize_as_the_papers_code_does(name):
    experiment = EXPERIMENTS[name]
    commands = {p: cli.parse(experiment, [f"--preset={p}"]) for p in experiment.presets}
    of_the_paper = {
        preset: command.configs
        for preset, command in commands.items()
        if not any(config.data.dataset == "digits" for config in command.configs)
    }
    assert of_the_paper
    for preset, configs in of_the_paper.items():
        for config in configs:
            model = config.model
            found = (
                model.initialization,
                model.batch_norm_gamma,
                config.data.normalization,
                config.training.warmup_epochs,
            )
            if name in GST:
                wanted = GST_INITIALIZATION[model.model], "ones", "pytorch_cifar", 0
            else:
                # Networks without batch norm have no scales.
                gamma = "ones" if model.model == "lenet_300_100" else "uniform"
                start = "open_lth" if name in PEG else "kaiming_normal"
                # OpenLTH's networks for ImageNet, in its fork for Tiny ImageNet, warm up.
                warmup = 5 if model.model in ("resnet50", "resnet101") else 0
                wanted = start, gamma, "open_lth", warmup
            assert found == wanted, preset


# GST's config.py and scripts, by a preset's name: optimizer, rate, epochs and drops, how training
# images are augmented; criterion, fractions, starts and ends; prunings; runs.
VGG, RESNET = (0.3, 0.3, 0.3, 0.9), (0.25, 0.4, 0.25, 0.95)
LONG, SHORT = ("adam", 1e-3, 325, (150, 300), "none"), ("sgd", 0.1, 165, (83, 125), "flip_shift")
LONGEST = ("adam", 1e-4, 4000, (2000,), "flip_shift")
EARLY, LATE = (3, 4, 5, 6), (7, 8, 9, 10)
VGG_SCHEDULE = ("filter_l2", VGG, EARLY, (150, 150, 150, 275))
RESNET_ENDS = (150, 150, 170, 275)
THREE = ("smallest:4", "smallest:40", "largest:40")
PERIODS = (4, 20, 40, 60, 100, 200, 300)
FIGURE_4 = (SHORT, ("filter_l1", (0.1,), (40,), (100,)), ("smallest:30", "smallest:60"), 10)
GST_CODE = {
    "fig2_vgg": (LONG, VGG_SCHEDULE, THREE, 10),
    "fig2_resnet18": (LONG, ("filter_activation", RESNET, LATE, RESNET_ENDS), THREE, 10),
    "fig3": (
        LONG, VGG_SCHEDULE,
        tuple(f"{target}:{n}" for target in ("smallest", "random", "largest") for n in PERIODS), 5,
    ),
    "fig4_resnet18": FIGURE_4,
    "fig4_resnet20": FIGURE_4,
    "fig4_resnet56": FIGURE_4,
    "figB2_vgg": (LONG, ("filter_ebn", *VGG_SCHEDULE[1:]), THREE, 10),
    "figB2_resnet18": (LONG, ("filter_ebn_signed", RESNET, EARLY, RESNET_ENDS), THREE, 10),
    "figC3": (
        SHORT, ("filter_l1", (0.1,), (24,), (100,)), ("smallest:1:0.1", "smallest:1:0.06"), 10,
    ),
    "tabC1": (
        LONG, ("filter_activation", (0.25, 0.8, 0.25, 0.95), LATE, RESNET_ENDS), THREE, 10,
    ),
    "tabF1": (
        LONGEST, ("filter_l1", (0.7,), (2500,), (3500,)),
        ("smallest:750", "largest:750", "scratch:largest"), 10,
    ),
    "fig5": (LONG, VGG_SCHEDULE, ("largest:40",), 10),
    "figD2": (LONG, VGG_SCHEDULE, ("largest:40",), 10),
    "fig6": (
        LONG, VGG_SCHEDULE, (*THREE[:2], "random:40", "largest:40", "scratch:smallest"), 10,
    ),
}  # fmt: skip


def test_paper_presets_hold_the_configurations_of_gsts_code():
    found = {}
    for name in GST:
        experiment = EXPERIMENTS[name]
        for preset in experiment.presets[3:]:
            command = cli.parse(experiment, [f"--preset={preset}"])
            (config,), options = command.configs, command.options[0]
            training = config.training
            assert (training.batch_size, training.lr_drop_factor) == (128, 0.1)
            decayed = (0.9, 1e-4) if training.optimizer == "sgd" else (0.0, 0.0)
            assert (training.momentum, training.weight_decay) == decayed
            lost = (options.prune_fractions, options.prune_starts, options.prune_ends)
            found[preset] = (
                (
                    training.optimizer, training.learning_rate, training.train_epochs,
                    training.lr_drop_epochs, config.data.augment,
                ),
                (config.pruning.criterion, *lost),
                options.prunings,
                len(config.seeds),
            )  # fmt: skip
    assert found == GST_CODE


@pytest.mark.parametrize(
    ("experiment", "preset", "epochs", "advanced"),
    [
        ("utility_dynamics", "paper_vanilla_cnn", 200, False),
        ("utility_dynamics", "paper_vanilla_cnn_long", 5000, False),
        ("utility_dynamics", "paper_resnet20", 200, True),
        ("utility_dynamics", "paper_resnet20_long", 5000, True),
        ("utility_size", "paper_resnet20", 200, True),
        ("utility_pruned", "paper_resnet20", 200, True),
        ("accuracy_surface", "paper_resnet20", 200, True),
    ],
)
def test_paper_presets_hold_what_pm_states(experiment, preset, epochs, advanced):
    """PM 2.1.2, 2.2, 3, A.2.4: rate 0.1, divided by 10 at 50% and 75%; 500 subsets, six ratios."""
    command = cli.parse(EXPERIMENTS[experiment], [f"--preset={preset}"])
    for config in command.configs:
        training = config.training
        assert (training.learning_rate, training.lr_drop_factor) == (0.1, 0.1)
        assert (training.train_epochs, training.lr_drop_epochs) == (
            epochs, (epochs // 2, 3 * epochs // 4)
        )  # fmt: skip
        assert (training.momentum, training.weight_decay) == ((0.9, 1e-4) if advanced else (0, 0))
        assert config.model.batch_norm_gamma == "ones"
        if experiment != "utility_dynamics":
            assert (config.model.prunable, config.pruning.scope) == ("conv", "global")
    if experiment == "accuracy_surface":
        # A.5.1: 67% of the channels are gone after five cycles.
        found = {(c.pruning.criterion, c.pruning.prune_fraction) for c in command.configs}
        assert found == {("magnitude", 0.3), ("filter_gamma", 0.2)}
        assert {c.pruning.retrain for c in command.configs} == {"finetune", "lr_rewind"}
        assert {c.pruning.levels for c in command.configs} == {5}
    else:
        options = command.options[-1]
        assert options.ablation_ratios == (0.01, 0.05, 0.075, 0.1, 0.15, 0.25)
        assert (options.ablation_subsets, options.ablation_examples) == (500, 0)


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["sparse_double_desent"], ["did you mean sparse_double_descent"]),
        (["--preset=quik"], ["--preset=quik", "did you mean quick"]),
        (["--criterion=magnitud"], ["--criterion=magnitud", "did you mean magnitude"]),
        (["--noise_fraction=1.2"], ["--noise_fraction=1.2", "[0, 1]"]),
        (["--prune_fraction=-1"], ["--prune_fraction=-1", "[0, 1)"]),
        (["--rewind_to=200ep"], ["--rewind_to=200ep", "before the end"]),
        (["--seeds=1,1"], ["--seeds=1,1", "distinct"]),
        (["--seeds=-1"], ["--seeds=-1", "[0, 4294967295]"]),
        (["--levels=two"], ["--levels=two", "an integer"]),
        (["--lr_drop_epochs=a"], ["--lr_drop_epochs=a", "integers"]),
        (["--deterministic=perhaps"], ["--deterministic=perhaps", "true or false"]),
        (["--levles=2"], ["--levles", "did you mean --levels"]),
        (["--seeds=3-1"], ["--seeds=3-1", "integers"]),
        (["--seeds=0-99999999999"], ["--seeds=0-99999999999", "integers"]),
        (["extra"], ["there is no experiment 'extra'"]),
        (["--levels=2", "extra"], ["unexpected argument 'extra'"]),
        (["--preset=smoke", "redense"], ["unexpected argument 'redense'", "after the experiment"]),
        (["report"], ["--output_dir"]),
    ],
)
def test_bad_input_is_one_line_that_says_what_is_allowed(argv, parts):
    message = error_of(*argv)
    assert all(part in message for part in parts), message


def test_an_input_error_is_exit_code_2_and_any_other_failure_1(capsys):
    def fail(error):
        def main():
            raise error

        return main

    assert cli.exit_code(fail(InputError("no"))) == 2
    assert capsys.readouterr().err == "tfprune: error: no\n"
    assert cli.exit_code(lambda: 0) == 0


def test_list_names_every_experiment_with_its_summary(capsys):
    assert door.dispatch(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(EXPERIMENTS)
    titles = [line for line in lines if line and not line.startswith("  ")]
    assert titles == [f"{paper.title} ({short})" for short, paper in PAPERS.items()]


def test_help_shows_every_flag_with_the_presets_value(capsys):
    assert door.dispatch(["sparse_double_descent", "--help", "--preset=smoke"]) == 0
    text = capsys.readouterr().out
    assert "--train_epochs=3" in text
    required = (
        "preset output_dir seeds dataset data_dir train_subset label_noise noise_fraction model "
        "width prunable criterion scope prune_fraction levels retrain rewind_to train_epochs "
        "batch_size optimizer learning_rate lr_drop_epochs lr_drop_factor momentum weight_decay "
        "augment checkpoint_seconds jit dtype strategy verbosity"
    )
    for name in required.split():
        assert f"  --{name}=" in text, name


@pytest.mark.parametrize(
    "argv", [["--list"], ["sparse_double_descent", "--help"], ["--criterion=magnitud"]]
)
def test_lists_help_and_flag_errors_import_no_tensorflow(argv):
    code = (
        "import sys\nfrom tfprune.__main__ import main\nsys.argv[1:] = " + repr(argv) + "\nmain()\n"
        "heavy = {'tensorflow', 'tf_keras', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_sdds_presets_have_the_noise_and_the_levels_of_its_figures():
    three = [0.2, 0.4, 0.8]
    for name in ("mnist", "cifar10", "cifar100"):
        for preset, trials in ((f"paper_{name}", 1), (f"paper_{name}_criteria", 3)):
            configs = cli.parse(EXPERIMENT, [f"--preset={preset}"]).configs
            assert len(configs) == 3 * trials
            assert sorted({config.data.noise_fraction for config in configs}) == three
        for sweep in ("noise_types", "retraining"):
            configs = cli.parse(EXPERIMENT, [f"--preset=paper_{name}_{sweep}"]).configs
            assert {config.data.noise_fraction for config in configs} == {0.2}
    one = cli.parse(EXPERIMENT, ["--preset=paper_mnist", "--noise_fraction=0.4"]).configs
    assert [config.data.noise_fraction for config in one] == [0.4]


@pytest.mark.parametrize(
    ("preset", "figure"),
    [("paper_mnist", "figure 11"), ("paper_cifar10", "figure 13"), ("paper_cifar100", "figure 4")],
)
def test_redense_presets_branch_from_the_sparsities_that_sdd_prints(preset, figure):
    command = cli.parse(redense.EXPERIMENT, [f"--preset={preset}"])
    (config,) = command.configs
    rows = published("SDD", figure)
    assert set(rows["dataset"]) == {config.data.dataset}
    assert set(rows["noise_fraction"]) == {config.data.noise_fraction}
    levels = [round(np.log(1 - value / 100) / np.log(0.8)) for value in rows["mean"]]
    assert list(command.options[0].listed_levels) == levels


def test_tiny_imagenet_is_pruned_in_one_shot_to_the_sparsities_of_16_iterations():
    (config,) = cli.parse(EXPERIMENT, ["--preset=paper_tiny_imagenet"]).configs
    assert config.pruning.sparsities == pytest.approx([1 - 0.8**k for k in range(1, 17)], abs=1e-6)
