"""What GST's experiments draw and tabulate, on made-up runs whose numbers are known.

All that is shown of the folders of made_up.py is in golden/, and not asked for again.
"""

import gst
import numpy as np
import pytest
from golden import figures_of, tables_of
from gst import L40, S4, S40
from results import write, write_metrics

from tfprune import store
from tfprune.papers.gst import runs

STABILITY = "generalization_stability"
C1_FRACTIONS = "0.25,0.8,0.25,0.95"


def found_in(folder):
    return runs.benchmarks(store.read_results(folder, every_variant=True), folder)


def shown(folder, name):
    return tables_of(folder, STABILITY)[name].shown


# ---------------------------------------------------------------- correlations
@pytest.mark.parametrize(
    ("changes", "removed"),
    [
        ({"criterion": "filter_ebn"}, "42% (section 2)"),
        ({"total": 0.5}, ""),
        ({"layer_fractions": "0.3,0.8,0.3,0.9"}, ""),
    ],
)
def test_other_experiments_on_the_same_network_are_not_set_beside_the_papers(
    tmp_path, changes, removed
):
    rows = gst.filters("smallest", 4, S4, **changes) + gst.filters("smallest", 40, S40, **changes)
    rows += gst.filters("largest", 40, L40, **changes)
    made = tables_of(write(tmp_path, rows), STABILITY)
    assert made["correlations"].numbers["paper_pearson"].isna().all()
    assert set(made["size"].numbers["paper_parameters_removed"]) == {removed}


# ---------------------------------------------------------------- curves
def test_curves_are_means_of_runs_in_their_bootstrapped_band(tmp_path):
    rows = gst.filters("largest", 40, L40[:2])
    for row, level in zip(rows, (0.8, 0.9), strict=True):
        write_metrics(tmp_path, row["stage"], {"test_accuracy": [level, level]})
    left, _ = figures_of(write(tmp_path, rows), STABILITY)["stability"][1].get_axes()
    (line,) = left.get_lines()
    np.testing.assert_allclose(line.get_data(), [[1, 2], [85, 85]])
    # A quarter of the resamples of two runs are twice the lower one: its value is the 2.5% point.
    ends = left.collections[0].get_paths()[0].vertices
    assert {(1, 80), (1, 90), (2, 80), (2, 90)} == {tuple(v) for v in ends.round(6).tolist()}


# ---------------------------------------------------------------- benchmarks
def test_trials_that_differ_in_what_is_pruned_are_one_scatter_plot(tmp_path):
    """As in figure C3: the dense training, which both trials have, counts once."""
    rows = []
    for trial, total, known in (("ten", 0.1, S40), ("six", 0.06, S4)):
        rows += gst.trunk([0.84, 0.85, 0.86], trial=trial)
        rows += gst.filters("smallest", 40, known, total, trial=trial)
    cells = shown(write(tmp_path, rows), "configurations")[["configuration", "runs"]]
    names = ("No Pruning", "Prune_S 0.86%", "Prune_S 1.4%")
    assert cells.to_numpy().tolist() == [[name, "3"] for name in names]


def test_schedules_of_one_folder_are_benchmarks_side_by_side_with_one_baseline(tmp_path):
    """As figure 2's and table C1's networks: the rows of the first stay when the second is run."""
    both = {"0.25,0.4,0.25,0.95": S40, C1_FRACTIONS: L40}
    for place, (fractions, known) in enumerate(both.items()):
        changes = {"prune_fractions": fractions, "layer_fractions": fractions, "model": "resnet18"}
        rows = gst.filters("largest", 40, known, 0.95, **changes)
        for row in rows:
            row["stage"] += f"-{place}"
        write(tmp_path, [*gst.trunk([0.84, 0.85, 0.86], model="resnet18"), *rows])
    found = found_in(tmp_path)
    assert [len(b.runs) for b in found] == [6, 6]
    assert [b.name.split("prune_fractions=")[1] for b in found] == [C1_FRACTIONS, next(iter(both))]
    removed = shown(tmp_path, "size")["paper, parameters removed"]
    assert removed.tolist() == ["59% (section 3.2)", "46% (section 2)"]
    # Within one run, --prunings names the fractions, and both are in one plot.
    rows = []
    for fractions, known in both.items():
        of = gst.filters("largest", 40, known, 0.95, layer_fractions=fractions)
        rows += [{**row, "branch": f"{row['branch']}_f{fractions}"} for row in of]
    (one,) = found_in(write(tmp_path / "one", rows))
    names = [f"Prune_L 14%, layers by {f}" for f in sorted(both)]
    assert list(map(str, one.configurations)) == names


def test_networks_are_compared_that_lose_the_same_fractions_of_all_layers(tmp_path):
    """The last layer's alone, by which configurations are named, do not say what is left."""
    rows = gst.trunk([0.84, 0.85, 0.86])
    for fractions, known in (("0.25,0.4,0.25,0.95", S4), (C1_FRACTIONS, S40)):
        of = {"total_fraction": 0.95, "layer_fractions": fractions}
        for made in (
            gst.filters("smallest", 40, known, **of),
            gst.filters("largest", 40, L40, **of),
            gst.rows_of("scratch_largest", known, target="largest", **of),
        ):
            rows += [{**row, "branch": f"{row['branch']}_f{fractions}"} for row in made]
    told = shown(write(tmp_path, rows), "t_tests")[["compared", "against"]].to_numpy().tolist()
    assert len(told) == 2 * 5  # L with S, and both with no pruning and from scratch.
    for pair in told:
        assert len({name.partition(", layers by ")[2] for name in pair} - {""}) == 1
