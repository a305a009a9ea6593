"""What a report says of files that are lost, damaged or left over."""

import json

import pytest
from wording import says

from tfprune import files, layout, store
from tfprune.experiments import cli, runner
from tfprune.pages import damage

STAGE = "trials/t-01234567/seed_0/level_01"


@pytest.fixture
def folder(tmp_path):
    """A finished stage, its row, and a picture."""
    stage = tmp_path / STAGE
    files.write_text_atomic(stage / layout.METRICS, "epoch\n1\n")
    files.write_text_atomic(stage / layout.END, "weights")
    files.write_sealed(stage / layout.RESULT, {}, [stage / layout.METRICS, stage / layout.END])
    files.write_text_atomic(stage / "line-1.csv", "x\n1\n")
    files.write_sealed(stage / "line-1.json", {}, [stage / "line-1.csv"])
    files.write_json(stage.parent / layout.CONFIG, {"config": {}, "versions": {}})
    row = {"experiment": "e", "trial": "t-01234567", "seed": 0, "level": 1, "train_epochs": 1}
    store.merge_rows(tmp_path, [{**row, "stage": STAGE}])
    return tmp_path


def said(folder):
    return damage.damaged_stages(folder, store.read_results(folder))


def test_a_whole_folder_and_one_without_weights_are_as_they_were(folder):
    assert said(folder) == []
    (folder / STAGE / layout.END).unlink()
    assert said(folder) == []


@pytest.mark.parametrize(
    ("path", "content", "fact"),
    [
        (f"{STAGE}/metrics.csv", None, "metrics.csv is gone"),
        (f"{STAGE}/metrics.csv", "epoch\n", "metrics.csv has 6 bytes, not 8"),
        (f"{STAGE}/line-1.csv", "x\n2\n", "line-1.csv is not as it was written"),
        (f"{STAGE}/line-1.json", "[" * 100_000, "line-1.json: "),
        (f"{STAGE}/result.json", "{}", "result.json: it is not as it was written"),
        (f"{STAGE}/../config.json", "[]", "config.json: "),
        (f"{STAGE}/../config.json", json.dumps({"config": {"seeds": 3}}), "its seeds is '3'"),
        (f"{STAGE}/../config.json", json.dumps({"config": {"model": 3}}), "its model is '3'"),
        (f"{STAGE}/../config.json", json.dumps({"started": 5}), "its started is '5'"),
        (f"{STAGE}/../config.json", json.dumps({"started": "noon"}), "its started is 'noon'"),
    ],
)
def test_a_file_that_is_not_as_it_was_is_named(folder, path, content, fact):
    if content is None:
        (folder / path).unlink()
    else:
        (folder / path).write_text(content)
    (sentence,) = said(folder)
    assert says(sentence, "trials/t-01234567/seed_0", fact, "not whole; run the experiment again")


def test_a_folder_without_its_trials_says_so(folder):
    (folder / layout.TRIALS).rename(folder / "elsewhere")
    assert says(said(folder)[0], "config.json is gone", "metrics.csv is gone")


def test_pictures_of_what_is_gone_are_named_and_stay(tmp_path):
    (tmp_path / layout.FIGURES).mkdir()
    names = ("e_new.png", "e_old.png", "e_old.pdf", "e_old.txt", "e_too_new.png", "f_old.png")
    for name in names:
        (tmp_path / layout.FIGURES / name).touch()
    (sentence,) = damage.old_pictures(tmp_path, "e", ["e_new"], ["e", "e_too", "f"])
    assert says(sentence, "figures/e_old.pdf, figures/e_old.png are of", "not shown")
    assert "too" not in sentence
    assert len(list((tmp_path / layout.FIGURES).iterdir())) == len(names)
    assert damage.old_pictures(tmp_path, "e_too", ["e_too_new"], ["e", "e_too", "f"]) == []


@pytest.mark.parametrize("name", [layout.RESULTS, layout.TENSORBOARD, layout.FIGURES])
def test_a_report_on_a_folder_of_the_wrong_kinds_is_one_line(folder, name, capsys):
    path = folder / name
    if path.exists():
        path.unlink()
        path.mkdir()
    else:
        path.touch()
    assert cli.exit_code(lambda: runner.show(str(folder)) or 0) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says(line, "tfprune: error:", str(path), "move it away")
