"""Learning-rate schedules at known epochs and steps."""

import numpy as np
import pytest

from tfprune.catalog import RETRAINING
from tfprune.errors import SettingError
from tfprune.pruning.settings import PruningConfig
from tfprune.training import schedules
from tfprune.training.settings import TrainingConfig

CONFIG = TrainingConfig(
    train_epochs=160, learning_rate=0.1, lr_drop_epochs=(80, 120), lr_drop_factor=0.1
)


def rates_of(config, steps):
    """The rates of every step of a training."""
    schedule = schedules.training_schedule(config)
    rates = [schedule(epoch, steps) for epoch in range(config.train_epochs)]
    assert {rate.dtype.name for rate in rates} == {"float32"}
    return np.concatenate(rates)


def test_the_rate_drops_after_each_drop_epoch():
    rates = rates_of(CONFIG, steps=3).reshape(160, 3)
    wanted = np.array([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    np.testing.assert_allclose(rates[[0, 79, 80, 119, 120, 159]], wanted[:, None] * [1, 1, 1])


def test_warm_up_is_open_lths():
    """`min(1, step / warm-up steps)` times the drops: ImageNet's five epochs, of 4 steps here."""
    config = TrainingConfig(
        train_epochs=90, learning_rate=0.3, lr_drop_epochs=(30, 60, 80), warmup_epochs=5
    )
    rates = rates_of(config, steps=4)
    np.testing.assert_allclose(rates[:20], 0.3 * np.arange(20) / 20, rtol=1e-6)
    np.testing.assert_allclose(
        rates[[20, 119, 120, 240, 320, 359]] / 0.3, [1, 1, 0.1, 0.01, 0.001, 0.001], rtol=1e-6
    )


def test_drops_inside_the_warm_up_multiply_it():
    config = TrainingConfig(train_epochs=4, learning_rate=1.0, lr_drop_epochs=(1,), warmup_epochs=2)
    np.testing.assert_allclose(
        rates_of(config, steps=2), [0, 0.25, 0.05, 0.075, 0.1, 0.1, 0.1, 0.1], rtol=1e-6
    )


def test_cosine_goes_from_the_whole_rate_to_nothing():
    rates = rates_of(TrainingConfig(train_epochs=4, learning_rate=0.2, lr_decay="cosine"), steps=2)
    half, quarter = 0.1, 0.1 * np.sqrt(0.5)
    assert rates[0] == np.float32(0.2)
    np.testing.assert_allclose(rates[[2, 4, 6]], [half + quarter, half, half - quarter], rtol=1e-6)
    assert 0 < rates[-1] < rates[-2] / 3


def test_cosine_begins_at_the_end_of_the_warm_up():
    config = TrainingConfig(train_epochs=5, learning_rate=0.2, lr_decay="cosine", warmup_epochs=1)
    plain = rates_of(TrainingConfig(train_epochs=4, learning_rate=0.2, lr_decay="cosine"), steps=2)
    np.testing.assert_allclose(rates_of(config, steps=2), [0, 0.1, *plain], rtol=1e-6)


def test_finetuning_keeps_the_last_rate_unless_it_has_its_own():
    """SDD A.1: LR(re-dense) is 0.001 for ResNet-18 and 0.1 for LeNet."""
    lenet = TrainingConfig(train_epochs=200, learning_rate=0.1)
    for training, rate in ((CONFIG, 0.001), (lenet, 0.1)):
        rates = schedules.finetuning(training, PruningConfig())
        assert rates(0, 1) == rates(training.train_epochs - 1, 1) == np.float32(rate)
    own = PruningConfig(finetune_lr=0.5)
    assert schedules.finetuning(TrainingConfig(lr_decay="cosine"), own)(0, 1) == 0.5
    with pytest.raises(SettingError, match=r"finetune_lr=0\.0: a rate above 0"):
        schedules.finetuning(TrainingConfig(lr_decay="cosine"), PruningConfig())


@pytest.mark.parametrize("retrain", [name for name in RETRAINING if name != "finetune"])
def test_the_other_retrainings_have_the_trainings_own_schedule(retrain):
    pruning = PruningConfig(retrain=retrain)
    for epoch in range(CONFIG.train_epochs):
        np.testing.assert_array_equal(
            schedules.retraining_schedule(CONFIG, pruning)(epoch, 2),
            schedules.training_schedule(CONFIG)(epoch, 2),
        )


def test_a_fixed_schedule_gives_the_same_rate_per_step():
    np.testing.assert_array_equal(schedules.fixed(0.5)(7, 2), np.full(2, 0.5, np.float32))
