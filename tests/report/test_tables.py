"""Aggregation over seeds, against NumPy, and its text forms."""

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
    assert table[["level", "n"]].to_numpy().tolist() == [[0, 3], [1, 3], [2, 3]]
    values = results.pivot(index="level", columns="seed", values="test_accuracy_last").to_numpy()
    means, stds = values.mean(axis=1), values.std(axis=1, ddof=1)
    assert table["test_accuracy_last_mean"].tolist() == pytest.approx(means, rel=1e-15)
    assert table["test_accuracy_last_std"].tolist() == pytest.approx(stds, rel=1e-12)


@pytest.mark.parametrize("there", [True, False], ids=["diverged", "no row"])
@pytest.mark.parametrize(
    ("lost", "n", "named"),
    [
        ("level == 2 and seed == 7", [2, 2, 1], ["", "", "7"]),
        ("level == 1", [2, 0, 2], ["", "4, 7", ""]),
    ],
)
def test_seeds_without_a_number_are_named_and_not_averaged(make_folder, lost, n, named, there):
    results = store.read_results(make_folder(levels=3, seeds=(4, 7)))
    at = results.query(lost).index
    results.loc[at, list(tables.ACCURACIES)] = np.nan
    table = tables.aggregate(results if there else results.drop(at))
    expected = [pair for pair in zip(n, named, strict=True) if there or pair[0]]
    assert list(zip(table["n"], table["missing_seeds"], strict=True)) == expected


@pytest.mark.parametrize(
    ("remaining", "text"), [(0.8**24, "99.5"), (0.00007, "99.993"), (0.0, "100"), (0.5, "50.0")]
)
def test_sparsity_has_as_many_decimals_as_the_papers_print(remaining, text):
    assert tables.sparsity_percent(1 - remaining) == text


def test_csv_keeps_every_bit_and_markdown_is_rounded(make_folder):
    folder = make_folder(levels=2)
    table = tables.accuracy_table(store.read_results(folder))
    tables.write_table(folder, table)
    read = pd.read_csv(folder / "tables/accuracy.csv", float_precision="round_trip")
    assert read["train_accuracy_mean"].tolist() == table.numbers["train_accuracy_mean"].tolist()
    first, second = (folder / "tables/accuracy.md").read_text().splitlines()[4:6]
    assert second.split("|")[2].strip() == "20.0"
    mean, std = (100 * table.numbers[f"test_accuracy_last_{what}"][0] for what in ("mean", "std"))
    level, sparsity, _, last = (cell.strip() for cell in first.split("|")[1:5])
    assert (level, sparsity, last) == ("0", "0", f"{mean:.1f} ± {std:.1f}")


def test_the_terminal_table_fits_80_columns_without_cutting_a_number(make_folder):
    results = store.read_results(make_folder(levels=23, skip=[(0, 1, 2)]))
    table = tables.accuracy_table(results)
    printed = io.StringIO()
    tables.print_table(table, Console(file=printed, width=80))
    assert "…" not in printed.getvalue()
    assert all(cell in printed.getvalue() for cell in table.shown["best test (%)"])
