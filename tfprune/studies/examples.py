"""What pruning does to single examples: EL2N scores, losses of all examples, galleries (PEG 3)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath

from tfprune.config import RunConfig
from tfprune.errors import SettingError
from tfprune.files import load_arrays, save_arrays
from tfprune.seeds import LevelDraw
from tfprune.settings import join
from tfprune.studies.procedure import Advance, Branch, Measurement, Passes, Study
from tfprune.studies.settings import ScoresConfig, at_noise
from tfprune.studies.trial import Row, Stage, Trial

if TYPE_CHECKING:
    from tfprune.studies.iterative import PruneRetrain


def losses() -> Measurement:
    """The loss and the prediction of every training example, at the end of a stage (PEG 3)."""
    return Measurement("examples", {}, _measure_losses, suffix="npz", passes=Passes(train=1))


def read_losses(stage: Stage) -> dict[str, np.ndarray]:
    """What `losses` measured: `indices`, `losses`, `predictions`, `labels`, `original_labels`,
    `selected`, each [examples]."""
    return load_arrays(losses().table(stage))


def _measure_losses(loop: PruneRetrain, stage: Stage, table: epath.Path) -> Row:
    from tfprune.measures.example_groups import example_losses
    from tfprune.training.evaluating import train_logits

    logits = train_logits(loop.trainer, loop.data, stage.end(), stage.masks())
    save_arrays(
        table,
        {
            "indices": loop.data.indices,
            "losses": example_losses(logits, loop.data.labels).astype(np.float32),
            "predictions": logits.argmax(axis=1).astype(np.int32),
            "labels": loop.data.labels,
            "original_labels": loop.data.original_labels,
            "selected": loop.data.selected,
        },
    )
    return {}


def train_el2n(study: Study, options: ScoresConfig, trials: Sequence[Trial]) -> None:
    """Trains the networks that EL2N scores come from, and measures the scores (PEG B.3).

    Each trial has networks of its own: they see its labels and its training examples, and differ
    in initialization and order. Trials of one dense network share them.

    Args:
      study: its trunks are trained.
      options: how many networks, and how far they are trained.
      trials: those of the study that have scores. Narrower networks need none: every change is
        against the standard dense network, whose scores group the examples.
    """
    plan = {}
    for trial in trials:
        branch = _el2n_branch(trial.config, options)
        stages = [trial.dense_stage(branch.name, n) for n in range(options.el2n_models)]
        plan[trial] = (branch, stages)
    trained = study.train(plan)
    complete = [trial for trial, done in trained.items() if len(done) == options.el2n_models]
    study.measure(_el2n_scores(options), {trial: [trial.stage(0)] for trial in complete})


def _el2n_branch(config: RunConfig, options: ScoresConfig) -> Branch:
    from tfprune.measures.example_groups import partial_epochs

    epochs = partial_epochs(config.training.train_epochs, options.el2n_percent)
    name = f"el2n{options.el2n_percent:g}"
    return Branch(name, epochs, partial(_train_part, epochs=epochs))


def _train_part(loop: PruneRetrain, stage: Stage, advance: Advance, epochs: int) -> None:
    draw = LevelDraw.EL2N.at(stage.level)
    initial = loop.trainer.initial_weights(stage.seed, draw)
    plan = loop.plan(
        f"network {stage.level} of EL2N",
        initial,
        loop.trainer.dense_masks,
        level=draw,
        epochs=epochs,
    )
    loop.train(stage, plan, advance)


def _el2n_scores(options: ScoresConfig) -> Measurement:
    used = {"el2n_models": options.el2n_models, "el2n_percent": options.el2n_percent}
    measure = partial(_measure_el2n, options=options)
    passes = Passes(train=options.el2n_models)
    return Measurement("el2n", used, measure, suffix="npz", passes=passes)


def _measure_el2n(
    loop: PruneRetrain, stage: Stage, table: epath.Path, options: ScoresConfig
) -> Row:
    from tfprune.measures.el2n import mean_el2n
    from tfprune.training.evaluating import train_logits

    branch = _el2n_branch(loop.config, options)

    def logits() -> Iterator[np.ndarray]:
        for number in range(options.el2n_models):
            end = loop.trial.dense_stage(branch.name, number).end()
            yield train_logits(loop.trainer, loop.data, end, loop.trainer.dense_masks)

    about = {
        "dataset": loop.config.data.dataset,
        "model": loop.config.model.model,
        "models": options.el2n_models,
        "epochs": branch.epochs,
        "seed": stage.seed,
    }
    arrays = {
        "values": mean_el2n(logits(), loop.data.labels),
        "indices": loop.data.indices,
        "metadata": np.array(json.dumps(about, sort_keys=True)),
    }
    save_arrays(table, arrays)
    return {}


def check_galleries(loop: PruneRetrain, options: tuple[Any, ...]) -> None:
    """Refuses, before anything is trained, families that no gallery is drawn of (PEG K.1).

    `options` begins with a FamilyConfig.
    """
    methods = at_noise(options[0].methods, loop.config.data.noise_fraction)
    if set(methods) - {"lr_rewind"}:
        allowed = "lr_rewind: the galleries are of learning-rate rewinding alone, as the paper's"
        raise SettingError("methods", join(methods), allowed)


def measure_galleries(study: Study, options: ScoresConfig) -> None:
    """The examples that pruning affects most and least, of each trial's first seed (PEG K.1).

    Their losses are means over seeds, and the levels to average over are chosen by all. Of a study
    in shards, the one that ends last measures.
    """
    for name in dict.fromkeys(trial.name for trial in study.trials):
        whole = measured_seeds(study, name)
        if whole:
            measurement = gallery(options, tuple(trial.seed for trial in whole))
            study.measure(measurement, {whole[0]: [whole[0].stage(0)]})


def measured_seeds(study: Study, name: str) -> list[Trial]:
    """The seeds of a trial whose losses are all measured; a note and none while some may yet be.

    Those that stopped here are left out.
    """
    seeds = [trial for trial in study.all_trials if trial.name == name]
    finished = [trial for trial in seeds if trial.is_finished()]
    if study.is_finished(name) and all(_is_measured(trial) for trial in finished):
        return finished
    study.note(
        f"{name}: what follows is of all seeds, and other shards are not done; run the same "
        "command again when they are"
    )
    return []


def _is_measured(trial: Trial) -> bool:
    return all(losses().is_done(stage) for stage in trial.stages())


def gallery(options: ScoresConfig, seeds: tuple[int, ...]) -> Measurement:
    """Images, labels and majority predictions of the examples that pruning affects most and least.

    Of a streamed set the few images are read again.

    Args:
      options: how many examples.
      seeds: the trials to average over.
    """
    used = {"gallery_examples": options.gallery_examples, "gallery_seeds": list(seeds)}
    measure = partial(_measure_gallery, options=options, seeds=seeds)
    return Measurement("gallery", used, measure, suffix="npz")


def _measure_gallery(
    loop: PruneRetrain,
    stage: Stage,
    table: epath.Path,
    options: ScoresConfig,
    seeds: tuple[int, ...],
) -> Row:
    from tfprune.measures.example_groups import KINDS

    trials = [Trial(loop.config, seed) for seed in seeds]
    curves = _curves(trials)
    arrays = {"class_names": np.array(loop.data.class_names)}
    for kind in KINDS:
        chosen = gallery_levels(kind, curves)
        shown = _shown(loop.data, trials, kind, chosen, options.gallery_examples)
        arrays |= {f"{kind}/{name}": value for name, value in shown.items()}
    save_arrays(table, arrays)
    return {}


def _curves(trials: Sequence[Trial]) -> dict[str, np.ndarray]:
    """Train loss and test error of every level, `[seeds, levels + 1]`."""
    results = [[stage.result() for stage in trial.stages()] for trial in trials]
    loss, accuracy = (
        np.array([[row[name] for row in rows] for rows in results])
        for name in ("train_loss", "test_accuracy_last")
    )
    return {"train_loss": loss, "test_error": 1 - accuracy}


def gallery_levels(kind: str, curves: Mapping[str, np.ndarray]) -> list[int]:
    """The levels at which losses are compared with the dense network's (PEG K.1, table 4).

    Most worsened: levels that generalize better at a higher training loss; where there are none,
    levels of higher training loss that lose at most two points. Most improved: levels that
    generalize better at a lower training loss. Least affected: levels that lose at most two
    points. Level 0 is none of them: nothing has changed there.

    Better, higher and lower are meant over seeds, by the rule of PEG section 2; of one seed, of
    which it says nothing, as measured. The two points are of the mean.

    Args:
      kind: `most_worsened`, `most_improved` or `least_affected`.
      curves: `train_loss` and `test_error` `[seeds, levels + 1]`, the dense network's first.
    """
    error, loss = (_against_dense(curves[name]) for name in ("test_error", "train_loss"))
    better, worse_fit, better_fit = error == "lower", loss == "higher", loss == "lower"
    mean = curves["test_error"].mean(axis=0)
    close = mean[1:] <= mean[0] + 0.02
    if kind == "most_worsened":
        chosen = better & worse_fit if np.any(better & worse_fit) else close & worse_fit
    elif kind == "most_improved":
        chosen = better & better_fit
    else:
        chosen = close
    return [int(level) + 1 for level in np.flatnonzero(chosen)]


def _against_dense(values: np.ndarray) -> np.ndarray:
    """`higher`, `lower` or `matches` of every level above 0, `[levels]`."""
    from tfprune.measures.statistics import Difference, difference

    found = [difference(column - values[:, 0]) for column in values[:, 1:].T]
    if len(values) == 1:
        found = [Difference(gap.n, gap.mean, 0.0) for gap in found]
    return np.array([gap.verdict for gap in found], object)


def _shown(
    data: Any, trials: Sequence[Trial], kind: str, levels: Sequence[int], count: int
) -> dict[str, np.ndarray]:
    from tfprune.measures.example_groups import (
        affected_examples,
        average_loss_change,
        majority_prediction,
    )

    found = {"levels": np.array(levels, np.int64)}
    if not levels:
        empty = np.zeros(0, np.int64)
        none = dict.fromkeys(("labels", "predictions", "indices"), empty)
        return {**found, **none, "images": data.pictures(empty), "score": np.zeros(0)}
    before = losses_by_seed(trials, 0)
    after = [losses_by_seed(trials, level) for level in levels]
    # Only examples that this trial trained on: it has their images.
    mine = np.full(before.shape[1], np.nan)
    mine[data.indices] = 0.0
    indices = affected_examples(after, before + mine, kind, min(count, len(data.indices)))
    rows = np.searchsorted(data.indices, indices)
    votes = [_predictions_at(trial.stage(level), indices) for trial in trials for level in levels]
    return {
        **found,
        "indices": indices,
        "images": data.pictures(rows),
        "labels": data.labels[rows],
        "predictions": majority_prediction(np.array(votes)),
        "score": average_loss_change(after, before, kind)[indices],
    }


def losses_by_seed(trials: Sequence[Trial], level: int) -> np.ndarray:
    """A level's losses at the examples' positions in the dataset, float64 [seeds, N].

    NaN where an example was not trained on. N is one more than the last position of any.
    """
    from tfprune.measures.example_groups import at_positions

    found = [read_losses(trial.stage(level)) for trial in trials]
    examples = max(int(one["indices"].max()) for one in found) + 1
    # Every level of a trial has the same examples, so N is the same for all of them.
    return np.stack([at_positions(one["losses"], one["indices"], examples) for one in found])


def _predictions_at(stage: Stage, indices: np.ndarray) -> np.ndarray:
    """A stage's predictions for some examples; -1 where one was held out for validation."""
    found = read_losses(stage)
    everywhere = np.full(max(found["indices"].max(), indices.max()) + 1, -1, np.int64)
    everywhere[found["indices"]] = found["predictions"]
    return everywhere[indices]
