"""Learning distance: does staying near the initialization explain robustness to label noise?

Reproduces SDD figure 7: the L2 distance from initialization and the test accuracy of sparse
(dashed) and re-dense (solid) networks against sparsity, where the two cross, and the correlation
of distance and accuracy.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from experiments import cli
from tfprune.config import BranchConfig

EXPERIMENT = cli.Experiment("learning_distance", str(__doc__), (BranchConfig,))


def main(argv: Sequence[str]) -> int:
    """Runs the study and writes its tables, figures and report; returns the exit code."""
    command = cli.parse(EXPERIMENT, argv)
    if command is None:
        return 0
    from experiments.runner import run_and_report  # Slow to import: not for help and errors.
    from tfprune.studies import branches
    from tfprune.studies.study import Study

    (branch,) = command.options
    for config in command.configs:
        branches.check_levels(branch, config)

    def further(study: Study) -> None:
        levels = branches.levels(branch, study.trials)
        study.train_branches(lambda config: branches.redense(config, branch), levels)

    return run_and_report(command, {}, further)


if __name__ == "__main__":
    sys.exit(cli.exit_code(lambda: main(sys.argv[1:])))
