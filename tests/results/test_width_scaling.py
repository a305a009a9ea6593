"""The report of width_scaling on made-up folders."""

import numpy as np
import pandas as pd
import pytest
from peg import WEIGHTS, family, realistic, row, write

from tfprune import store
from tfprune.results import families, family_figures, report, width_scaling
from tfprune.results.families import LR_REWIND, ONE_SHOT, TEST_ERROR, WIDTH, WIDTH_MATCHED

MINE = {"experiment": "width_scaling"}


def mine(rows):
    return [each | MINE for each in rows]


def tables_of(folder, rows):
    made = width_scaling.build_tables(store.read_results(write(folder, mine(rows))))
    return {table.name.removeprefix("width_scaling_"): table for table in made}


def test_all_families_make_every_figure_and_table_of_the_paper(tmp_path):
    methods = (LR_REWIND, WIDTH, ONE_SHOT, WIDTH_MATCHED)
    write(tmp_path, mine(realistic(methods, (0.0, 0.15), (0, 1), levels=5)))
    report.build_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    for number in (7, 11, 12):
        assert f"In the paper: <cite>PEG figure {number}" in page
    assert {path.stem for path in tmp_path.glob("tables/*.csv")} == {
        "width_scaling_optima", "width_scaling_table_7", "width_scaling_claims"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("methods", "drawn"),
    [
        ([LR_REWIND], []),
        ([LR_REWIND, ONE_SHOT], []),
        ([WIDTH], ["error", "benchmarks"]),
        ([ONE_SHOT, WIDTH_MATCHED], ["matched_training"]),
    ],
)
def test_figures_that_need_families_that_were_not_run_are_left_out(tmp_path, methods, drawn):
    write(tmp_path, mine(realistic(methods, (0.15,), (0,), levels=3)))
    files = [info.file for info in width_scaling.build(tmp_path)]
    assert files == [f"figures/width_scaling_{name}.png" for name in drawn]


def test_table_7_has_ours_beside_the_papers_at_a_portion_of_the_full_width(tmp_path):
    # The paper, 15% noise: LR rewinding 9.96 ± 0.62, width scaling 6.08 ± 0.33.
    rows = family(WIDTH, {0: [13, 6.2, 7], 1: [13, 6.4, 7]}, noise=0.15)
    rows += family(LR_REWIND, {0: [13, 12, 8.5], 1: [13, 12, 8.7]}, noise=0.15)
    shown = tables_of(tmp_path, rows)["table_7"].shown
    assert shown["algorithm"].tolist() == ["LR rewinding", "width scaling"]
    assert shown["optimum at"].tolist() == ["64%", f"{100 * 0.8**1.5:.3g}%"]
    assert shown["paper (%)"].tolist() == ["9.96 ± 0.62", "6.08 ± 0.33"]
    assert shown["vs paper"].tolist() == ["lower", "matches"]
    assert shown["vs LR rewinding"].tolist() == ["", "lower (-2.30)"]


def test_widths_and_prunings_share_the_axis_of_weights_remaining(tmp_path):
    rows = family(WIDTH, {0: [5, 4, 6]}) + family(LR_REWIND, {0: [5, 4]})
    found = families.families(pd.DataFrame(rows))
    figure = family_figures.by_method(
        found, {WIDTH: "o", LR_REWIND: "s"}, family_figures.by_remaining
    )
    curves = {line.get_marker(): line.get_xdata() for line in figure.axes[0].get_lines()}
    step = -np.log(0.8)
    assert curves["o"] == pytest.approx([0, 1.5 * step, 3 * step], abs=1e-4)
    assert curves["s"] == pytest.approx([0, step], abs=1e-4)


def test_every_benchmark_has_its_panel_of_weights():
    rows = family(WIDTH, {0: [5, 4, 6]}) + family(WIDTH, {0: [9, 8, 10]}, noise=0.15)
    figure = width_scaling.by_benchmark(families.families(pd.DataFrame(rows)))
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == ["LeNet-300-100, mnist, no noise", "LeNet-300-100, mnist, 15% noise"]
    curve = figure.axes[0].get_lines()[0]
    assert curve.get_xdata().tolist() == [round(WEIGHTS * 0.8 ** (1.5 * k)) for k in range(3)]
    assert figure.axes[0].get_xlim()[0] > figure.axes[0].get_xlim()[1]  # Dense on the left.


def test_the_full_width_is_known_though_its_own_trial_is_not_there_yet():
    rows = family(LR_REWIND, {0: [5, 4]}) + [row(WIDTH, 0, 0, 4.5, width=0.8**k) for k in (1, 2)]
    ((_, here),) = families.by_benchmark(families.families(pd.DataFrame(rows))).items()
    assert here[WIDTH].members == [0, 1, 2]
    assert here[WIDTH].by_seed(TEST_ERROR, 0) == pytest.approx({0: 5.0})


def test_a_sweep_from_a_wider_network_is_measured_against_that_one():
    rows = [row(WIDTH, 0, 0, 5.0 - k, width=2 * 0.8**k) for k in range(3)]
    (one,) = families.families(pd.DataFrame(rows))
    assert one.benchmark.width == 2
    assert one.benchmark.panel == "LeNet-300-100, mnist, width 2"
    assert one.means(TEST_ERROR)["weights_remaining"].iloc[0] == 1
