"""What the report of every experiment keeps to, on folders that made_up.py fills."""

import made_up
import numpy as np
import peg
import pytest
from golden import figures_of, tables_of
from results import write

from tfprune import files, papers, store
from tfprune.errors import InputError
from tfprune.pages import report

# What is drawn of accuracies alone.
OF_ACCURACY = {
    "sparse_double_descent": ["accuracy"],
    "random_reinit": ["accuracy"],
    "pruning_effect": ["error"],
}


@pytest.mark.parametrize("experiment", papers.REPORTS)
@pytest.mark.parametrize("kind", ["dense", "trunk"])
def test_before_the_first_measurement_a_report_has_accuracies(tmp_path, experiment, kind):
    """There is no column of a measurement; another study's report in the folder needs that."""
    levels = (0,) if kind == "dense" else (0, 1, 2)
    said = {"experiment": experiment, "structure": "weights"}  # The latter by accuracy_surface.
    rows = [
        peg.row("lr_rewind", level, seed, 5.0 - level, **said)
        for level in levels
        for seed in (0, 1)
    ]
    assert "<html" in report.build_report(write(tmp_path, rows)).file.read_text()
    drawn = [path.stem.removeprefix(f"{experiment}_") for path in tmp_path.glob("figures/*")]
    assert drawn == OF_ACCURACY.get(experiment, [])


def beside_ours(folder, experiment):
    """The columns of tables that have a number of the paper's; claims are of all studies."""
    return [
        (name, column)
        for name, table in tables_of(folder, experiment).items()
        for column, cells in table.shown.items()
        if name != "claims" and "paper" in column and cells.astype(bool).any()
    ]


@pytest.mark.parametrize(
    ("experiment", "case"),
    [
        ("pruning_effect", "one_seed"),
        ("leave_out", "all"),
        ("example_effects", "one_seed"),
        ("example_galleries", "all"),
        ("utility_pruned", "all"),
        ("accuracy_surface", "all"),
        ("generalization_stability", "figure_2"),
        ("pruning_as_noise", "all"),
    ],
)
def test_a_papers_numbers_stay_away_from_other_widths_parts_of_the_data_and_other_data(
    tmp_path, experiment, case
):
    made_up.FOLDERS[experiment][case](tmp_path)
    assert beside_ours(tmp_path, experiment)
    usual = store.read_results(tmp_path).assign(width=1.0, train_subset="")
    for other in ({"width": 2.0}, {"train_subset": 4000}, {"dataset": "digits"}):
        write(tmp_path, usual.assign(**other).to_dict("records"))
        assert not beside_ours(tmp_path, experiment)


@pytest.mark.parametrize(
    ("experiment", "case", "file", "lacks"),
    [
        ("redense", "falling", "interpolation-*.csv", "lacks the columns"),
        ("example_effects", "one_seed", "seed_0/level_00/examples.npz", "has no losses"),
        ("example_galleries", "all", "gallery-*.npz", "has no least_affected/images"),
        ("utility_pruned", "one_seed", "utility_ratio-*.csv", "lacks the columns"),
        ("accuracy_surface", "alike", "plane-*.csv", "lacks the columns"),
        ("generalization_stability", "in_part", "metrics.csv", "lacks the columns"),
        ("flatness", "all", "flatness-*.csv", "lacks the column eigenvalue"),
    ],
)
def test_a_damaged_file_is_named_and_one_that_is_gone_was_never_measured(
    tmp_path, experiment, case, file, lacks
):
    made_up.FOLDERS[experiment][case](tmp_path)
    (path, *_) = tmp_path.glob(f"trials/**/{file}")
    if path.suffix == ".npz":
        files.save_arrays(path, {"indices": np.arange(3)})
    else:
        path.write_text("index\n0\n")
    with pytest.raises(InputError, match=f"{path.name}.* {lacks}"):
        figures_of(tmp_path, experiment)
    path.unlink()
    figures_of(tmp_path, experiment)
