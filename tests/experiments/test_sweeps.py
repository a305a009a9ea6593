"""Sweeps: the product of values, refused in one line where it makes no sense."""

import pytest

from tfprune.config import from_settings
from tfprune.errors import InputError
from tfprune.experiments import sweeps

BASE = from_settings({"label_noise": "symmetric", "noise_fraction": 0.4}, experiment="e")


def test_the_product_of_the_values_in_order():
    sweep = sweeps.parse(["criterion=magnitude,random", "noise_fraction=0.2,0.4"])
    found = [
        (config.pruning.criterion, config.data.noise_fraction)
        for config in sweeps.configs(BASE, sweep)
    ]
    assert found == [("magnitude", 0.2), ("magnitude", 0.4), ("random", 0.2), ("random", 0.4)]


def test_no_sweep_is_the_run_itself():
    assert sweeps.configs(BASE, {}) == [BASE]


def test_values_are_of_the_fields_type():
    sweep = sweeps.parse(["train_epochs=2,3", "width=0.5,1", "lr_drop_epochs=80+120,60"])
    assert sweep == {
        "train_epochs": (2, 3),
        "width": (0.5, 1.0),
        "lr_drop_epochs": ((80, 120), (60,)),
    }


def test_two_sweeps_of_a_field_are_refused():
    with pytest.raises(InputError, match=r"sweep=criterion=magnitude: .*another of criterion"):
        sweeps.parse(["criterion=random,snip", "criterion=magnitude"])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("criterium=random", ["sweep=criterium=random", "did you mean criterion"]),
        ("criterion", ["sweep=criterion", "FIELD=VALUE"]),
        ("criterion=", ["sweep=criterion="]),
        ("batch_size=2,x", ["sweep=batch_size=2,x", "'x'"]),
        ("batch_size=2,2", ["sweep=batch_size=2,2", "different"]),
        ("levels=2,3", ["sweep=levels=2,3", "no such field"]),
        ("output_dir=a,b", ["sweep=output_dir=a,b"]),
    ],
)
def test_what_is_no_sweep_is_refused_by_name(text, parts):
    with pytest.raises(InputError) as error:
        sweeps.parse([text])
    assert all(part in str(error.value) for part in parts)


def test_a_value_that_is_not_allowed_names_the_sweep_and_what_is():
    with pytest.raises(InputError, match=r"--sweep criterion=magic: .*allowed: magnitude"):
        sweeps.configs(BASE, sweeps.parse(["criterion=random,magic"]))


def test_a_sweep_over_noise_may_have_none():
    found = sweeps.configs(BASE, sweeps.parse(["label_noise=symmetric,none"]))
    assert [config.data.noise_fraction for config in found] == [0.4, 0.0]


def test_values_that_do_not_go_together_are_refused():
    sweep = sweeps.parse(["label_noise=none", "noise_fraction=0.2"])
    with pytest.raises(InputError, match=r"--sweep label_noise=none .*`noise_fraction=0.2`"):
        sweeps.configs(BASE, sweep)
