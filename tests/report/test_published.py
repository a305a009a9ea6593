"""The transcribed tables against the numbers that the papers repeat or derive from them."""

import math

import numpy as np
import pytest
from scipy import stats

from tfprune.catalog import DATASETS, MODELS
from tfprune.errors import SettingError
from tfprune.papers.items import PAPERS
from tfprune.papers.published import published

CELL = ["model", "method", "at", "noise_fraction"]
ODD = ("vgg16", "lr_rewind", "optimal", 0.6)  # Tables disagree on it; peg.csv has a note.


@pytest.mark.parametrize("paper", PAPERS)
def test_columns_and_names_are_those_of_a_run(paper):
    rows = published(paper)
    assert list(rows) == list(published("PEG"))
    assert set(rows["model"]) <= set(MODELS)
    assert set(rows["dataset"]) <= set(DATASETS)
    assert rows["mean"].notna().all()
    assert not rows.duplicated(["table", "metric", "dataset", *CELL]).any()


# The sums of means, and of stds, were taken over the numbers of the papers' texts, regardless of
# rows and columns: paper -> table -> (how many, sum of means, sum of stds).
PRINTED = {
    "PEG": {
        "2": (6 * 5, 415.30, 4.80),
        "3": (4 * 4 + 2, 5.98, 0),
        "4": (5 * 3 * 2, 1083.69, 0),
        "5": (2 * 13, 667.54, 9.12),
        "6": (3 * 16, 1016.00, 13.90),
        "7": (2 * 18, 731.12, 9.17),
        "8": (2 * 2 * 13, 1250.48, 17.02),
        "9": (2 * 18, 714.60, 10.54),
        "10": (3 * 18, 1093.76, 23.01),
        # 13 benchmarks, two parts; dense, sparse and their difference.
        "11": (13 * 2 * 3, 91.37 + 23.57, 2.40),
    },
    # Table 1 has two dashes; table 2 has accuracies, then losses.
    "PM": {"1": (8 - 2, 490.590, 0), "2": (2 * 3 * 2, 546.62 + 0.197, 0)},
    "SDD": {
        "figure 2": (25, 1970.76, 0),
        "figure 4": (5, 394.0, 0),
        "figure 5": (3, 294.3, 0),
        "figure 9": (10, 725.85, 0),
        "figure 10": (3, 188.11, 0),
        "figure 11": (5, 384.0, 0),
        "figure 12": (5, 396.57, 0),
        "figure 13": (5, 396.57, 0),
        "section 4": (2, 195.04, 0),
    },
}


@pytest.mark.parametrize("paper", PRINTED)
def test_tables_have_as_many_numbers_as_a_paper_prints_and_add_up_to_them(paper):
    rows = published(paper).groupby("table", sort=False)
    sums = {name: (len(own), own["mean"].sum(), own["std"].sum()) for name, own in rows}
    assert sums == {
        table: pytest.approx(known, rel=1e-9) for table, known in PRINTED[paper].items()
    }


@pytest.mark.parametrize(
    ("paper", "counts"),
    [("PEG", {3}), ("SDD", {3, 5}), ("PM", {-1})],  # PM does not say of how many seeds it is.
)
def test_seeds_are_those_that_a_paper_says(paper, counts):
    rows = published(paper)
    assert set(rows["n"].fillna(-1)) == counts
    assert set(rows.loc[rows["n"] == 5, "dataset"]) <= {"mnist"}


# ---------------------------------------------------------------- PEG
def errors(table):
    """{cell: (mean, std)} of a table's test errors, in percent."""
    rows = published("PEG", table).query("metric == 'test_error_percent'")
    return {tuple(cell): (mean, std) for *cell, mean, std in rows[[*CELL, "mean", "std"]].values}


def test_numbers_without_a_spread_are_similarities_changes_and_sparsities():
    rows = published("PEG")
    unspread = set(rows.loc[rows["std"].isna(), "metric"])
    changes = {"noisy_loss_change", "original_loss_change"}
    assert unspread == {"jaccard", "weights_remaining_percent", *changes}


def test_the_same_runs_have_the_same_numbers_in_tables_5_7_9_and_10():
    fine = [errors(table) for table in (5, 7, 9, 10)]
    cells = {cell for table in fine for cell in table if cell[1] == "lr_rewind"}
    assert len(cells) == 18
    # Table 9 alone prints 27.90 ± 1.41 where the others print 25.29 ± 0.49.
    for cell in cells - {ODD}:
        assert len({table[cell] for table in fine if cell in table}) == 1, cell
    (note,) = published("PEG", 9).query("mean == 27.90")["note"]
    assert "25.29±0.49 (table 5/7/10)" in note


@pytest.mark.parametrize("coarse", [2, 6])
def test_tables_2_and_6_are_the_others_rounded_to_a_tenth(coarse):
    fine = {**errors(8), **errors(5), **errors(9), **errors(10)}
    compared = set(errors(coarse)) & set(fine) - {ODD}  # 25.5 ± 0.3 in table 6, as in table 8.
    assert len(compared) >= 20
    for cell in compared:
        assert errors(coarse)[cell] == pytest.approx(fine[cell], abs=0.0501), cell


def test_whatever_another_table_prints_differently_has_a_note_that_says_it():
    """By more than tables 2 and 6 round: the note names the other number with its table."""
    rows = published("PEG").query("metric == 'test_error_percent'")
    pairs = rows.merge(rows, on=CELL, suffixes=("", "_other"))
    apart = (pairs["mean"] - pairs["mean_other"]).abs() > 0.0501
    told = pairs[apart & ~pairs["table_other"].isin(["2", "6"])]
    assert len(told) > 40
    for row in told.itertuples():
        assert f"{row.mean_other:.2f}±{row.std_other:.2f}" in row.note, row


def losses():
    """Table 11's, a row per benchmark."""
    about = ["model", "noise_fraction"]
    return published("PEG", 11).pivot(index=about, columns=["metric", "at"], values="mean")


@pytest.mark.parametrize("part", ["noisy_loss", "original_loss"])
def test_table_11s_changes_are_its_sparse_minus_its_dense_losses(part):
    rows = losses()
    assert len(rows) == 13
    change = rows[part, "optimal"] - rows[part, "dense"]
    assert change.to_numpy() == pytest.approx(rows[f"{part}_change", "optimal"].to_numpy())


@pytest.mark.parametrize(("at", "ends"), [("dense", [0.03, 0.13]), ("optimal", [1.38, 2.97])])
def test_section_4s_gaps_are_those_of_table_11(at, ends):
    vgg = losses().loc["vgg16"]
    gap = vgg["noisy_loss", at] - vgg["original_loss", at]
    assert [gap.min(), gap.max()] == pytest.approx(ends)


# ---------------------------------------------------------------- PM
def test_pm_prefers_pruned_networks_to_small_ones_but_for_channels():
    """What sections 2.2.2 and 3 conclude from the tables."""
    values = published("PM").set_index(["table", "metric", "at", "method"])["mean"].sort_index()
    first = values["1", "val_accuracy_percent", "level_5"]
    assert first["lr_rewind"] > first["finetune"] > first["small"]
    assert first["channel_small"] > first["channel_lr_rewind"] > first["channel_finetune"]
    second = values["2"].unstack("method")
    better = second["lr_rewind"] > second["small"]
    assert better["val_accuracy_percent"].all()
    assert not better["train_loss"].any()


# ---------------------------------------------------------------- GST
def gst(metric):
    """{(table, model): mean} of a metric of GST."""
    rows = published("GST").query("metric == @metric")
    return {(table, model): mean for table, model, mean in rows[["table", "model", "mean"]].values}


def test_gsts_numbers_are_those_of_its_figures_and_sections():
    counts = {"figure 2": 4, "figure 3": 1, "section 2": 2, "section 3.2": 1}
    assert published("GST")["table"].value_counts().to_dict() == counts
    assert gst("test_accuracy_percent") == {("figure 3", "vgg11"): 85.2}


def fitting(model):
    """The numbers of points of which figure 2's correlation has the p-value that it prints."""
    r, printed = (gst(f"accuracy_stability_pearson{p}")["figure 2", model] for p in ("", "_p"))
    r = abs(r) + np.array([0.005, -0.005])  # Printed to two digits.
    points = np.arange(20, 41)[:, None]
    low, high = 2 * stats.t.sf(r * np.sqrt((points - 2) / (1 - r**2)), points - 2).T
    return points[(low < printed + 5e-4) & (high > printed - 5e-4)].ravel().tolist()


def test_figure_2s_p_values_are_those_of_its_correlations_but_for_resnet18():
    assert 30 in fitting("vgg11")  # Three configurations of ten runs.
    assert fitting("resnet18") == [31, 32]


@pytest.mark.parametrize(
    ("channels", "percents", "parameters", "readers", "printed"),
    [
        (256, [30, 30, 30, 90], 9.23e6, False, ("section 2", "vgg11")),
        (256, [25, 40, 25, 95], 11.17e6, True, ("section 2", "resnet18")),
        (256, [25, 80, 25, 95], 11.17e6, True, ("section 3.2", "resnet18")),
    ],
)
def test_gsts_parameter_reductions_are_those_of_its_schedules(
    channels, percents, parameters, readers, printed
):
    """Of pruning the last four 3x3 convolutions, with the weights that read their channels."""
    full = np.array([channels, 512, 512, 512, 512])
    kept = [math.ceil((100 - percent) * 512 / 100) for percent in percents]
    inputs = [channels, *kept[:-1]] if readers else full[:-1]
    removed = 9 * (np.dot(full[:-1], full[1:]) - np.dot(inputs, kept))
    assert round(100 * removed / parameters) == gst("parameters_removed_percent")[printed]


# ---------------------------------------------------------------- SDD
SAMPLED = ("dense", "overfitting", "first_sweet_spot", "second_sweet_spot", "underfitting")


def sampled(figure, dataset, noise):
    """The levels whose sparsities SDD samples, by what it samples them as."""
    rows = published("SDD", figure).query("dataset == @dataset and noise_fraction == @noise")
    levels = np.log(1 - rows["mean"] / 100) / np.log(0.8)
    return dict(zip(rows["at"], levels.round().astype(int), strict=True))


def test_every_sparsity_that_sdd_prints_is_that_of_a_level_of_20_percent():
    values = published("SDD")["mean"]
    levels = (np.log(1 - values / 100) / np.log(0.8)).round()
    assert (100 * (1 - 0.8**levels)).tolist() == pytest.approx(values.tolist(), abs=0.0051)


@pytest.mark.parametrize(
    ("figures", "dataset", "noise", "levels"),
    [
        (("figure 2", "figure 12", "figure 13"), "cifar10", 0.2, [0, 18, 21, 24, 27]),
        (("figure 2",), "cifar10", 0.4, [0, 16, 18, 21, 24]),
        (("figure 2", "figure 4"), "cifar100", 0.4, [0, 15, 19, 22, 26]),
        (("figure 9",), "mnist", 0.2, [0, 10, 13, 19, 24]),
        (("figure 9",), "mnist", 0.4, [0, 4, 9, 20, 24]),
        (("figure 11",), "mnist", 0.2, [0, 10, 15, 20, 23]),
    ],
)
def test_the_levels_that_sdd_samples(figures, dataset, noise, levels):
    known = dict(zip(SAMPLED, levels, strict=True))
    assert [sampled(figure, dataset, noise) for figure in figures] == [known] * len(figures)
    if dataset == "cifar100":  # Some of them are shown again.
        for part in ("figure 5", "section 4"):
            assert sampled(part, dataset, noise).items() <= known.items()


def test_unknown_papers_and_tables_are_refused_by_name():
    with pytest.raises(SettingError, match="paper=PEH: did you mean PEG"):
        published("peh")
    with pytest.raises(SettingError, match=r"table=1: .*allowed: 2, 3, 4"):
        published("PEG", 1)
