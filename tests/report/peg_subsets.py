"""Made-up dense trainings on parts of the examples."""

import peg

# Test errors of levels 0 to 6: pruning improves generalization at 1, 2 and 5.
ERRORS = (5.0, 4.5, 4.0, 5.5, 5.2, 4.9, 9.0)


def trunk(seeds=(0, 1, 2), errors=ERRORS, **changes):
    """The same errors for all seeds, moved by 0.1 points a seed, dense networks included."""
    return [
        peg.row("lr_rewind", level, seed, error + 0.1 * seed, experiment="leave_out", **changes)
        for level, error in enumerate(errors)
        for seed in seeds
    ]


def branch(name, errors, level, **changes):
    """Rows of a branch from a level, from {seed: test error}; the networks are dense."""
    changes |= {"branch": name, "sparsity": 0.0, "weights_remaining": 1.0}
    return [
        peg.row("lr_rewind", level, seed, error, experiment="leave_out", **changes)
        for seed, error in errors.items()
    ]


def improved(gaps, **changes):
    """TIE is worse than RND by gaps[level][seed] points."""
    rows = []
    for level, gap in gaps.items():
        rows += branch("rnd", dict.fromkeys(gap, 6.0), level, **changes)
        rows += branch("tie", {seed: 6.0 + value for seed, value in gap.items()}, level, **changes)
    return rows


# Levels 1 and 5 are green, 3 and 6 are not.
GAPS = {
    1: {0: 0.5, 1: 0.7, 2: 0.9},
    3: {0: 9.0, 1: 9.0, 2: 9.0},
    5: {0: 0.3, 1: 0.1, 2: -0.1},
    6: {0: -3.0, 1: 0.0, 2: 3.0},
}


def noisy(**changes):
    """Level 2 is optimal (4.0, 4.1, 4.2); a dense subset there has half the error."""
    changes = {"noise": 0.15} | changes
    rows = trunk(**changes)
    rows += branch("dense_subset", {0: 2.0, 1: 2.1, 2: 2.2}, 2, **changes)
    return rows + branch("dense_subset", {0: 5.0, 1: 4.9, 2: 5.3}, 0, **changes)
