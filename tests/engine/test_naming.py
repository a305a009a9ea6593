"""What trials are called in messages: what tells them apart, in words."""

import pytest

from tfprune.config import from_settings
from tfprune.engine.naming import names_of
from tfprune.experiments import cli
from tfprune.experiments.doors import EXPERIMENTS
from tfprune.studies.trial import trial_name


def run(**values):
    return from_settings({"output_dir": "x", **values}, experiment="test")


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (
            [{"criterion": name} for name in ("magnitude", "random")],
            ["magnitude pruning", "random pruning"],
        ),
        (
            [{"label_noise": "symmetric", "noise_fraction": n} for n in (0.2, 0.4)],
            ["20% label noise", "40% label noise"],
        ),
        (
            [{}, {"label_noise": "pairflip", "noise_fraction": 0.4}],
            ["no label noise", "pairflip noise"],
        ),
        ([{"rewind_to": text} for text in ("0ep", "9ep")], ["rewind_to=0ep", "rewind_to=9ep"]),
        (
            [{"sparsities": (0.5, 0.9)}, {"lr_drop_epochs": (3,)}],
            ["lr_drop_epochs=none", "lr_drop_epochs=3"],
        ),
        # One configuration: nothing tells it apart, and it is called by what one asks of it.
        (
            [{"label_noise": "symmetric", "noise_fraction": 0.4}],
            ["40% symmetric noise, magnitude pruning"],
        ),
        ([{"criterion": "snip", "dataset": "mnist"}], ["snip pruning"]),
        ([{"levels": 0, "dataset": "mnist"}], ["mnist, lenet_300_100"]),
    ],
)
def test_a_name_is_made_of_what_tells_the_trials_apart(settings, names):
    configs = [run(**values) for values in settings]
    assert list(names_of(configs)) == [trial_name(config) for config in configs]
    assert list(names_of(configs).values()) == names


def test_of_settings_that_follow_from_each_other_the_first_is_said():
    """A family's method says how it prunes; the criterion need not."""
    command = cli.parse(EXPERIMENTS["pruning_effect"], ["--preset=smoke"])
    names = list(names_of(command.configs, command.columns_of).values())
    assert len(set(names)) == len(names) == 12
    assert names[:2] == ["no label noise, lr_rewind", "no label noise, weight_rewind"]
    assert "15% label noise, snip" in names


@pytest.mark.parametrize("experiment", ["width_scaling", "accuracy_surface"])
def test_widths_and_structures_are_told_apart(experiment):
    command = cli.parse(EXPERIMENTS[experiment], ["--preset=smoke"])
    names = names_of(command.configs, command.columns_of)
    assert len(set(names.values())) == len(command.configs)
    assert not set(names) & set(names.values())
