"""results.csv and metrics.csv."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from wording import says

from tfprune import layout, store
from tfprune.errors import InputError

KEY = {"experiment": "e", "trial": "t-01234567", "seed": 0, "level": 0}
COLUMNS = (*layout.RESULT_COLUMNS, store.STAGE)


def test_floats_read_back_bit_for_bit(tmp_path):
    values = [0.1, 1 / 3, 5e-324, 0.30000000000000004, float(np.float32(0.1)), 1e22, math.pi]
    values += np.random.default_rng(0).lognormal(0, 20, 500).tolist()
    store.merge_rows(tmp_path, [{**KEY, "level": n, "train_loss": v} for n, v in enumerate(values)])
    read = store.read_results(tmp_path)["train_loss"]
    assert read.to_numpy().tobytes() == np.array(values).tobytes()


def test_rows_are_sorted_by_key_with_numbers_as_numbers(tmp_path):
    rows = [
        {**KEY, "seed": seed, "level": level, "branch": branch}
        for seed in (10, 2)
        for branch in ("redense", "")
        for level in (10, 9)
    ]
    store.merge_rows(tmp_path, rows)
    read = store.read_results(tmp_path)
    assert list(zip(read["seed"], read["branch"], read["level"], strict=True)) == [
        (2, "", 9), (2, "", 10), (2, "redense", 9), (2, "redense", 10),
        (10, "", 9), (10, "", 10), (10, "redense", 9), (10, "redense", 10),
    ]  # fmt: skip


def test_a_row_of_the_same_key_is_replaced_and_others_are_left_byte_for_byte(tmp_path):
    store.merge_rows(tmp_path, [{**KEY, "test_loss": 0.1}, {**KEY, "level": 1, "test_loss": 0.7}])
    before = (tmp_path / layout.RESULTS).read_text().splitlines()
    store.merge_rows(tmp_path, [{**KEY, "test_loss": 0.2}])
    after = (tmp_path / layout.RESULTS).read_text().splitlines()
    assert store.read_results(tmp_path)["test_loss"].tolist() == [0.2, 0.7]
    assert (before[0], before[2]) == (after[0], after[2])


def test_cells_that_a_new_row_does_not_name_are_kept(tmp_path):
    store.merge_rows(tmp_path, [{**KEY, "criterion": "snip", "test_loss": 0.1}], ["criterion"])
    store.merge_rows(tmp_path, [{**KEY, "test_loss": 0.2}])
    row = store.read_results(tmp_path).iloc[0]
    assert (row["criterion"], row["test_loss"]) == ("snip", 0.2)


def test_a_trial_that_is_called_otherwise_now_keeps_its_rows(tmp_path):
    rows = [{**KEY, "trial": "digits-0a1b2c3d", "level": level} for level in (0, 1)]
    other = {**KEY, "experiment": "other", "trial": "digits-0a1b2c3d", "level": 0}
    store.merge_rows(tmp_path, [{**row, "test_loss": 0.5} for row in (*rows, other)])
    store.merge_rows(tmp_path, [{**rows[0], "trial": "digits-magnitude-0a1b2c3d"}])
    found = store.read_results(tmp_path).sort_values(["experiment", "level"])
    mine = found["experiment"] == KEY["experiment"]
    assert set(found["trial"][~mine]) == {"digits-0a1b2c3d"}
    assert found["trial"][mine].tolist() == ["digits-magnitude-0a1b2c3d"] * 2
    assert found["test_loss"].tolist() == [0.5] * 3


def test_columns_are_the_fixed_ones_then_others_in_order_of_coming(tmp_path):
    store.merge_rows(tmp_path, [KEY], ["zeta"])
    store.merge_rows(tmp_path, [{**KEY, "experiment": "f"}], ["alpha", "zeta"])
    header = (tmp_path / layout.RESULTS).read_text().splitlines()[0].split(",")
    assert header == [*layout.RESULT_COLUMNS, "stage", "variant", "zeta", "alpha"]


def test_types_are_right_and_empty_is_empty(tmp_path):
    extra = {"label_noise": "NA", "sparsities": (0.5, 0.9), "val_loss": float("nan")}
    store.merge_rows(
        tmp_path,
        [{**KEY, **extra, "best_epoch": 3}, {**KEY, "level": 1}],
        ["label_noise", "sparsities"],
    )
    text = (tmp_path / layout.RESULTS).read_text()
    assert "nan" not in text.lower()
    read = store.read_results(tmp_path)
    assert read["seed"].dtype == read["level"].dtype == np.int64
    assert read["val_loss"].dtype == np.float64
    assert read["val_loss"].isna().all()
    assert read["best_epoch"].tolist() == [3, pd.NA]
    assert read["branch"].tolist() == ["", ""]
    assert read["label_noise"].tolist() == ["NA", ""]
    assert read["sparsities"].tolist() == ["0.5,0.9", ""]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**KEY, "test_acuracy_last": 0.5}, "did you mean test_accuracy_last"),
        ({k: v for k, v in KEY.items() if k != "seed"}, "has no seed"),
    ],
)
def test_a_row_of_other_columns_is_refused_and_nothing_is_written(tmp_path, row, said):
    with pytest.raises(InputError, match=said):
        store.merge_rows(tmp_path, [row])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"run an experiment first.*--output_dir="),
        ("experiment,trial,seed\ne,t,0\n", "lacks the columns branch, level, sparsity"),
        (",".join(layout.RESULT_COLUMNS) + "\n", "lacks the column stage"),
        (",".join(COLUMNS) + "\ne,t,0,,zero\n", r"results\.csv is damaged"),
    ],
)
def test_results_that_cannot_be_read_are_one_clear_line(tmp_path, text, said):
    if text is not None:
        (tmp_path / layout.RESULTS).write_text(text)
    with pytest.raises(InputError, match=said):
        store.read_results(tmp_path)


def test_metrics_have_epochs_as_integers_and_name_the_columns_they_lack(tmp_path):
    path, columns = tmp_path / layout.METRICS, layout.METRIC_COLUMNS
    path.write_text(",".join(columns) + "\n" + ",".join(["1", *[""] * (len(columns) - 1)]) + "\n")
    metrics = store.read_metrics(tmp_path, ".")
    assert metrics["epoch"].dtype == np.int64
    assert metrics["val_loss"].isna().all()
    path.write_text("epoch\n1\n")
    with pytest.raises(InputError, match="lacks the columns learning_rate"):
        store.read_metrics(tmp_path, ".")


def test_tables_of_measurements_stand_below_each_other_each_with_what_its_row_is_of(tmp_path):
    (tmp_path / "a.csv").write_text("place,x\n0,0.5\n1,0.25\n")
    (tmp_path / "b.csv").write_text("place,x\n0,\n")
    rows = pd.DataFrame({"seed": [2, 1, 0, 3], "line": ["a.csv", "", "gone.csv", "b.csv"]})
    found = store.read_measurements(tmp_path, rows, "line", ["x"])
    assert (found["seed"].tolist(), found["place"].tolist()) == ([2, 2, 3], [0, 1, 0])
    np.testing.assert_array_equal(found["x"], [0.5, 0.25, np.nan])
    none = store.read_measurements(tmp_path, rows, "surface", ["x"])
    assert (list(none), len(none)) == (["seed", "x"], 0)
    with pytest.raises(InputError, match="lacks the column y"):
        store.read_measurements(tmp_path, rows, "line", ["y"])


@pytest.mark.parametrize(
    ("damage", "whole"),
    [
        (lambda text: text[:-9], 1),
        (lambda text: text + text, 2),
        (lambda text: text + text.split("\n", 1)[1], 2),
        (lambda text: text.replace("0.5", "\ufffd"), 1),
    ],
    ids=["cut", "doubled", "rows doubled", "no text"],
)
def test_of_a_damaged_table_each_whole_row_stays_once(tmp_path, damage, whole):
    rows = [{**KEY, "test_loss": 0.25}, {**KEY, "level": 1, "test_loss": 0.5}]
    store.merge_rows(tmp_path, rows)
    path = tmp_path / layout.RESULTS
    path.write_text(damage(path.read_text()))
    assert says(store.mend_results(tmp_path), "set aside", f"{whole} rows were whole")
    assert store.read_results(tmp_path)["test_loss"].tolist() == [0.25, 0.5][:whole]
    assert store.mend_results(tmp_path) == ""


@pytest.mark.parametrize(
    "text",
    ["a,b\n1,2\n", "experiment;trial;seed\ne;t;0\n", "experiment,trial,seed,test_accuracy\n"],
)
def test_a_table_of_another_program_or_version_stays_where_it_is(tmp_path, text):
    path = tmp_path / layout.RESULTS
    path.write_text(text)
    for touch in (store.mend_results, lambda folder: store.merge_rows(folder, [KEY])):
        with pytest.raises(InputError, match=r"results\.csv lacks the columns .* move it away"):
            touch(tmp_path)
    assert path.read_text() == text
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == [layout.RESULTS]


def test_a_mark_before_the_text_is_no_damage(tmp_path):
    """Spreadsheet programs write one."""
    store.merge_rows(tmp_path, [{**KEY, "test_loss": 0.25}])
    path = tmp_path / layout.RESULTS
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert store.mend_results(tmp_path) == ""
    assert store.read_results(tmp_path)["test_loss"].tolist() == [0.25]


@pytest.mark.parametrize(
    ("name", "is_folder"),
    [
        *((name, True) for name in (layout.RESULTS, layout.REPORT)),
        *((name, False) for name in (layout.TENSORBOARD, layout.TRIALS, layout.FIGURES)),
        *((name, False) for name in (layout.TABLES, ".claims")),
    ],
)
def test_files_and_folders_that_stand_in_each_others_place_are_named(tmp_path, name, is_folder):
    store.check_kinds(tmp_path)
    (tmp_path / name).mkdir() if is_folder else (tmp_path / name).touch()
    with pytest.raises(InputError) as refused:
        store.check_kinds(tmp_path)
    assert says(str(refused.value), str(tmp_path / name), "must be a", "move it away")
