"""Aggregation over seeds, against NumPy, and its text forms."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from tfprune import store
from tfprune.report import tables


def test_mean_and_std_are_those_of_numpy(make_folder):
    results = store.read_results(make_folder(levels=3))
    table = tables.aggregate(results)
    assert table["level"].tolist() == [0, 1, 2]
    for level in range(3):
        values = results.loc[results["level"] == level, "test_accuracy_last"].to_numpy()
        row = table.loc[table["level"] == level].iloc[0]
        assert row["n"] == 3
        assert row["test_accuracy_last_mean"] == pytest.approx(np.mean(values), rel=1e-15)
        assert row["test_accuracy_last_std"] == pytest.approx(np.std(values, ddof=1), rel=1e-12)


def test_a_missing_seed_is_named_and_not_averaged(make_folder):
    results = store.read_results(make_folder(levels=3, skip=[(0, 1, 2)]))
    table = tables.aggregate(results)
    assert table["n"].tolist() == [3, 3, 2]
    assert table["missing_seeds"].tolist() == ["", "", "1"]
    assert tables.accuracy_table(results).shown["missing seeds"].tolist() == ["", "", "1"]


def test_a_seed_that_diverged_is_missing_though_it_has_a_row(make_folder):
    results = store.read_results(make_folder(levels=2))
    diverged = (results["level"] == 1) & (results["seed"] == 2)
    results.loc[diverged, list(tables.ACCURACIES)] = np.nan
    table = tables.aggregate(results)
    assert table["n"].tolist() == [3, 2]
    assert table["missing_seeds"].tolist() == ["", "2"]


def test_a_level_without_any_seed_left_is_still_listed(make_folder):
    results = store.read_results(make_folder(levels=2, seeds=(4, 7)))
    results.loc[results["level"] == 1, list(tables.ACCURACIES)] = np.nan
    table = tables.aggregate(results)
    assert table["n"].tolist() == [2, 0]
    assert table["missing_seeds"].tolist() == ["", "4, 7"]


def test_one_seed_has_no_std_and_shows_none(make_folder):
    results = store.read_results(make_folder(levels=2, seeds=(0,)))
    table = tables.accuracy_table(results)
    assert table.numbers["train_accuracy_std"].isna().all()
    assert not table.shown["train (%)"].str.contains("±").any()
    assert "missing seeds" not in table.shown


def test_trials_are_told_apart_by_what_varies(make_folder):
    trials = [{"noise_fraction": 0.2}, {"noise_fraction": 0.4}]
    table = tables.accuracy_table(store.read_results(make_folder(trials, levels=1)))
    assert table.shown["noise_fraction"].tolist() == ["0.2", "0.4"]
    assert table.numbers["noise_fraction"].tolist() == [0.2, 0.4]
    assert table.labels == ("noise_fraction",)


@pytest.mark.parametrize(
    ("remaining", "text"),
    [
        *zip(
            [0.8**n for n in range(0, 33, 4)],
            ["0", "59.0", "83.2", "93.1", "97.2", "98.8", "99.5", "99.8", "99.92"],
            strict=True,
        ),
        (0.00007, "99.993"),
        (0.0, "100"),
        (0.5, "50.0"),
    ],
)
def test_sparsity_has_as_many_decimals_as_the_papers_print(remaining, text):
    assert tables.sparsity_percent(1 - remaining) == text


def test_csv_keeps_every_bit_and_markdown_is_rounded(make_folder):
    folder = make_folder(levels=2)
    table = tables.accuracy_table(store.read_results(folder), "accuracy")
    tables.write_table(folder, table)
    read = pd.read_csv(folder / "tables/accuracy.csv", float_precision="round_trip")
    assert read["train_accuracy_mean"].tolist() == table.numbers["train_accuracy_mean"].tolist()
    first, second = (folder / "tables/accuracy.md").read_text().splitlines()[4:6]
    assert second.split("|")[2].strip() == "20.0"
    first = first.split("|")
    mean = 100 * table.numbers["test_accuracy_last_mean"][0]
    std = 100 * table.numbers["test_accuracy_last_std"][0]
    assert [cell.strip() for cell in first[1:3]] == ["0", "0"]
    assert first[4].strip() == f"{mean:.1f} ± {std:.1f}"


def test_the_terminal_table_fits_80_columns_without_cutting_a_number(make_folder):
    results = store.read_results(make_folder(levels=23, skip=[(0, 1, 2)]))
    table = tables.accuracy_table(results)
    printed = io.StringIO()
    tables.print_table(table, Console(file=printed, width=80))
    assert "…" not in printed.getvalue()
    for cell in table.shown["best test (%)"]:
        assert cell in printed.getvalue()
