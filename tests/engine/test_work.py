"""Damaged files: a study says what it found, goes on, and ends where a whole one ends."""

import csv
import shutil

import numpy as np
import pytest
from synthetic import prepared_data, tell_nobody

from tfprune import layout
from tfprune.claims import claim
from tfprune.config import from_settings
from tfprune.engine import work
from tfprune.engine.executors import InProcess
from tfprune.engine.study import StudyEngine
from tfprune.engine.workshop import Workshop
from tfprune.errors import CannotWrite, DamagedFile, InputError
from tfprune.files import load_arrays, save_arrays
from tfprune.studies import branches, landscapes
from tfprune.studies.settings import BranchConfig, LandscapeConfig

DATA = prepared_data(examples=40, test_examples=20)
OPTIONS = BranchConfig(branch_levels="1")
LANDSCAPE = LandscapeConfig(alpha_step=0.5, directions=1, line_points=3)


class Told:
    """Remembers every sentence."""

    def __init__(self):
        self.sentences = []

    def tell(self, event):
        if isinstance(event, str):
            self.sentences.append(event)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(
        path,
        train_images=DATA.images,
        train_labels=DATA.labels,
        test_images=DATA.test_images,
        test_labels=DATA.test_labels,
    )
    return path


@pytest.fixture(scope="module")
def workshop():
    """One for all tests: the network is compiled once."""
    return Workshop([], tell_nobody)


@pytest.fixture
def run(dataset, workshop):
    """Runs the study in a folder: two levels from a rewind point, a branch, two measurements."""

    def run(folder):
        values = {
            "dataset": f"npz:{dataset}", "output_dir": str(folder), "seeds": (0,), "levels": 2,
            "train_epochs": 3, "batch_size": 16, "width": 0.05, "learning_rate": 0.1,
            "momentum": 0.9, "rewind_to": "2it", "checkpoint_seconds": 0.0, "jit": "off",
        }  # fmt: skip
        told = Told()
        workshop.tell = told.tell
        workshop._here.loop = None  # It tells who was told before.
        study = StudyEngine(
            [from_settings(values, experiment="e")], [], told.tell,
            executor=InProcess(workshop),
        )  # fmt: skip
        study.train_trunks()
        ends = branches.train_redense(study, OPTIONS)
        study.measure(landscapes.interpolation(LANDSCAPE), ends)
        study.measure(landscapes.line(LANDSCAPE), {t: t.stages() for t in study.trials})
        return study, told.sentences

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def damaged(run, whole, tmp_path):
    """A copy of a finished folder, to be damaged."""
    if not (whole / layout.RESULTS).exists():
        run(whole)
    folder = tmp_path / "damaged"
    shutil.copytree(whole, folder)
    return folder


def rows_of(folder):
    with (folder / layout.RESULTS).open() as file:
        return [
            {k: v for k, v in row.items() if k != "wall_seconds"} for row in csv.DictReader(file)
        ]


def assert_equal(folder, whole):
    assert rows_of(folder) == rows_of(whole)
    for path in whole.rglob("*.npz"):
        got, want = load_arrays(folder / path.relative_to(whole)), load_arrays(path)
        assert got.keys() == want.keys()
        for name, value in want.items():
            np.testing.assert_array_equal(got[name], value, err_msg=f"{path} {name}")
    for pattern in ("interpolation-*", "line-*"):
        names = {path.relative_to(whole) for path in whole.rglob(pattern)}
        there = {path.relative_to(folder) for path in folder.rglob(pattern)}
        assert names == {path for path in there if path.suffix != ".damaged"}


def find(folder, pattern):
    (path,) = folder.glob(f"trials/*/seed_0/{pattern}")
    return path


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    """Changes one byte, the first from the middle on that matters: some of a zip's do not."""
    good = path.read_bytes()
    for position in range(len(good) // 2, len(good)):
        changed = bytearray(good)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        if path.suffix != ".npz":
            return
        try:
            load_arrays(path)
        except DamagedFile:
            return


def remove(path):
    path.unlink()


def other(path):
    """Puts a file of another training there, whose arrays have the same names and sizes."""
    elsewhere = path.with_name(f"other-{path.name}")
    save_arrays(elsewhere, {name: halved(value) for name, value in load_arrays(path).items()})
    elsewhere.replace(path)


def halved(value):
    return value / 2 if value.dtype.kind == "f" else ~value if value.dtype.kind == "b" else value


def foreign(path):
    """The same as another program writes it, numbers that are none for weights."""
    arrays = load_arrays(path)
    np.savez(path, **{n: v * np.nan if v.dtype.kind == "f" else v for n, v in arrays.items()})


def folder_there(path):
    remove(path)
    (path / "inside").mkdir(parents=True)


STAGES = ("level_00", "level_01", "redense_level_01")
DAMAGES = (cut, empty, flip, remove)
FILES = ("result.json", "end.npz", "masks.npz", "metrics.csv", "start.npz")
# Every two of damage, file and stage meet once; and what is whole in itself. Each damage, each
# file and each stage is among those that are not slow: a file is read alike in every stage.
QUICK = {
    (remove, "result.json"), (cut, "result.json"), (empty, "end.npz"), (flip, "masks.npz"),
    (remove, "metrics.csv"), (cut, "start.npz"),
}  # fmt: skip
CASES = [
    pytest.param(
        damage,
        name,
        STAGES[(i + j + 1) % len(STAGES)],
        marks=() if (damage, name) in QUICK else pytest.mark.slow,
    )
    for i, damage in enumerate(DAMAGES)
    for j, name in enumerate(FILES)
]
CASES += [
    pytest.param(flip, "start.npz", "level_00", marks=pytest.mark.slow),
    pytest.param(other, "start.npz", "redense_level_01", marks=pytest.mark.slow),
    pytest.param(other, "end.npz", "level_01", marks=pytest.mark.slow),
    (other, "masks.npz", "level_01"),
    (foreign, "start.npz", "level_00"),
    pytest.param(folder_there, "start.npz", "level_01", marks=pytest.mark.slow),
    (folder_there, "metrics.csv", "level_00"),
]


@pytest.mark.parametrize(("damage", "name", "stage"), CASES)
def test_a_damaged_file_of_a_finished_stage(run, damaged, whole, damage, name, stage):
    damage(find(damaged, f"{stage}/{name}"))
    # So that something reads the weights, as in a study that goes on.
    shutil.rmtree(find(damaged, "level_02"))
    for pattern in ("redense_level_01/interpolation-*", "*/line-*"):
        for file in damaged.glob(f"trials/*/seed_0/{pattern}"):
            file.unlink()
    study, sentences = run(damaged)
    told = [text for text in sentences if "damaged" in text]
    if damage is remove and name == "result.json":
        assert not told  # That is how an unfinished stage looks.
    else:
        assert len(told) == 1, sentences
        assert stage in told[0]
        assert "trained again" in told[0]
        assert "\n" not in told[0]
    assert study.failures == []
    assert_equal(damaged, whole)
    # Other stages were left as they were.
    assert not list(damaged.glob("trials/*/seed_0/*/end.npz.damaged"))


@pytest.mark.parametrize("damage", [cut, empty, flip, remove])
@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_a_damaged_measurement_is_measured_again(run, damaged, whole, damage, suffix):
    path = find(damaged, f"redense_level_01/interpolation-*.{suffix}")
    good = path.read_bytes()
    damage(path)
    study, sentences = run(damaged)
    told = [text for text in sentences if "measured again" in text]
    assert len(told) == (0 if damage is remove and suffix == "json" else 1)
    assert study.trained == 0
    assert path.read_bytes() == good
    assert_equal(damaged, whole)


@pytest.mark.parametrize(
    "damage", [cut, *(pytest.param(d, marks=pytest.mark.slow) for d in (empty, flip)), remove,
               other, foreign]
)  # fmt: skip
def test_damaged_weights_of_the_rewind_point_are_trained_again(run, damaged, whole, damage):
    damage(find(damaged, "rewind_2it.npz"))
    shutil.rmtree(find(damaged, "level_02"))
    run(damaged)
    assert_equal(damaged, whole)


def unfinished(folder):
    """The second level as a killed process leaves it: without a result."""
    level = find(folder, "level_02")
    for name in (layout.RESULT, layout.END, layout.METRICS):
        (level / name).unlink()
    return level


@pytest.fixture
def interrupted(run, damaged, workshop):
    """As `unfinished`, with the checkpoints that were really written: of the last two epochs."""
    level = find(damaged, "level_02")
    kept = {}

    def keep(logs):
        kept.update({p.name: p.read_bytes() for p in level.glob("checkpoint-*")})

    study, _ = run(damaged)  # Nothing is trained.
    trial = study.trials[0]
    unfinished(damaged)
    loop = workshop.loop(trial)
    loop.run(trial.stage(2), keep)
    unfinished(damaged)
    for name, content in kept.items():
        (level / name).write_bytes(content)
    return damaged, level, sorted(kept)


@pytest.mark.parametrize(
    ("damage", "which"),
    [
        (cut, (0,)),
        (flip, (0, 1)),
        (other, (0, 1)),
        (foreign, (1,)),
        pytest.param(empty, (1,), marks=pytest.mark.slow),
        pytest.param(flip, (1,), marks=pytest.mark.slow),
    ],
)
def test_damaged_checkpoints_fall_back_to_the_one_before(run, interrupted, whole, damage, which):
    folder, level, names = interrupted
    assert names == list(layout.CHECKPOINTS)
    for index in which:
        damage(level / names[index])
    _, sentences = run(folder)
    told = [text for text in sentences if "damaged" in text]
    assert len(told) == len(which)
    assert all("not used" in text for text in told)
    assert_equal(folder, whole)
    assert not list(level.glob("checkpoint-?.npz"))


@pytest.mark.parametrize("damage", [cut, other, foreign])
def test_masks_of_an_unfinished_level_that_are_not_its_own_are_drawn_again(
    run, damaged, whole, damage
):
    damage(unfinished(damaged) / layout.MASKS)
    run(damaged)
    assert_equal(damaged, whole)


def file_there(path):
    shutil.rmtree(path)
    path.touch()


@pytest.mark.parametrize(
    ("pattern", "damage", "fact"),
    [
        ("level_02", file_there, "is a file, and must be a folder: move it away"),
        ("level_02/../config.json", folder_there, "is a folder, and must be a file: move it away"),
        ("level_01/result.json", folder_there, "is a folder, and must be a file: move it away"),
        ("rewind_2it.npz", folder_there, "is a folder, and must be a file: move it away"),
    ],
)
def test_what_stands_in_the_way_is_named_and_stays(run, damaged, pattern, damage, fact):
    unfinished(damaged)
    path = find(damaged, pattern).resolve()
    damage(path)
    kind = path.is_dir()
    with pytest.raises(InputError) as refused:
        run(damaged)
    assert str(refused.value) == f"{path} {fact}"
    assert path.is_dir() == kind


def test_an_unfinished_stage_goes_on_from_its_newest_checkpoint(run, interrupted, whole):
    folder, level, names = interrupted
    epochs = [int(load_arrays(level / name)["epoch"]) for name in names]
    assert sorted(epochs) == [2, 3]
    study, sentences = run(folder)
    assert study.trained == 1
    assert not [text for text in sentences if "damaged" in text]
    assert_equal(folder, whole)


def garbage_in_the_middle(path):
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + b'\x00\xff,"garbage\r\x80' + content[middle:])


def garbage_in_the_header(path):
    path.write_bytes(path.read_bytes().replace(b"level", b"lev\x00l", 1))


def test_rows_of_stages_that_were_there_go_with_the_next_one(run, damaged, monkeypatch):
    """As of a trial whose dense level another has trained, while its study goes on."""
    (damaged / layout.RESULTS).unlink()
    shutil.rmtree(find(damaged, "level_02"))
    monkeypatch.setattr("tfprune.engine.study.write_rows", lambda *_: None)
    run(damaged)
    assert {row["level"] for row in rows_of(damaged) if not row["branch"]} == {"0", "1", "2"}


@pytest.mark.parametrize(
    "damage", [cut, empty, garbage_in_the_middle, garbage_in_the_header, remove]
)
def test_a_damaged_table_is_made_again_from_the_stages(run, damaged, whole, damage):
    path = damaged / layout.RESULTS
    damage(path)
    content = path.read_bytes() if path.exists() else None
    study, sentences = run(damaged)
    told = [text for text in sentences if "results.csv was damaged" in text]
    assert len(told) == (damage is not remove)
    assert study.trained == 0
    assert_equal(damaged, whole)
    if content is not None:
        assert (damaged / "results.csv.damaged").read_bytes() == content


def test_the_table_cut_at_any_length_is_made_again(run, damaged, whole):
    content = (damaged / layout.RESULTS).read_bytes()
    for length in np.linspace(1, len(content) - 1, 7).astype(int):
        (damaged / layout.RESULTS).write_bytes(content[:length])
        study, _ = run(damaged)
        assert study.trained == 0
        assert_equal(damaged, whole)


def test_whole_rows_of_other_experiments_survive_a_damaged_table(run, damaged, whole):
    path = damaged / layout.RESULTS
    header, row = path.read_text().splitlines()[:2]
    other = row.replace("e,", "other,", 1)
    path.write_text(f"{path.read_text()}{other}\nhalf a r")
    run(damaged)
    lines = path.read_text().splitlines()
    assert lines[0] == header
    assert other in lines
    assert len(rows_of(damaged)) == len(rows_of(whole)) + 1


def test_checkpoints_left_in_a_finished_stage_are_removed(run, damaged, whole):
    """A process killed between its result and their removal leaves them."""
    left = find(damaged, "level_01") / layout.CHECKPOINTS[0]
    left.write_bytes(b"anything")
    study, _ = run(damaged)
    assert not left.exists()
    assert study.trained == 0


def test_a_stage_of_which_another_process_has_the_claim_is_not_set_aside(run, damaged):
    study, _ = run(damaged)
    stage = study.trials[0].stage(1)
    cut(find(damaged, "level_01/end.npz"))
    with claim(stage.claim_file):
        assert list(work.set_aside_damaged([stage])) == []
    assert (stage.folder / layout.RESULT).exists()
    assert len(list(work.set_aside_damaged([stage]))) == 1


def test_a_full_disk_while_measuring_is_an_error_not_a_note(run, damaged, monkeypatch):
    find(damaged, "redense_level_01/interpolation-*.json").unlink()

    def full(*_):
        raise CannotWrite("cannot write: No space left on device")

    monkeypatch.setattr(landscapes, "write_text_atomic", full)
    with pytest.raises(CannotWrite):
        run(damaged)


def test_a_damaged_file_of_no_stage_ends_with_advice(run, damaged, monkeypatch):
    find(damaged, "redense_level_01/interpolation-*.json").unlink()

    def fail(*_):
        raise DamagedFile("elsewhere/data.npz", "what")

    monkeypatch.setattr(landscapes, "splits", fail)
    with pytest.raises(DamagedFile, match="delete it and run again"):
        run(damaged)
