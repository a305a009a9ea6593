"""Re-dense training: do highly sparse solutions sit in flat basins?

Reproduces SDD figures 4, 11 and 13 (accuracy through sparse and re-dense training), 5 and 14
(linear interpolation from sparse to re-dense solutions) and 6 (sharpness of re-dense minima by
the sparsity they came from). Masks are lifted at some levels of the trunk, pruned weights start
again at 0, and the whole network trains on at the last learning rate.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from experiments import cli
from tfprune.config import BranchConfig, LandscapeConfig

EXPERIMENT = cli.Experiment("redense", str(__doc__), (BranchConfig, LandscapeConfig))


def main(argv: Sequence[str]) -> int:
    """Runs the study and writes its tables, figures and report; returns the exit code."""
    command = cli.parse(EXPERIMENT, argv)
    if command is None:
        return 0
    from experiments.runner import run_and_report  # Slow to import: not for help and errors.
    from tfprune.studies import branches, landscapes
    from tfprune.studies.study import Study

    branch, landscape = command.options
    for config in command.configs:
        branches.check_levels(branch, config)

    def further(study: Study) -> None:
        levels = branches.levels(branch, study.trials)
        if any(0 in chosen for chosen in levels.values()):
            study.note("re-dense training from level 0 is a control: a dense network trained on")
        ends = study.train_branches(lambda config: branches.redense(config, branch), levels)
        study.measure(landscapes.interpolation(landscape), ends)
        dense = {trial: [trial.stage(0)] for trial in ends}
        minima = {trial: [*dense[trial], *stages] for trial, stages in ends.items()}
        study.measure(landscapes.line(landscape), minima)
        if landscape.surface_points:
            study.measure(landscapes.surface(landscape), minima)

    return run_and_report(command, {}, further)


if __name__ == "__main__":
    sys.exit(cli.exit_code(lambda: main(sys.argv[1:])))
