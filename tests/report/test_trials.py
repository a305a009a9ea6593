"""Names of trials."""

import pytest

from tfprune import store
from tfprune.report import trials


@pytest.mark.parametrize(
    ("settings", "in_legend", "names"),
    [
        ([{}], [], ["digits, lenet_300_100, 40% symmetric noise"]),
        ([{}, {"dataset": "mnist", "criterion": "random"}], [],
         ["digits, magnitude pruning", "mnist, random pruning"]),
        ([{}, {}], [], ["digits-lenet-00000000", "digits-lenet-00000001"]),
        # Those that differ only in the legend share a name.
        ([{}, {"criterion": "random"}, {"noise_fraction": 0.2}], ["criterion"],
         ["20% label noise", "40% label noise", "40% label noise"]),
    ],
)  # fmt: skip
def test_trials_are_named_by_what_varies_else_by_what_they_are(
    make_folder, settings, in_legend, names
):
    results = store.read_results(make_folder(settings, levels=1))
    assert list(trials.names(results, in_legend).values()) == names


def test_trials_are_ordered_by_their_settings_not_by_their_names(make_folder):
    grid = [(n, c) for n in (0.4, 0.2) for c in ("random", "magnitude")]
    folder = make_folder([{"noise_fraction": n, "criterion": c} for n, c in grid], levels=1)
    table = trials.label_columns(store.read_results(folder))
    assert list(table.columns) == ["noise_fraction", "criterion"]
    assert table.to_numpy().tolist() == sorted(map(list, grid))


def test_trials_that_no_setting_tells_apart_have_a_column_of_names(make_folder):
    results = store.read_results(make_folder([{}, {}], levels=1, columns=()))
    labels = trials.label_columns(results)["trial"].tolist()
    assert labels == list(trials.names(results).values())
    assert labels == ["digits-lenet-00000000", "digits-lenet-00000001"]
    assert trials.label_columns(results.iloc[:1]).empty


def test_a_column_that_varies_inside_a_trial_is_no_setting(make_folder):
    folder = make_folder(levels=2, seeds=(0,))
    rows = store.read_results(folder)[list(store.KEY_COLUMNS)]
    store.merge_rows(folder, rows.assign(barrier=[0.0, 0.1]).to_dict("records"), ["barrier"])
    assert "barrier" not in trials.settings(store.read_results(folder))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"label_noise": "none", "noise_fraction": 0.0}, "no label noise"),
        ({"label_noise": "pairflip"}, "pairflip noise"),
        ({"noise_fraction": 0.2}, "20% label noise"),
        ({"noise_fraction": 0.0}, "no label noise"),
        ({"rewind_to": "10ep", "width": 0.5}, "rewind_to=10ep, width=0.5"),
    ],
)
def test_settings_are_said_in_words(settings, said):
    assert trials.describe(settings) == said
