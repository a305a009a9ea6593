"""The settings: validation, JSON both ways, and what the hash depends on."""

import dataclasses
import json

import pytest

from tfprune import config as c
from tfprune.errors import InputError, SettingError
from tfprune.settings import hash8


def run_config(**values):
    return c.from_settings(values, experiment="e", preset="p")


def test_json_round_trip_is_exact():
    config = run_config(
        dataset="mnist", seeds=(3, 1), lr_drop_epochs=(80, 120), learning_rate=0.1 + 0.2
    )
    assert c.from_values(json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"noise_fraction": 1.5, "label_noise": "symmetric"}, "noise_fraction"),
        ({"noise_fraction": 0.2}, "noise_fraction"),
        ({"prune_fraction": -0.1}, "prune_fraction"),
        ({"sparsities": (0.5, 1.5)}, "sparsities"),
        ({"sparsities": (0.9, 0.5)}, "sparsities"),
        ({"criterion": "magnitud"}, "criterion"),
        ({"model": "lenet"}, "model"),
        ({"dataset": "npz:"}, "dataset"),
        ({"train_epochs": 0}, "train_epochs"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"rewind_to": "10"}, "rewind_to"),
        ({"rewind_to": "100ep", "train_epochs": 100}, "rewind_to"),
        ({"seeds": (0, 0)}, "seeds"),
        ({"seeds": (-1,)}, "seeds"),
        ({"seeds": ()}, "seeds"),
        ({"levels": -1}, "levels"),
        ({"normalization": "cifar"}, "normalization"),
        ({"initialization": "kaiming"}, "initialization"),
        ({"warmup_epochs": -1}, "warmup_epochs"),
        ({"warmup_epochs": 5, "train_epochs": 5}, "warmup_epochs"),
        ({"lr_decay": "linear"}, "lr_decay"),
        ({"lr_decay": "cosine", "lr_drop_epochs": (50,)}, "lr_drop_epochs"),
        ({"lr_decay": "cosine", "retrain": "finetune"}, "finetune_lr"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(change, name):
    with pytest.raises(SettingError) as error:
        run_config(**change)
    assert error.value.name == name
    assert str(error.value).startswith(f"{name}=")


def test_a_misspelt_criterion_suggests_the_nearest():
    with pytest.raises(SettingError, match="did you mean magnitude"):
        run_config(criterion="magnitud")


def test_an_unknown_setting_is_refused():
    with pytest.raises(InputError, match="did you mean learning_rate"):
        run_config(lerning_rate=1.0)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.2},
        {"width": 2.0},
        {"label_noise": "symmetric", "noise_fraction": 0.1},
        {"criterion": "random"},
        {"weight_decay": 1e-4},
        {"dtype": "float64"},
        {"train_subset": "100"},
    ],
)
def test_every_value_that_can_change_a_number_changes_the_hash(change):
    assert hash8(c.identity(run_config(**change))) != hash8(c.identity(run_config()))


@pytest.mark.parametrize(
    "change",
    [
        {"output_dir": "/elsewhere"},
        {"data_dir": "/elsewhere"},
        {"seeds": (7,)},
        {"levels": 3},
        {"checkpoint_seconds": 0.0},
        {"strategy": "cpu"},
    ],
)
def test_what_cannot_change_a_number_leaves_the_hash(change):
    assert hash8(c.identity(run_config(**change))) == hash8(c.identity(run_config()))


def test_an_index_file_is_known_by_its_content(tmp_path):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("1\n2\n")
    second.write_text("1\n2\n")
    one, two = (run_config(train_subset=str(p)) for p in (first, second))
    assert c.identity(one) == c.identity(two)
    second.write_text("1\n3\n")
    assert c.identity(one) != c.identity(two)


def test_replace_reaches_every_section():
    config = c.replace(run_config(), criterion="random", width=0.5, seeds=(4,))
    assert (config.pruning.criterion, config.model.width, config.seeds) == ("random", 0.5, (4,))
    assert config.experiment == "e"


def test_rewind_points_count_epochs_or_steps():
    assert c.RewindPoint.parse("10ep").step(391) == 3910
    assert c.RewindPoint.parse("1000it").step(391) == 1000
    assert str(c.RewindPoint.parse("1000it")) == "1000it"
    for odd in ("10", 10, None):
        with pytest.raises(SettingError, match=f"rewind_to={odd}: a number of epochs as 10ep"):
            c.RewindPoint.parse(odd)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": float("inf")},
        {"width": float("inf")},
        {"width": 1e7},
        {"checkpoint_seconds": float("nan")},
        {"sparsities": (0.5, 1.0)},
        {"lr_drop_epochs": (80, 60)},
    ],
)
def test_values_no_training_can_use_are_refused(change):
    with pytest.raises(SettingError, match=f"{next(iter(change))}="):
        run_config(**change)


def test_a_dataset_of_files_is_known_by_its_content(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "d.npz"
    file.write_bytes(b"one")
    by_path, by_home = (run_config(dataset=f"npz:{p}") for p in (file, "~/d.npz"))
    assert c.identity(by_path) == c.identity(by_home)
    before = c.identity(by_path)
    file.write_bytes(b"two")
    assert c.identity(by_path) != before


def test_a_folder_of_images_is_known_by_its_files(tmp_path):
    image = tmp_path / "train" / "cat" / "1.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"x")
    config = run_config(dataset=f"folder:{tmp_path}")
    before = c.identity(config)
    assert c.identity(config) == before
    image.rename(image.with_name("2.png"))
    assert c.identity(config) != before


@pytest.mark.parametrize("change", [{"jit": "off"}, {"deterministic": False}])
def test_how_a_run_computes_is_part_of_its_identity(change):
    """Another compiler rounds differently."""
    assert c.identity(run_config(**change)) != c.identity(run_config())


def test_a_path_without_its_prefix_is_told_which_it_lacks(tmp_path):
    with pytest.raises(SettingError, match=r"did you mean npz:mine\.npz\?"):
        c.DataConfig(dataset="mine.npz")
    with pytest.raises(SettingError, match=f"did you mean folder:{tmp_path}"):
        c.DataConfig(dataset=str(tmp_path))
    assert c.DataConfig(dataset="npz:mine.npz").dataset == "npz:mine.npz"
    assert c.DataConfig(dataset="cifar10_corrupted/fog_1").dataset == "cifar10_corrupted/fog_1"
