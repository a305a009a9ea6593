"""Made-up losses and EL2N scores of training examples."""

import numpy as np
import peg

from tfprune import files

# Of 100 examples each seed trains on 80: four in each of 20 groups.
N, TRAINED = 100, 80
# Test errors of levels 0 to 4: level 2 is optimal, level 3 still beats dense.
ERRORS = (5.0, 4.5, 4.0, 4.8, 9.0)


def indices(seed):
    return np.sort(np.random.default_rng(seed).permutation(N)[:TRAINED])


def scores(seed):
    """Each seed ranks the examples in its own way."""
    return np.random.default_rng([seed, 1]).permutation(TRAINED) / TRAINED


def by_group(level, seed):
    """From -0.05 to 0.14 nats a level, by EL2N group; seeds are 0.001 apart."""
    return level * (0.01 * np.arange(20) - 0.05) + 0.001 * (seed - 1)


def dense_losses(seed):
    return np.linspace(0.5, 2, N)[indices(seed)]


def grouped(level, seed):
    """Losses after: the example of rank r is in group r // 4."""
    rank = np.argsort(np.argsort(scores(seed)))
    return dense_losses(seed) + (by_group(level, seed)[rank // 4] if level else 0)


def save(folder, row, losses):
    """Writes the files of a row and names them in it."""
    seed = row["seed"]
    row |= {"experiment": "example_effects", "examples": f"{row['stage']}/examples.npz", "el2n": ""}
    where = indices(seed)
    files.save_arrays(folder / row["examples"], {"indices": where, "losses": losses})
    if row["level"] == 0:
        row["el2n"] = f"{row['stage']}/el2n.npz"
        # In another order than the losses: examples are matched by index.
        arrays = {"values": scores(seed)[::-1], "indices": where[::-1]}
        files.save_arrays(folder / row["el2n"], arrays)
    return row


def trunk(folder, method="lr_rewind", seeds=(0, 1, 2), errors=ERRORS, noise=0.0):
    return [
        save(folder, peg.row(method, level, seed, error, None, noise), grouped(level, seed))
        for level, error in enumerate(errors)
        for seed in seeds
    ]


# ---------------------------------------------------------------- table 3
# 10% of 80 examples are 8; rows 40-47 by one method, 44-51 by the other: 4 of 12 in common.
ONE_SHOT, WIDTH = slice(40, 48), slice(44, 52)


def affecting(seed, rows, size):
    losses = dense_losses(seed)
    losses[rows] += size
    return losses


def matched(folder, seeds=(0, 1, 2)):
    """One-shot levels 1 and 2, of which 2 is better; widths 1 and 0.8, of which 0.8 is better."""
    made = trunk(folder, errors=(5.0,), seeds=seeds)
    for seed in seeds:
        made += [
            save(folder, peg.row("one_shot", 0, seed, 5.0), dense_losses(seed)),
            save(folder, peg.row("one_shot", 1, seed, 5.5), affecting(seed, slice(0, 8), 1.0)),
            # A fall of the loss affects an example as a rise does.
            save(folder, peg.row("one_shot", 2, seed, 5.2), affecting(seed, ONE_SHOT, -0.4)),
            save(folder, peg.row("width_matched", 1, seed, 8.0), affecting(seed, ONE_SHOT, 9.0)),
            save(folder, peg.row("width_matched", 0, seed, 7.0, width=0.8), dense_losses(seed) + 9),
            save(folder, peg.row("width_matched", 1, seed, 6.0, width=0.8),
                 affecting(seed, WIDTH, 0.3)),
        ]  # fmt: skip
    return made
