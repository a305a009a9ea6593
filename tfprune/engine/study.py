"""A whole study: every stage of every trial that is not done yet, then its rows of results.csv.

Nothing here imports TensorFlow until there is something to train.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING, Any

from tfprune.claims import check_cloud
from tfprune.config import RunConfig
from tfprune.engine.events import Happened, StageEvent, Tell
from tfprune.engine.executors import Executor, InProcess, explained
from tfprune.engine.folders import check_folders, set_aside_configs, without_config
from tfprune.engine.work import (
    Check,
    Columns,
    Describe,
    Measure,
    Outcome,
    Train,
    Work,
    set_aside_damaged,
    write_rows,
)
from tfprune.engine.workshop import Workshop
from tfprune.files import check_writable, set_aside
from tfprune.store import KEY_COLUMNS, check_kinds, keep_aside, mend_results, read_results
from tfprune.studies.forgetting import keep_rows_before
from tfprune.studies.procedure import Branch, Measurement, trunk
from tfprune.studies.trial import Stage, Trial

if TYPE_CHECKING:
    from tfprune.studies.iterative import PruneRetrain

# The settings that tell apart the trials a folder usually holds.
DESCRIBING = ("dataset", "label_noise", "noise_fraction", "model", "criterion", "retrain")

# How often to look again whether another process has finished what this one waits for.
_POLL_SECONDS = 1.0


class StudyEngine:
    """Trains what is missing of some trials, their branches and measurements.

    Several processes may run the same study, or studies that share stages: each stage is trained
    by one of them, and the others take the next or wait.

    Args:
      configs: one per trial name; they share the output folder.
      argv: the command, for config.json.
      tell: takes what happens to stages, and sentences for the user.
      own_columns: the experiment's own columns of results.csv, the same for every row.
      varying: settings written as columns of results.csv.
      columns_of: further columns of results.csv, by the trial's name.
      executor: carries out the work; by default this process does.
      check: refuses, besides what is always refused, what a trial's data or model do not allow.
    """

    def __init__(
        self,
        configs: Sequence[RunConfig],
        argv: Sequence[str],
        tell: Tell,
        own_columns: Mapping[str, Any] | None = None,
        varying: Sequence[str] = DESCRIBING,
        columns_of: Mapping[str, Mapping[str, Any]] | None = None,
        executor: Executor | None = None,
        check: Callable[[PruneRetrain], None] | None = None,
    ):
        self.all_trials = [Trial(config, seed) for config in configs for seed in config.seeds]
        shard, shards = configs[0].shard_of
        self.trials = self.all_trials[shard::shards]
        self.trained = 0
        self.reused = 0
        self.failures: list[str] = []
        self._stopped: set[tuple[str, int]] = set()
        self._checked: set[str] = set()
        # What was trained, so that a stage found damaged later can be trained again.
        self._branches: dict[Trial, list[tuple[Branch, tuple[Stage, ...]]]] = defaultdict(list)
        self._tell = tell
        self._also_check = check
        settings = tuple(dict.fromkeys((*DESCRIBING, *varying)))
        self._columns = Columns(dict(own_columns or {}), settings, dict(columns_of or {}))
        self._executor = executor or InProcess(Workshop(argv, tell))

    def train_trunks(self) -> None:
        """Trains every missing level of every trial, a row of results.csv for each.

        Raises:
          InputError: something cannot be trained as asked; nothing was written.
        """
        plan = {trial: (trunk(trial.config), trial.stages()) for trial in self.trials}
        check_cloud(self.trials[0].output_dir)
        for trial in self.trials:
            check_writable(trial.output_dir)
        check_kinds(self.trials[0].output_dir)
        check_folders(self.trials)
        self._missing_of(plan)  # Their rows are shown while data are read and networks built.
        self._check(trial for trial in self.trials if not trial.is_finished())
        for sentence in (*set_aside_configs(self.trials), mend_results(self.trials[0].output_dir)):
            if sentence:
                self.note(sentence)
        self._give([Describe(*lost) for lost in without_config(self.trials).values()])
        self.train(plan)

    def train_branches(
        self, branch_of: Callable[[RunConfig], Branch], levels: Mapping[str, Sequence[int]]
    ) -> dict[Trial, list[Stage]]:
        """Trains a branch from these levels of every trial that was not stopped.

        Args:
          branch_of: the branch of a trial's settings.
          levels: by trial name.

        Returns:
          The finished stages of each trial.
        """
        plan = {}
        for trial in self.trials:
            branch = branch_of(trial.config)
            stages = [
                trial.branch_stage(branch.name, n, branch.variant) for n in levels[trial.name]
            ]
            plan[trial] = (branch, stages)
        return self.train(plan)

    def train(
        self, plan: Mapping[Trial, tuple[Branch, Sequence[Stage]]]
    ) -> dict[Trial, list[Stage]]:
        """Trains what is missing of some stages, in order; trials that were stopped are left out.

        Args:
          plan: by trial, what to train and its stages.

        Returns:
          The finished stages of each trial.
        """
        plan = {trial: work for trial, work in plan.items() if not self._is_stopped(trial)}
        self._train(plan)
        return {trial: [s for s in stages if s.is_done] for trial, (_, stages) in plan.items()}

    def measure(self, measurement: Measurement, stages: Mapping[Trial, Sequence[Stage]]) -> None:
        """Measures finished stages, and adds the columns to their rows."""
        for those in stages.values():
            for stage in those:
                damage = measurement.damage(stage)
                if damage:
                    self.note(f"{stage.relative}: {damage}: {measurement.name} is measured again")
                    set_aside(measurement.file(stage, "json"))
        self._carry_out(
            Measure(trial, tuple(those), measurement, self._columns, tuple(self._branches[trial]))
            for trial, those in stages.items()
            if not all(measurement.is_done(stage) for stage in those)
        )
        kept = 0
        for trial, those in stages.items():
            done = [stage for stage in those if measurement.is_done(stage)]
            kept += self._keep_other_options(trial, measurement, done)
            write_rows(trial, done, self._columns, [measurement])
        self.note_kept(kept)

    def _keep_other_options(
        self, trial: Trial, measurement: Measurement, stages: Sequence[Stage]
    ) -> int:
        """Puts aside what the trial's rows say of the measurement with other options than these.

        One table and figure must not mix them. Returns how many rows that were.
        """
        if not stages:
            return 0
        file, columns = measurement.table(stages[0]).name, measurement.result(stages[0])
        results = read_results(trial.output_dir)
        if measurement.name not in results:
            return 0
        there = results[measurement.name].fillna("").astype(str)
        other = (there != "") & ~there.str.endswith(file)
        mine = (results["experiment"] == trial.config.experiment) & (results["trial"] == trial.name)
        keys = results.loc[other & mine, list(KEY_COLUMNS)].to_dict("records")
        return keep_aside(trial.output_dir, keys, tuple(columns))

    def note_kept(self, rows: int) -> None:
        """Tells the user of rows of other settings that these take the place of."""
        if rows:
            self.note(
                f"{rows} row{'s' * (rows > 1)} of other settings than these stay in results.csv, "
                "told apart by the column variant"
            )

    def note(self, text: str) -> None:
        """Tells the user one sentence."""
        self._tell(text)

    def is_finished(self, name: str) -> bool:
        """Whether the trunks of all seeds of a trial are trained, or stopped here."""
        return all(
            self._is_stopped(trial) or trial.is_finished()
            for trial in self.all_trials
            if trial.name == name
        )

    def _train(self, plan: Mapping[Trial, tuple[Branch, Sequence[Stage]]]) -> None:
        """Trains what is missing, and writes the rows of what was there."""
        every = {stage.relative: stage for _, stages in plan.values() for stage in stages}
        for sentence in set_aside_damaged(every.values()):
            self.note(sentence)
        missing = self._missing_of(plan)
        for there in every.keys() - missing:  # Killed between its result and their removal.
            every[there].forget_checkpoints()
        for trial, (branch, stages) in plan.items():
            self._branches[trial].append((branch, tuple(stages)))
        self.note_kept(
            keep_rows_before((t, stage) for t, (_, stages) in plan.items() for stage in stages)
        )
        self.reused += len(every) - len(missing)
        self._carry_out(
            Train(trial, tuple(those), branch, self._columns)
            for trial, (branch, stages) in plan.items()
            for those in ([stages] if branch.is_chain else [[stage] for stage in stages])
            if any(stage.relative in missing for stage in those)
        )
        for trial, (_, stages) in plan.items():
            write_rows(trial, stages, self._columns)

    def _missing_of(self, plan: Mapping[Trial, tuple[Branch, Sequence[Stage]]]) -> set[str]:
        """The folders of the stages that are to be trained; tells of all stages."""
        missing = set()
        for trial, (branch, stages) in plan.items():
            for stage in stages:
                what = Happened.FOUND if stage.is_done else Happened.PLANNED
                self._tell(StageEvent(what, trial, stage, branch.epochs))
                if what is Happened.PLANNED:
                    missing.add(stage.relative)
        return missing

    def _check(self, trials: Iterable[Trial]) -> None:
        """Refuses what cannot be trained or measured, once per configuration, before any of it."""
        first: dict[str, Trial] = {}
        for trial in trials:
            if trial.name not in self._checked:
                first.setdefault(trial.name, trial)
        self._checked |= set(first)
        if first:
            self._give([Check(trial, self._also_check) for trial in first.values()])

    def _carry_out(self, works: Iterable[Train | Measure]) -> None:
        """Carries out all work; of a finished trunk this is the first that there is to check."""
        works = list(works)
        self._check(work.trial for work in works)
        self._give(works)

    def _give(self, works: Sequence[Work]) -> None:
        """Gives all work to the executor, and again what another process's claim blocked."""
        waiting = list(works)
        running: dict[Future[Outcome], Work] = {}
        told = ""
        while waiting or running:
            running |= dict(zip(self._executor.submit(waiting), waiting, strict=True))
            waiting, blocks, progressed = [], [], False
            # While something is blocked, others must not keep it from being tried again.
            until: float | None = None
            while running and not progressed:
                pause = None if until is None else max(0.0, until - time.monotonic())
                done, _ = wait(running, timeout=pause, return_when=FIRST_COMPLETED)
                if not done:
                    break
                for future in done:
                    work, outcome = running.pop(future), explained(future)
                    self._take(work, outcome)
                    progressed |= not outcome.blocked or outcome.trained > 0
                    if outcome.blocked:
                        waiting.append(work)
                        blocks.append(outcome.blocked)
                        until = until or time.monotonic() + _POLL_SECONDS
            if waiting and not running and not progressed:
                if blocks[0] != told:
                    told = blocks[0]
                    self.note(f"waiting for another process to finish {told}")
                time.sleep(_POLL_SECONDS)

    def _take(self, work: Work, outcome: Outcome) -> None:
        self.trained += outcome.trained
        if outcome.note:
            self.note(outcome.note)
        if outcome.failure:
            self._stopped.add((work.trial.name, work.trial.seed))
            self.failures.append(outcome.failure)
            self.note(f"stopped: {outcome.failure}")

    def _is_stopped(self, trial: Trial) -> bool:
        return (trial.name, trial.seed) in self._stopped
