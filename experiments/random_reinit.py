"""Random reinitialization: may random weights beat the winning ticket under the same mask?

Reproduces the poster of SDD: at every sparsity, the lottery ticket (weights rewound) against the
same mask with fresh random weights, both trained for the whole schedule.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from experiments import cli
from tfprune.config import BranchConfig

EXPERIMENT = cli.Experiment("random_reinit", str(__doc__), (BranchConfig,))


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
        study.train_branches(branches.reinit, branches.levels(branch, study.trials))

    return run_and_report(command, {}, further)


if __name__ == "__main__":
    sys.exit(cli.exit_code(lambda: main(sys.argv[1:])))
