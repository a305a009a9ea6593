"""From configs to a finished output folder: the part that all experiments share."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tfprune.config import RunConfig
from tfprune.results import layout, report
from tfprune.results.store import read_results
from tfprune.results.tables import print_table
from tfprune.studies import study
from tfprune.studies.progress import StudyProgress


def run_and_report(
    configs: Sequence[RunConfig], argv: Sequence[str], own_columns: Mapping[str, Any]
) -> int:
    """Trains what is missing, then prints the table and writes figures and report.

    Returns:
      0, or 1 if a trial stopped; the others are reported all the same.
    """
    missing = [
        trial
        for trial in study.trials(configs)
        for stage in trial.stages()
        if not stage.is_done
    ]
    epochs = sum(trial.config.training.train_epochs for trial in missing)
    with StudyProgress(len(missing), epochs) as progress:
        outcome = study.run(configs, argv, progress, own_columns)
    show(configs[0].output_dir)
    print(f"{outcome.trained} stages trained, {outcome.reused} reused")
    for failure in outcome.failures:
        print(f"tfprune: trial stopped: {failure}", file=sys.stderr)
    return 1 if outcome.failures else 0


def show(output_dir: str) -> None:
    """Rebuilds every table, figure and the report of a folder, and says where they are."""
    results = read_results(output_dir)
    report_file = report.build_report(output_dir)
    for experiment in results["experiment"].unique():
        for table in report.build_tables(results, experiment):
            print_table(table)
    print(f"report       {report_file}")
    print(f"figures      {output_dir}/{layout.FIGURES}/")
    print(f"results      {output_dir}/{layout.RESULTS}")
    print(f"TensorBoard  tensorboard --logdir {output_dir}/{layout.TENSORBOARD}")
