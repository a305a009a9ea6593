"""What SDD's experiments have in common: trunks, their branches, what is sampled, how it looks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from tfprune import store
from tfprune.report import style, summary, tables, trials
from tfprune.report.accuracy import LAST, ROLE_COLORS, all_percents, roles_of
from tfprune.report.grammar import QUANTITY, Axis, Lines, Mark, Scale
from tfprune.report.summary import concatenated

TRUNK, REDENSE, REINIT = "", "redense", "reinit"
_NAMES = {TRUNK: "sparse", REDENSE: "re-dense", REINIT: "random reinitialization"}
_OPTIONS = {"lr": "learning rate {}", "ep": "{} epochs"}
_BEFORE = "sparse_sparsity"
# Levels that are shown in detail where the five of SDD 3.2 cannot be told.
_MOST_SAMPLES = 5
EXAMPLES = {f"{kind}_accuracy": kind for kind in ("unpermuted", "permuted", "restored")}


def kind(branch: str) -> str:
    """What a branch is, its options aside: "redense" of "redense_lr0.01"."""
    return branch.split("_")[0]


def name(branch: str) -> str:
    """A branch as people call it.

    Example:
      >>> [name(branch) for branch in ("", "redense", "redense_lr0.01_ep5")]
      ['sparse', 're-dense', 're-dense, learning rate 0.01, 5 epochs']
    """
    first, *options = branch.split("_")
    said = [_OPTIONS[o[:2]].format(o[2:]) if o[:2] in _OPTIONS else o for o in options]
    return ", ".join([_NAMES.get(first, first), *said])


# Networks, and rows of results.csv of theirs, to what the files of these hold.
Read = Callable[["Networks", pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True, eq=False)
class Networks:
    """A trial's trunk, or one of its branches.

    Attributes:
      trial: the trial.
      branch: "" for the trunk.
      name: of the trial, and of the branch where there are several of its kind.
      trunk: the trunk's rows of results.csv.
      rows: its own.
      folder: the output folder.
    """

    trial: str
    branch: str
    name: str
    trunk: pd.DataFrame
    rows: pd.DataFrame
    folder: epath.Path

    @cached_property
    def roles(self) -> dict[str, int]:
        """The levels of the trunk that play a role of `descent.ROLES`."""
        return roles_of(self.trunk)

    @property
    def dense(self) -> pd.DataFrame:
        """The rows of the dense network, from which the trunk starts."""
        return self.trunk[self.trunk["level"] == 0]

    def mean(self, column: str, level: int) -> float:
        """Over seeds, of its own rows."""
        return float(self.rows.loc[self.rows["level"] == level, column].mean())

    def percent(self, column: str, level: int) -> str:
        """A mean accuracy in a sentence."""
        return f"{100 * self.mean(column, level):.1f}%"

    def sparsity(self, level: int) -> str:
        """A level's sparsity in a sentence."""
        return sparsity_text(self.mean("sparsity", level))

    @cached_property
    def samples(self) -> dict[int, str]:
        """level -> its role, of the levels to show in detail: the five of SDD 3.2.

        Where fewer than three of them can be told (too few levels, no label noise, one seed), or a
        branch leaves at five or fewer, up to five levels at even distances.
        """
        levels = sorted({*self.rows["level"]} & {*self.trunk["level"]})
        roles = {level: role for role, level in self.roles.items()}
        roles = roles if len(roles) >= 3 else {}
        named = [level for level in levels if level in roles]
        if len(named) >= 3 and not (self.branch and len(levels) <= _MOST_SAMPLES):
            levels = named
        elif len(levels) > _MOST_SAMPLES:
            places = np.linspace(0, len(levels) - 1, _MOST_SAMPLES).round().astype(int)
            levels = [levels[place] for place in places]
        return {int(level): roles.get(level, "") for level in levels}

    def sampled(self, read: Read) -> pd.DataFrame:
        """Tables of the samples: a row per row of them, level, seed, and what the sample is called.

        Args:
          read: rows of results.csv to what their files hold, with a column `seed`.
        """
        made = []
        for place, (level, role) in enumerate(self.samples.items()):
            here = self.rows[self.rows["level"] == level]
            table, sparsity = read(self, here), self.sparsity(level)
            if table.empty:
                continue
            seeds, called = table["seed"].nunique(), style.ROLE_LABELS.get(role, "")
            few = f" ({seeds} of {len(here)} seeds)" if seeds < len(here) else ""
            about: dict[str, Any] = {"level": level, "place": place, "name": self.name}
            about |= {"sample": ", ".join(filter(None, (called, sparsity))) + few, "from": sparsity}
            about["heading"] = f"{called}\nsparsity {sparsity}{few}".strip()
            made.append(table.assign(**about))
        return concatenated(made)

    def metrics(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Metrics by epoch: the trunk's of the same stages, where it is a branch, and its own.

        Raises:
          InputError: a metrics.csv is damaged.
        """
        own = _metrics(self.folder, rows)
        if own.empty or not self.branch:
            return own
        before = _metrics(self.folder, self.trunk.merge(rows[["seed", "level"]]))
        return concatenated([before, own]).assign(lifted=own["epoch"].min() - 1)

    def gaps(self, column: str) -> pd.DataFrame:
        """Its own minus the trunk's, seed by seed: seed, level, sparsity, difference, and both."""
        keys = ["seed", "level"]
        trunk = self.trunk[[*keys, "sparsity", "weights_remaining"]]
        trunk = trunk.assign(trunk=self.trunk[column])
        both = trunk.merge(self.rows[keys].assign(branch=self.rows[column]), on=keys)
        both = both.dropna(subset=["trunk", "branch"])
        return both.assign(difference=both["branch"] - both["trunk"])

    def differences(self, column: str) -> pd.DataFrame:
        """`gaps` over seeds: sparsity, trunk, branch, n, mean, std and verdict, by level."""
        rows = {
            level: own[["sparsity", "trunk", "branch"]].mean().to_dict()
            | summary.described(own["difference"].tolist(), "", "n", "mean", "std", "verdict")
            for level, own in self.gaps(column).groupby("level")
        }
        columns = ["sparsity", "trunk", "branch", "n", "mean", "std", "verdict"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _metrics(folder: epath.Path, rows: pd.DataFrame) -> pd.DataFrame:
    stages = zip(rows["seed"], rows[store.STAGE], strict=True)
    there = ((n, stage) for n, stage in stages if store.metrics_path(folder, stage).exists())
    return concatenated([store.read_metrics(folder, stage).assign(seed=n) for n, stage in there])


def of_files(column: str, needed: Iterable[str]) -> Read:
    """A way to read what `Networks.sampled` is made of: `store.read_measurements`.

    Different seeds may differ in the last bit of what is one place: coordinates are rounded.
    """
    return lambda networks, rows: store.read_measurements(
        networks.folder, rows, column, needed
    ).round({"alpha": 9, "distance": 9})


@dataclass(frozen=True, eq=False)
class Study:
    """An experiment's rows of results.csv, and its networks."""

    rows: pd.DataFrame
    networks: Sequence[Networks]

    @property
    def several(self) -> bool:
        return len(self.networks) > 1

    def sampled(self, read: Read) -> pd.DataFrame:
        """`Networks.sampled` of all."""
        return concatenated([network.sampled(read) for network in self.networks])


def on_each(say: Callable[[Networks], str]) -> Callable[[Study], str]:
    """A reading of what `say` tells of each of the networks, if anything: a line each.

    It starts with their name where there are several.
    """

    def reading(found: Study) -> str:
        told = {network.name: text for network in found.networks if (text := say(network))}
        return "\n".join(
            f"With {name}: {text[:1].lower()}{text[1:]}" if found.several else text
            for name, text in told.items()
        )

    return reading


def study(results: pd.DataFrame, folder: epath.Path, wanted: str = TRUNK) -> Study:
    """The trunks, and the branches of this kind, trials in the order of their settings.

    Networks whose masks were lifted stand at the sparsity of the level they came from, as in SDD's
    figures; in results.csv itself they have sparsity 0.

    Args:
      results: rows of results.csv of one experiment.
      folder: the output folder.
      wanted: the kind; default the trunks alone.
    """
    rows = results[results["branch"].map(kind).isin([TRUNK, wanted])]
    if _BEFORE in rows:
        before = rows[_BEFORE].astype(float)
        lifted = before.notna()
        rows = rows.assign(
            sparsity=rows["sparsity"].mask(lifted, before),
            weights_remaining=rows["weights_remaining"].mask(lifted, 1 - before),
        )
    names = trials.names(rows)
    rows = trials.in_order(rows.sort_values(["branch", "level", "seed"]), rows)
    rows = rows.assign(panel=rows["trial"].map(names))
    there = [b for b in rows["branch"].unique() if kind(b) == wanted]
    several = len(there) > 1
    networks = []
    for trial, called in names.items():
        mine = rows[rows["trial"] == trial]
        for branch in [b for b in mine["branch"].unique() if b in there]:
            full = f"{called}, {name(branch)}" if several else called
            own, trunk = (mine[mine["branch"] == b] for b in (branch, TRUNK))
            networks.append(Networks(trial, branch, full, trunk, own, folder))
    return Study(rows, networks)


# ---------------------------------------------------------------- words
def sparsity_text(sparsity: float) -> str:
    """A sparsity in a sentence."""
    return f"{tables.sparsity_percent(sparsity)}%"


def listed(meant: pd.Series) -> str:
    """Some of the sparsities that there are, in a sentence.

    Up to three side by side are named, more are a range: no range spans one that is not meant.

    Args:
      meant: whether each is, by sparsity, increasing.

    Example:
      >>> listed(pd.Series({0.2: True, 0.36: False, 0.488: True}))
      '20.0%, 48.8%'
    """
    parts: list[str] = []
    pairs = zip(meant.index, meant, strict=True)
    for is_meant, run in itertools.groupby(pairs, key=lambda pair: bool(pair[1])):
        texts = [sparsity_text(sparsity) for sparsity, _ in run]
        if is_meant:
            parts += texts if len(texts) <= 3 else [f"{texts[0]} to {texts[-1]}"]
    return ", ".join(parts)


# ---------------------------------------------------------------- looks
def percents(label: str, *columns: str, right: bool = False) -> tuple[Axis, ...]:
    """Axes of accuracies, from 0% to 100%."""
    first, *others = columns
    axis = Axis(first, label, 100, finish=all_percents, right=right)
    return (axis, *(Axis(column, "", 100, right=right) for column in others))


def of_examples(x: Axis, at: str, label: str, *marks: Mark) -> Lines:
    """Accuracy on unpermuted, permuted and restored training examples."""
    colors = dict(zip(EXAMPLES, (style.SKY, style.PURPLE, style.BROWN), strict=True))
    dashes = dict(zip(EXAMPLES, ("-", "--", "-."), strict=True))
    return Lines(
        x, percents(label, *EXAMPLES), at, Scale(QUANTITY, colors, EXAMPLES),
        dash=Scale(QUANTITY, dashes), marks=marks,
    )  # fmt: skip


def sample_colors(samples: Sequence[str]) -> dict[str, str]:
    """A colour for each sampled sparsity, from light to dark: that of its role where it has one."""
    colors = {style.ROLE_LABELS[role]: color for role, color in ROLE_COLORS.items()}
    plain = style.sequence(samples)
    return {sample: colors.get(sample.split(",")[0], plain[sample]) for sample in samples}


# ---------------------------------------------------------------- tables
def accuracy_table(found: Study, note: str = "") -> tables.Table:
    """Train, last and best test accuracy at every level; a note of the title."""
    return tables.accuracy_table(found.rows, note=note)


def difference_table(table_name: str, title: str) -> Callable[[Study], tables.Table]:
    """A table of branch minus trunk at every level, and whether last test accuracies differ."""
    title = f"{title}; higher or lower where the mean is at least one std over seeds away from 0"

    def make(found: Study) -> tables.Table:
        rows = []
        for networks in found.networks:
            gaps = {column: networks.differences(column) for column in tables.ACCURACIES}
            for level, last in gaps[LAST].iterrows():
                row = {"trial": networks.trial, "branch": networks.branch, "level": level}
                rows.append(row | last[["sparsity", "n"]].to_dict())
                for column, gap in gaps.items():
                    told = gap.reindex([level]).iloc[0][["mean", "std", "verdict"]]
                    rows[-1] |= told.add_prefix(f"{column}_difference_").to_dict()
        shown = branch_cell(found) | tables.LEVEL
        for column, heading in tables.ACCURACIES.items():
            shown[f"{heading} (points)"] = tables.mean_std(f"{column}_difference", tables.points)
        shown |= {"last test is": f"{LAST}_difference_verdict", "seeds": "n"}
        numbers = pd.DataFrame(rows)
        return tables.of_trials(table_name, title, numbers, found.rows, shown, ["branch"])

    return make


def branch_cell(found: Study, heading: str = "branch") -> dict[str, Any]:
    """A cell that says which branch a row is of, where there are several."""
    several = len({networks.branch for networks in found.networks}) > 1
    return {heading: lambda row: name(row["branch"])} if several else {}
