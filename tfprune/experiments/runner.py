"""From configs to a finished output folder: the part that all experiments share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from etils import epath

from tfprune import layout
from tfprune.claims import check_cloud, exclusively
from tfprune.door import program
from tfprune.engine import study
from tfprune.engine.events import Tell
from tfprune.engine.executors import Executor, InProcess, OnRay, Processes
from tfprune.engine.naming import names_of
from tfprune.engine.progress import StudyProgress
from tfprune.engine.sharing import places_of, processes_of
from tfprune.engine.start import import_tensorflow
from tfprune.engine.workers import Chief, follow
from tfprune.engine.workshop import Workshop
from tfprune.experiments import dry_run
from tfprune.experiments.command import Command, with_flags
from tfprune.pages import report, tensorboard
from tfprune.report.tables import print_table
from tfprune.stopping import StopSignals
from tfprune.store import check_kinds, mend_results
from tfprune.studies.without_effect import without_effect
from tfprune.training.cluster import worker_of

# A report of 1,596 stages takes minutes, and several commands may wait for it.
_REPORT_TIMEOUT_SECONDS = 3600.0


def run_and_report(
    command: Command,
    further: Callable[[study.StudyEngine], None] = lambda study: None,
) -> int:
    """Trains what is missing, then prints the table and writes figures and report.

    Args:
      command: what was typed.
      further: what the experiment does after the trunks are trained.

    Returns:
      0, or 1 if a trial stopped; the others are reported all the same.
    """
    if command.dry_run:
        return dry_run.show(command, further)
    if not worker_of(command.configs[0]).is_chief:
        return _follow(command)
    spelled = partial(with_flags, flags=command.flags)
    names = names_of(command.configs, command.columns_of)
    with StopSignals() as signals:
        with (
            # TensorFlow's own messages would tear a table.
            StudyProgress(None, command.verbosity >= 1, spelled, names) as progress,
            _executor(command, progress.tell, signals) as executor,
        ):
            work = study.StudyEngine(
                command.configs,
                command.argv,
                progress.tell,
                command.own_columns,
                command.swept,
                command.columns_of,
                executor,
                command.check,
            )
            for sentence in without_effect(command.configs, command.options, command.given):
                progress.tell(sentence)
            work.train_trunks()
            further(work)
        _show_results(command, work)
    return 1 if work.failures else 0


def _show_results(command: Command, work: study.StudyEngine) -> None:
    """The table and the report of what is there, and how much was trained."""
    config = command.configs[0]
    if config.shard_of[1] > 1:
        print(f"shard {config.shard} is done: {program()} report --output_dir={config.output_dir}")
    elif any(stage.is_done for trial in work.trials for stage in trial.stages()):
        show(config.output_dir, config.experiment, config.figure_format)
    print(f"{work.trained} stages trained, {work.reused} reused")
    for failure in work.failures:
        failure = with_flags(failure, command.flags)
        print(f"tfprune: trial stopped: {failure}", file=sys.stderr)


def _executor(command: Command, tell: Tell, signals: StopSignals) -> Executor:
    config = command.configs[0]
    before_training = partial(import_tensorflow, command.verbosity, config.compilation_cache)
    places = places_of(command.configs)
    if config.executor == "ray":
        return OnRay(config, command.argv, tell, before_training, places)
    processes = processes_of(command.configs)
    if processes > 1:
        return Processes(processes, command.argv, tell, before_training, places)
    workshop = Workshop(command.argv, tell, before_training, signals, stack=places)
    return Chief(workshop, config) if config.strategy == "multi_worker" else InProcess(workshop)


def _follow(command: Command) -> int:
    """What a process does that shares the chief's trainings; see `tfprune.engine.workers`."""
    before_training = partial(
        import_tensorflow, command.verbosity, command.configs[0].compilation_cache
    )
    names = names_of(command.configs, command.columns_of)
    with StopSignals(raises=False) as signals, StudyProgress(lines=True, names=names) as progress:
        workshop = Workshop(command.argv, progress.tell, before_training, signals)
        follow(workshop, command.configs[0])
    print("the chief has written the results")
    return 0


def show(output_dir: str, only: str | None = None, formats: Sequence[str] = ()) -> None:
    """Rebuilds every table, figure and the report of a folder, and says where they are.

    Args:
      output_dir: the folder.
      only: the experiment whose tables are printed; None prints all.
      formats: of figures, beside png.
    """
    check_cloud(output_dir)
    check_kinds(output_dir)
    mended = mend_results(output_dir)
    if mended:
        _say(mended)
    # Of commands that end together, who reads results.csv last must write last.
    with _claimed(epath.Path(output_dir)):
        built = report.build_report(output_dir, formats, _say)
        overview = tensorboard.publish(output_dir)
    for experiment, tables in built.tables.items():
        for table in tables if only in (None, experiment) else ():
            print_table(table)
    print(f"report       {built.file}")
    print(f"figures      {output_dir}/{layout.FIGURES}/")
    print(f"results      {output_dir}/{layout.RESULTS}")
    print("TensorBoard  " + "\n             ".join(tensorboard.how_to_open(output_dir, overview)))


def _claimed(folder: epath.Path) -> AbstractContextManager[None]:
    """The claim on a folder's report; nothing where there is nothing to report, and to write."""
    if not (folder / layout.RESULTS).exists():
        return nullcontext()
    lock = folder / layout.claim_file(layout.REPORT)
    waiting = f"another process makes the report of {folder}: waiting for it"
    return exclusively(lock, _REPORT_TIMEOUT_SECONDS, lambda: _say(waiting))


def _say(sentence: str) -> None:
    print(f"tfprune: {sentence}", file=sys.stderr)
