"""The report: from files alone, the same bytes every time, and honest about what is missing."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from tfprune import files
from tfprune.errors import InputError
from tfprune.results import figures, layout, report, sparse_double_descent, store, tables, trials

FIGURES = [
    "figures/sparse_double_descent_accuracy.png",
    "figures/sparse_double_descent_dynamics.png",
    "figures/sparse_double_descent_memorization.png",
    "figures/sparse_double_descent_memorization_by_sparsity.png",
]


def text_of(folder) -> str:
    return html.unescape((folder / layout.REPORT).read_text())


def test_the_whole_report_of_a_dip_and_a_rise(make_folder):
    folder = make_folder(skip=[(0, 2, 5), (0, 2, 6)])
    assert report.build_report(folder) == folder / layout.REPORT
    page = text_of(folder)
    for file in FIGURES:
        assert (folder / file).read_bytes().startswith(b"\x89PNG")
    assert re.findall(r'<a href="(figures/\S+)"', page) == FIGURES
    assert page.count("data:image/png;base64,") == 4
    assert "seed 2: no result at levels 5, 6" in page
    assert "SDD figures 3, 10 and 12" in page
    assert "run.py sparse_double_descent --noise_fraction=0.4" in page
    assert "CPU, 2 cores" in page
    for name in ("accuracy", "pruning_efficacy"):
        assert (folder / f"tables/sparse_double_descent_{name}.csv").exists()
        assert f'href="tables/sparse_double_descent_{name}.csv"' in page


def test_the_page_loads_nothing_and_its_links_exist(make_folder):
    folder = make_folder(levels=2, seeds=(0,))
    report.build_report(folder)
    links = []

    class Links(HTMLParser):
        def handle_starttag(self, tag, attrs):
            assert tag not in ("script", "link", "iframe")
            links.extend(value for name, value in attrs if name in ("src", "href"))

    Links().feed((folder / layout.REPORT).read_text())
    local = [link for link in links if not link.startswith("data:")]
    assert len(local) > 4
    assert all((folder / link).exists() for link in local)
    assert "url(" not in text_of(folder)


def test_the_same_files_give_the_same_bytes_and_need_no_checkpoints(make_folder):
    folder = make_folder(levels=4, seeds=(0, 1))

    def built() -> dict[str, bytes]:
        report.build_report(folder)
        made = [*folder.glob("figures/*"), *folder.glob("tables/*"), folder / layout.REPORT]
        return {path.name: path.read_bytes() for path in made}

    first = built()
    for name in (layout.FIGURES, layout.TABLES):
        shutil.rmtree(folder / name)
    assert len(first) == 9
    assert built() == first


def test_a_folder_that_is_still_being_filled_says_what_is_not_there(make_folder):
    folder = make_folder(levels=3, seeds=(0, 1))
    shutil.rmtree(folder / "trials/digits-lenet-00000000/seed_1/level_02")
    config = folder / "trials/digits-lenet-00000000/seed_0/config.json"
    record = files.read_json(config)
    record["config"]["seeds"] = [0, 1, 2]
    files.write_json(config, record)
    report.build_report(folder)
    page = text_of(folder)
    assert "levels 3 to 22 are not there yet" in page
    assert "seed 2: no level is there yet" in page


def test_metrics_that_are_gone_are_counted_in_the_legend(make_folder):
    folder = make_folder(levels=3, seeds=(0, 1))
    shutil.rmtree(folder / "trials/digits-lenet-00000000/seed_1/level_02")
    results = store.read_results(folder)
    table, seeds, expected = figures.epoch_curves(folder, results, "digits-lenet-00000000", 2)
    assert (seeds, expected, len(table)) == (1, 2, 20)
    legend = figures.training_dynamics(folder, results).axes[1].get_legend()
    assert [text.get_text() for text in legend.get_texts()][-1] == "36.0% (1 of 2 seeds)"


def test_without_label_noise_there_is_no_memorization_figure(make_folder):
    folder = make_folder(levels=2, seeds=(0,))
    store.merge_rows(
        folder,
        [
            {**key, **dict.fromkeys(figures.MEMORIZATION_COLUMNS)}
            for key in store.read_results(folder)[list(store.KEY_COLUMNS)].to_dict("records")
        ],
    )
    for path in folder.glob("trials/*/*/*/metrics.csv"):
        table = store.read_metrics(path.parent, ".")
        table[list(figures.MEMORIZATION_COLUMNS)] = None
        path.write_text(table.to_csv(index=False))
    assert [info.file for info in sparse_double_descent.build(folder)] == FIGURES[:2]


def test_no_results_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match="run an experiment first"):
        report.build_report(tmp_path)


def test_an_experiment_without_a_builder_gets_accuracy_against_sparsity(make_folder):
    folder = make_folder(levels=3, experiment="mystery")
    report.build_report(folder)
    assert [path.name for path in folder.glob("figures/*")] == ["mystery_accuracy.png"]
    assert (folder / "tables/mystery_accuracy.md").exists()
    table = tables.aggregate(store.read_results(folder))
    highest = f"highest, {100 * table['test_accuracy_last_mean'].max():.1f}"
    assert highest in text_of(folder)


def test_stages_that_experiments_share_cost_once(make_folder):
    make_folder(levels=2, seeds=(0,))
    folder = make_folder(levels=2, seeds=(0,), experiment="redense")
    results = store.read_results(folder)
    assert len(results) == 4
    assert report.stage_seconds(results) == pytest.approx(0.4)


def test_the_accuracy_figure_draws_the_aggregated_numbers(make_folder):
    sweep = [
        {"criterion": criterion, "noise_fraction": noise}
        for noise in (0.2, 0.4)
        for criterion in ("magnitude", "random")
    ]
    results = store.read_results(make_folder(sweep, levels=3))
    figure = figures.accuracy_against_sparsity(results)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["20% label noise", "40% label noise", "", ""]
    lower = figure.axes[2]
    assert len(lower.get_lines()) == 4
    table = tables.aggregate(results[results["trial"] == "digits-lenet-00000000"])
    last, best = lower.get_lines()[:2]
    assert (last.get_linestyle(), best.get_linestyle()) == ("-", ":")
    assert last.get_ydata().tolist() == (100 * table["test_accuracy_last_mean"]).tolist()
    assert best.get_ydata().tolist() == (100 * table["test_accuracy_best_mean"]).tolist()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "magnitude", "random", "last epoch", "best epoch (test)", "± std over seeds"
    ]  # fmt: skip


def test_the_reading_says_the_numbers_of_the_fall_and_the_rise(make_folder):
    results = store.read_results(make_folder())
    means = results.groupby("level")["test_accuracy_last"].mean() * 100
    dip, peak = means[:16].idxmin(), means.idxmax()
    reading = sparse_double_descent.descent_reading(results)
    sparsity = [tables.sparsity_percent(1 - 0.8**level) for level in (dip, peak)]
    assert reading == (
        f"Last test accuracy falls from {means[0]:.1f}% (dense) to {means[dip]:.1f}% at "
        f"{sparsity[0]}%, then rises to {means[peak]:.1f}% at {sparsity[1]}% sparsity."
    )


def test_a_fall_within_the_spread_over_seeds_is_said_to_be_one(make_folder):
    results = store.read_results(make_folder())
    spread = 0.2 * (results["seed"] - 1)
    results["test_accuracy_last"] += spread
    results["test_accuracy_best"] += spread
    reading = sparse_double_descent.descent_reading(results)
    assert "within the spread over seeds (std up to 2" in reading


def test_a_single_level_is_not_said_to_show_anything(make_folder):
    results = store.read_results(make_folder(levels=1))
    reading = sparse_double_descent.descent_reading(results)
    assert reading.endswith("for the dense network, the only level that is there.")


def test_the_tolerance_is_read_from_the_results(make_folder):
    results = store.read_results(make_folder())
    loose = results.assign(**{trials.EFFICACY_TOLERANCE: 0.1})
    tight, wide = (sparse_double_descent.build_tables(table)[1] for table in (results, loose))
    assert wide.numbers["tolerance"][0] == 0.1
    assert wide.numbers["efficacy_mean"][0] > tight.numbers["efficacy_mean"][0]


def test_durations_are_said_in_words():
    assert [report.duration(s) for s in (0, 59.94, 59.99, 75, 3600, 7260)] == [
        "0.0 s", "59.9 s", "1 min 0 s", "1 min 15 s", "1 h 0 min", "2 h 1 min"
    ]  # fmt: skip


def test_reports_need_neither_tensorflow_nor_pyplot():
    code = (
        "import sys, tfprune.results.report, tfprune.results.sparse_double_descent\n"
        "bad = {'tensorflow', 'tf_keras', 'matplotlib.pyplot', 'tfprune.training',"
        " 'tfprune.studies', 'tfprune.models.build'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
