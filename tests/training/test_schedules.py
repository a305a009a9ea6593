"""Learning-rate schedules at known epochs."""

import numpy as np

from tfprune.config import TrainingConfig
from tfprune.training import schedules

CONFIG = TrainingConfig(
    train_epochs=160, learning_rate=0.1, lr_drop_epochs=(80, 120), lr_drop_factor=0.1
)


def test_the_rate_drops_after_each_drop_epoch():
    rates = [schedules.rate_at(CONFIG, epoch) for epoch in (0, 79, 80, 119, 120, 159)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_the_last_rate_is_what_redense_and_finetuning_keep():
    """SDD A.1: LR(re-dense) is 0.001 for ResNet-18 and 0.1 for LeNet."""
    np.testing.assert_allclose(schedules.last_rate(CONFIG), 0.001)
    assert schedules.last_rate(TrainingConfig(train_epochs=200, learning_rate=0.1)) == 0.1


def test_a_schedule_gives_a_rate_per_step():
    np.testing.assert_array_equal(
        schedules.epoch_drops(CONFIG)(80, 3), np.full(3, 0.01, np.float32)
    )
    np.testing.assert_array_equal(schedules.fixed(0.5)(7, 2), np.full(2, 0.5, np.float32))
