"""The report of leave_out: PEG figures 9, 10, 17, table 8: dense training on fewer examples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfprune import store
from tfprune.measures.statistics import PairedDifference, match_or_differ
from tfprune.results import families, figures, style, tables
from tfprune.results.families import TEST_ERROR, Benchmark, Family

EXPERIMENT = "leave_out"
DENSE_SUBSET = "dense_subset"
_GREEN = "#CDEBD9"


@dataclass(frozen=True)
class Pairing:
    """Two sets of examples to train on that are compared.

    Attributes:
      chosen: the branch whose set pruning chose.
      random: the branch whose set is random, of the same size.
      chosen_name: what figures call it.
      random_name: likewise.
      what: what is compared, for titles.
      beside_dense: whether dense training on all examples, where a set is nearly all of them, is
        drawn beside.
      published: what the paper's text says of it without noise, by (model, width).
    """

    chosen: str
    random: str
    chosen_name: str
    random_name: str
    what: str
    beside_dense: bool
    published: Mapping[tuple[str, float], str]


TOP_IMPROVED = Pairing(
    "tie",
    "rnd",
    "TIE",
    "RND",
    "without the top-improved examples",
    True,
    {
        ("lenet_300_100", 1): "+0.78",
        ("resnet20", 1): "+0.77",
        ("vgg16", 1): "+0.34",
        ("resnet50", 1): "+0.69",
        ("resnet32", 1): "no significant difference",
        ("resnet32", 8): "+0.44",
    },
)
TOP_WORSENED = Pairing(
    "worsened_subsample",
    "random_subsample",
    "with top-worsened",
    "random",
    "with the top-worsened examples",
    False,
    {("resnet20", 1): "0 to +0.35", ("vgg16", 1): "0 to +0.54"},
)


@dataclass(frozen=True, eq=False)
class Sets:
    """The networks of one benchmark that were trained on a part of the examples.

    Attributes:
      family: the trunk, pruned with learning-rate rewinding.
      rows: those of the branches, with `test_error_percent`.
    """

    family: Family
    rows: pd.DataFrame

    @property
    def benchmark(self) -> Benchmark:
        return self.family.benchmark

    def by_seed(self, branch: str, level: int | None) -> dict[int, float]:
        """seed -> test error in percent, of a branch from a level."""
        here = self.rows[(self.rows["branch"] == branch) & (self.rows["level"] == level)]
        here = here.dropna(subset=[TEST_ERROR])
        return {int(s): float(e) for s, e in zip(here["seed"], here[TEST_ERROR], strict=True)}

    def levels(self, *branches: str) -> list[int]:
        """The levels from which at least one of these branches has a test error."""
        here = self.rows[self.rows["branch"].isin(branches) & self.rows[TEST_ERROR].notna()]
        return sorted(int(level) for level in here["level"].unique())

    def remaining(self, levels: Iterable[int]) -> np.ndarray:
        """Weights remaining of levels, mean over seeds, float64; NaN where unknown."""
        known = pd.concat([self.family.points.assign(branch=""), self.rows])
        means = known.groupby("level")["weights_remaining"].mean()
        own = self.family.points.groupby("level")["weights_remaining"].mean()
        wanted = list(levels)
        return own.reindex(wanted).fillna(means.reindex(wanted)).to_numpy(float)

    def improving_levels(self) -> list[int]:
        """The levels at which pruning has a lower test error than dense (green).

        By PEG section 2's rule, each seed measured against its own dense network; none of one seed.
        """
        return self.family.beating_dense()

    def differences(self, pairing: Pairing) -> dict[int, PairedDifference]:
        """level -> chosen − random, points of test error, at levels where a seed has both."""
        found = {
            level: match_or_differ(
                self.by_seed(pairing.chosen, level), self.by_seed(pairing.random, level)
            )
            for level in self.levels(pairing.chosen, pairing.random)
        }
        return {level: gap for level, gap in found.items() if gap.n}

    def mean_difference(self, pairing: Pairing) -> PairedDifference:
        """Chosen − random, each seed's mean over the improving levels where it has both (PEG D)."""
        chosen, random = {}, {}
        green = set(self.improving_levels()) & set(self.levels(pairing.chosen, pairing.random))
        for seed in self.family.seeds:
            pairs = [
                (self.by_seed(pairing.chosen, level), self.by_seed(pairing.random, level))
                for level in sorted(green)
            ]
            both = [(a[seed], b[seed]) for a, b in pairs if seed in a and seed in b]
            if both:
                chosen[seed], random[seed] = np.mean(both, axis=0).tolist()
        gap = match_or_differ(chosen, random)
        without = tuple(sorted(set(self.family.seeds) - set(chosen)))
        return PairedDifference(gap.n, gap.mean, gap.std, without)


def build(output_dir: epath.PathLike) -> list[figures.FigureInfo]:
    """Draws the experiment's figures from results.csv.

    Returns:
      The figures there are data for, those without the top-improved examples first.

    Raises:
      InputError: there is no results.csv, it is damaged, or a folder cannot be written.
    """
    found = sets(store.read_results(output_dir))
    improved, worsened = (with_pairing(found, pair) for pair in (TOP_IMPROVED, TOP_WORSENED))
    subset = [here for here in found if here.levels(DENSE_SUBSET)]
    drawn: list[figures.Drawing] = [
        (
            "top_improved",
            "Dense training without the examples that pruning improves the most",
            pairing_reading(improved, TOP_IMPROVED),
            "PEG figure 9",
            compared_sets(improved, TOP_IMPROVED),
        ),
        (
            "dense_subset",
            "Dense training on what the sparse network classifies correctly",
            subset_reading(subset),
            "PEG figure 10",
            dense_subset(subset),
        ),
        (
            "top_worsened",
            "Dense training with and without the examples that pruning worsens the most",
            pairing_reading(worsened, TOP_WORSENED),
            "PEG figure 17",
            compared_sets(worsened, TOP_WORSENED),
        ),
    ]
    return figures.save_all(output_dir, EXPERIMENT, drawn)


def build_tables(results: pd.DataFrame) -> list[tables.Table]:
    """What leaving examples out changes at every level, and dense subsets (PEG table 8)."""
    found = sets(results)
    subset = [here for here in found if here.levels(DENSE_SUBSET)]
    made = [
        pairing_table(chosen, pairing)
        for pairing in (TOP_IMPROVED, TOP_WORSENED)
        if (chosen := with_pairing(found, pairing))
    ]
    return made + ([subset_table(subset)] if subset else [])


def sets(results: pd.DataFrame) -> list[Sets]:
    """What was trained on a part of the examples, a benchmark each, in the order of families.

    Args:
      results: rows of results.csv.
    """
    mine = results[results["experiment"] == EXPERIMENT]
    branches = mine[mine["branch"].ne("")]
    branches = branches.assign(**{TEST_ERROR: 100 * (1 - branches["test_accuracy_last"])})
    return [
        Sets(family, own)
        for family in families.families(mine)
        if family.method == families.LR_REWIND
        if len(own := branches[branches["trial"].isin(_trials(family))])
    ]


def _trials(family: Family) -> list[str]:
    """The trials of a family's own rows: a dense row may be another family's."""
    own = family.points[family.points["method"] == family.method]
    return [str(trial) for trial in own["trial"].unique()]


def with_pairing(found: Iterable[Sets], pairing: Pairing) -> list[Sets]:
    """Those with a level where some seed has both sets."""
    return [here for here in found if here.differences(pairing)]


# ---------------------------------------------------------------- figures
def compared_sets(found: list[Sets], pairing: Pairing) -> Figure | None:
    """Test error of two sets by the sparsity that chose them, and their difference (PEG 9, 17).

    A column per benchmark, mean ± std over seeds; below, chosen − random seed by seed. Green are
    the sparsities at which pruning improves generalization; the mean difference there is printed.
    """
    if not found:
        return None
    columns = min(len(found), 3)
    blocks = math.ceil(len(found) / columns)
    with style.house_style():
        figure = style.new_figure(6.8 if columns == 1 else 4.6 * columns, 5.2 * blocks + 0.5)
        grid = figure.subplots(2 * blocks, columns, squeeze=False, height_ratios=[1.5, 1] * blocks)
        for place in range(blocks * columns):
            row, column = divmod(place, columns)
            upper, lower = grid[2 * row][column], grid[2 * row + 1][column]
            if place < len(found):
                _draw_pairing(upper, lower, found[place], pairing)
            else:
                upper.set_axis_off()
                lower.set_axis_off()
        figures.legend_below(figure, _pairing_handles(found, pairing))
    return figure


def _pairing_handles(found: list[Sets], pairing: Pairing) -> list[Line2D | Patch]:
    lines = [
        Line2D([], [], color=color, marker=marker, label=name)
        for name, color, marker in _styles(pairing)
    ]
    if pairing.beside_dense:
        label = "dense, all examples"
        lines.append(Line2D([], [], color=style.BLACK, linestyle="--", label=label))
    several = any(len(here.family.seeds) > 1 for here in found)
    spread = [figures.std_handle(style.BLACK)] if several else []
    return [*lines, *spread, Patch(color=_GREEN, label="pruning improves generalization")]


def _styles(pairing: Pairing) -> tuple[tuple[str, str, str], ...]:
    return (
        (pairing.chosen_name, style.VERMILLION, "o"),
        (pairing.random_name, style.BLUE, "s"),
    )


def _draw_pairing(upper: Axes, lower: Axes, here: Sets, pairing: Pairing) -> None:
    levels = here.levels(pairing.chosen, pairing.random)
    for branch, (_, color, marker) in zip(
        (pairing.chosen, pairing.random), _styles(pairing), strict=True
    ):
        _draw_errors(upper, here, branch, levels, color, marker)
    dense = list(here.family.by_seed(TEST_ERROR, 0).values())
    if dense and pairing.beside_dense:
        upper.axhline(float(np.mean(dense)), color=style.BLACK, linestyle="--", linewidth=1.1)
    gaps = here.differences(pairing)
    table = pd.DataFrame(
        {"gap_mean": [g.mean for g in gaps.values()], "gap_std": [g.std for g in gaps.values()]}
    )
    x = style.sparsity_position(here.remaining(gaps))
    figures.band(lower, x, table, "gap", style.PURPLE, "-", "D", scale=1)
    lower.axhline(0, color=style.BLACK, linewidth=0.8)
    for axes in (upper, lower):
        style.sparsity_axis(axes, here.remaining(levels))
        shade_improving(axes, here, levels)
    upper.set_xlabel("")
    upper.tick_params(labelbottom=False)
    lower.set_xlabel("Sparsity at which examples are chosen (%)")
    upper.set_ylabel("Test error (%)")
    lower.set_ylabel(f"{pairing.chosen_name}\n− {pairing.random_name} (points)")
    upper.set_title(style.wrapped(here.benchmark.name, 48))
    lower.set_title(_green_text(here, pairing), fontsize=9)


def _draw_errors(
    axes: Axes,
    here: Sets,
    branch: str,
    levels: list[int],
    color: str,
    marker: str,
    linestyle: str = "-",
) -> None:
    values = [list(here.by_seed(branch, level).values()) for level in levels]
    table = pd.DataFrame(
        {
            "error_mean": [np.mean(v) if v else math.nan for v in values],
            "error_std": [np.std(v, ddof=1) if len(v) > 1 else math.nan for v in values],
        }
    )
    x = style.sparsity_position(here.remaining(levels))
    figures.band(axes, x, table, "error", color, linestyle, marker, scale=1)


def _green_text(here: Sets, pairing: Pairing) -> str:
    gap = here.mean_difference(pairing)
    if not gap.n and len(here.family.by_seed(TEST_ERROR, 0)) < 2:
        return "one seed cannot tell where generalization improves"
    if not gap.n:
        return "no sparsity with both sets improves generalization"
    return f"mean in green: {_gap_text(gap)}"


def _gap_text(gap: PairedDifference) -> str:
    """ "+0.78 ± 0.21 points (n = 3), higher"."""
    spread = "" if math.isnan(gap.std) else f" ± {gap.std:.2f}"
    verdict = f", {gap.verdict}" if gap.verdict else ""
    return f"{gap.mean:+.2f}{spread} points (n = {gap.n}){verdict}"


def shade_improving(axes: Axes, here: Sets, drawn: Iterable[int]) -> list[tuple[float, float]]:
    """Shades the sparsities at which pruning improves generalization, behind everything else.

    Each run of levels is shaded as far as halfway to its neighbours, within what is drawn.

    Args:
      axes: a panel whose x axis is `style.sparsity_axis`.
      here: the trunk, whose levels tell.
      drawn: the levels in the panel.

    Returns:
      The spans on that axis, from left to right.
    """
    limits = style.sparsity_position(here.remaining(drawn))
    if not limits.size or np.isnan(limits).all():
        return []
    low, high = axes.get_xlim()
    spans = [
        (max(left, low), min(right, high))
        for left, right in improving_spans(here)
        if left < high and right > low
    ]
    for left, right in spans:
        axes.axvspan(left, right, color=_GREEN, linewidth=0, zorder=0)
    axes.set_xlim(low, high)
    return spans


def improving_spans(here: Sets) -> list[tuple[float, float]]:
    """Stretches of the sparsity axis where pruning improves generalization, from left to right.

    In `style.sparsity_position`, each as far as halfway to the next level that does not improve,
    or to the last level there is.
    """
    levels = here.family.members
    position = style.sparsity_position(here.remaining(levels))
    better = np.isin(levels, here.improving_levels())
    halves = (position[1:] + position[:-1]) / 2
    edges = np.concatenate([position[:1], halves, position[-1:]])
    starts = np.flatnonzero(better & ~np.append(False, better[:-1]))
    ends = np.flatnonzero(better & ~np.append(better[1:], False))
    return [
        (float(edges[first]), float(edges[last + 1]))
        for first, last in zip(starts, ends, strict=True)
    ]


def dense_subset(found: list[Sets]) -> Figure | None:
    """Dense networks trained on what the sparse ones get right, beside these (PEG figure 10).

    A panel per data and model, a colour per noise: dense subset solid with circles, sparse dashed
    with squares, mean ± std over seeds.
    """
    panels: dict[str, list[Sets]] = {}
    for here in found:
        panels.setdefault(here.benchmark.panel, []).append(here)
    if not panels:
        return None
    noises = {h.benchmark.noise: h.benchmark.noise_fraction for h in found}
    names = sorted(noises, key=lambda noise: noises[noise])
    colors = dict(zip(names, style.sequence_colors(len(names)), strict=True))
    columns = min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    with style.house_style():
        figure = style.new_figure(6.8 if columns == 1 else 4.6 * columns, 3.8 * rows + 0.5)
        grid = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        for axes, (name, lines) in zip(grid, panels.items(), strict=False):
            _draw_subset(axes, lines, colors)
            axes.set_title(style.wrapped(name, 48))
        figures.legend_below(figure, _subset_handles(found, colors))
    return figure


def _draw_subset(axes: Axes, lines: list[Sets], colors: Mapping[str, str]) -> None:
    for here in lines:
        color = colors[here.benchmark.noise]
        _draw_errors(axes, here, DENSE_SUBSET, here.levels(DENSE_SUBSET), color, "o")
        table = here.family.means(TEST_ERROR)
        x = style.sparsity_position(table["weights_remaining"])
        figures.band(axes, x, table, TEST_ERROR, color, "--", "s", scale=1)
    remaining = [here.remaining(here.family.members) for here in lines]
    style.sparsity_axis(axes, np.concatenate(remaining))
    axes.set_ylabel("Test error (%)")


def _subset_handles(found: list[Sets], colors: Mapping[str, str]) -> list[Line2D | Patch]:
    several = any(len(here.family.seeds) > 1 for here in found)
    return [
        *(Patch(color=color, label=noise) for noise, color in colors.items()),
        Line2D([], [], color=style.BLACK, marker="o", label="dense, on the subset"),
        Line2D([], [], color=style.BLACK, marker="s", linestyle="--", label="sparse"),
        *([figures.std_handle(style.BLACK)] if several else []),
    ]


# ---------------------------------------------------------------- readings
def pairing_reading(found: list[Sets], pairing: Pairing) -> str:
    """The mean difference where pruning improves generalization, in one sentence."""
    if not found:
        return ""
    said = []
    for here in found:
        gap = here.mean_difference(pairing)
        what = _gap_text(gap) if gap.n else "no such sparsity has both sets"
        said.append(f"{what} with {here.benchmark.name}{_of_paper(here.benchmark, pairing)}")
    return (
        "Where pruning improves generalization, the test error of dense training "
        f"{pairing.what}, minus that on as many random ones: {'; '.join(said)}."
    )


def _of_paper(benchmark: Benchmark, pairing: Pairing) -> str:
    said = pairing.published.get((benchmark.model, benchmark.width))
    return "" if said is None or benchmark.is_noisy else f" ({said} in the paper)"


def subset_reading(found: list[Sets]) -> str:
    """Dense training on the subset against the sparse network at its optimum, in one sentence."""
    said = []
    for here in found:
        level = here.family.optimal()
        sparse = here.family.by_seed(TEST_ERROR, level)
        gap = match_or_differ(here.by_seed(DENSE_SUBSET, level), sparse)
        if gap.n:
            said.append(f"{_gap_text(gap)} with {here.benchmark.name}")
    if not said:
        return "No dense network on the subset of an optimally sparse one is there yet."
    return (
        "The test error of a dense network trained on what the optimally sparse one classifies "
        f"correctly, minus the sparse one's: {'; '.join(said)}."
    )


# ---------------------------------------------------------------- tables
def pairing_table(found: list[Sets], pairing: Pairing) -> tables.Table:
    """Test errors of both sets at every level, and chosen − random seed by seed."""
    numbers = pd.DataFrame(
        [
            _pairing_row(here, pairing, level)
            for here in found
            for level in here.levels(pairing.chosen, pairing.random)
        ]
    )
    labels = numbers[["model", "noise"]]
    shown = labels.assign(level=numbers["level"].astype(str))
    shown["sparsity (%)"] = [tables.sparsity_percent(1 - left) for left in numbers["remaining"]]
    for part, heading in (("chosen", pairing.chosen_name), ("random", pairing.random_name)):
        shown[f"{heading} error (%)"] = [
            families.number_text(mean, std, 2)
            for mean, std in zip(numbers[f"{part}_mean"], numbers[f"{part}_std"], strict=True)
        ]
    shown["difference (points)"] = [
        families.number_text(mean, std, 2)
        for mean, std in zip(numbers["difference_mean"], numbers["difference_std"], strict=True)
    ]
    shown["it is"] = numbers["verdict"]
    shown["pruning improves"] = numbers["improves"].map({True: "yes", False: ""})
    shown["seeds"] = numbers["n"].astype(str)
    if numbers["unpaired_seeds"].ne("").any():
        shown["unpaired seeds"] = numbers["unpaired_seeds"]
    title = (
        f"Test error of dense training {pairing.what} ({pairing.chosen_name}) and on as many "
        f"random ones ({pairing.random_name}), by the level that chose; higher or lower where "
        "the mean difference is at least one std over seeds away from 0"
    )
    name = f"{EXPERIMENT}_{'top_improved' if pairing is TOP_IMPROVED else 'top_worsened'}"
    return tables.Table(name, title, numbers, shown, tuple(labels))


def _pairing_row(here: Sets, pairing: Pairing, level: int) -> dict[str, object]:
    """A row; the paired difference is of the seeds that have both, as `n` says."""
    chosen, random = (here.by_seed(branch, level) for branch in (pairing.chosen, pairing.random))
    gap = match_or_differ(chosen, random)
    row: dict[str, object] = {
        "model": here.benchmark.panel,
        "noise": here.benchmark.noise,
        "level": level,
        "remaining": float(here.remaining([level])[0]),
    }
    for name, values in (("chosen", chosen), ("random", random)):
        series = pd.Series(values, dtype="float64")
        row |= {f"{name}_mean": series.mean(), f"{name}_std": series.std(ddof=1)}
    return row | {
        "difference_mean": gap.mean,
        "difference_std": gap.std,
        "verdict": gap.verdict,
        "improves": level in here.improving_levels(),
        "n": gap.n,
        "unpaired_seeds": ", ".join(map(str, gap.unpaired)),
    }


_WHERE = {"optimal": "optimal sparsity", "dense": "0% sparsity"}


def subset_table(found: list[Sets]) -> tables.Table:
    """Sparse and dense-subset networks at the optimal sparsity and at 0% (PEG table 8).

    Each is compared with the paper's, and dense-subset networks with those that chose the subset.
    """
    cells = [
        cell
        for here in found
        for at, level in (("optimal", here.family.optimal()), ("dense", 0))
        for cell in _subset_cells(here, at, level)
    ]
    title = (
        "Test error of networks pruned with learning-rate rewinding, and of dense ones trained on "
        "what these, the trunk, classify correctly (dense subset); "
        + families.selection_note(here.family for here in found)
    )
    return families.comparison_table(f"{EXPERIMENT}_dense_subset", title, cells, against="trunk")


def _subset_cells(here: Sets, at: str, level: int | None) -> list[families.Cell]:
    mark, family = here.benchmark, here.family
    sparse, subset = family.by_seed(TEST_ERROR, level), here.by_seed(DENSE_SUBSET, level)
    trunk = families.LR_REWIND if at == "optimal" else "dense"
    details = {"weights remaining (%)": families.remaining_text(family, level)}
    missing = tuple(sorted(set(family.seeds) - set(subset)))
    return [
        families.Cell(
            mark,
            {"at": _WHERE[at], "algorithm": "dense" if at == "dense" else family.name},
            sparse,
            families.printed(8, mark, trunk, at),
            details=details,
            missing=family.missing_seeds(level),
        ),
        families.Cell(
            mark,
            {"at": _WHERE[at], "algorithm": "dense subset"},
            subset,
            families.printed(8, mark, DENSE_SUBSET, at),
            sparse,
            details,
            missing,
        ),
    ]
