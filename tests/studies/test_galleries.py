"""Which levels choose the examples of a gallery (PEG K.1)."""

import numpy as np
import pytest

from tfprune.studies.examples import gallery_levels

# Test error of dense 10%, then better, better, alike, 1.5 points worse, 5 points worse.
ERROR = np.array([0.10, 0.08, 0.09, 0.10, 0.115, 0.15])
# Training loss of dense 1, then lower, higher, higher, higher, higher.
LOSS = np.array([1.0, 0.5, 1.5, 1.6, 2.0, 3.0])


def curves(error=ERROR, loss=LOSS, error_noise=0.0):
    signs = np.array([[-1.0], [1.0]]) * (-1.0) ** np.arange(error.size)
    return {"test_error": error + error_noise * signs, "train_loss": np.stack([loss] * 2)}


@pytest.mark.parametrize(
    ("kind", "levels"),
    [("most_worsened", [2]), ("most_improved", [1]), ("least_affected", [1, 2, 3, 4])],
)
def test_each_kind_has_the_levels_of_peg_k1(kind, levels):
    assert gallery_levels(kind, curves()) == levels
    one_seed = {name: values[:1] for name, values in curves().items()}
    assert gallery_levels(kind, one_seed) == levels


def test_where_no_level_fits_worse_and_generalizes_better_close_ones_are_the_most_worsened():
    error = np.maximum(ERROR, 0.10)
    assert gallery_levels("most_worsened", curves(error)) == [2, 3, 4]
    assert gallery_levels("most_improved", curves(error)) == []


def test_a_level_that_is_better_by_noise_alone_is_not_better():
    # The seeds differ by 4 * 0.01 at odd levels: a std of 0.028 against the 0.02 of level 1.
    noisy = curves(error_noise=0.01)
    assert gallery_levels("most_improved", noisy) == []
    assert gallery_levels("most_worsened", noisy) == [2]  # Even levels shift with the dense one.
