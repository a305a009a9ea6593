"""Files are whole or not there, and every damage is found whatever bytes it hits."""

import json
import shutil

import numpy as np
import pytest

from tfprune.errors import CannotWrite, DamagedFile, InputError, SettingError
from tfprune.files import (
    changed_since,
    check_writable,
    damage_of_sealed,
    fingerprint,
    load_arrays,
    read_json,
    read_sealed,
    save_arrays,
    set_aside,
    whole_or_set_aside,
    write_json,
    write_sealed,
    write_text_atomic,
)
from tfprune.pruning.masks import Masks

ARRAYS = {
    "dense1/kernel": np.arange(12, dtype=np.float32).reshape(3, 4),
    "epoch": np.int64(7),
    "rows": np.frombuffer(b'[{"loss": 0.5}]', np.uint8),
}


def same(found):
    return found.keys() == ARRAYS.keys() and all(
        found[name].dtype == value.dtype and np.array_equal(found[name], value)
        for name, value in ARRAYS.items()
    )


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "a.npz"
    save_arrays(path, ARRAYS)
    return path, path.read_bytes()


def test_arrays_truncated_at_any_length_are_damaged(saved):
    path, content = saved
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedFile):
            load_arrays(path)


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_flipped_byte_is_damage_or_changes_nothing(saved, flip):
    """What does not matter are dates and the like in the zip's directory."""
    path, content = saved
    damaged = 0
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= flip
        path.write_bytes(changed)
        try:
            found = load_arrays(path)
        except DamagedFile:
            damaged += 1
        else:
            assert same(found), position
    assert damaged > len(content) // 2


def test_masks_that_are_not_whole_say_so(tmp_path):
    path = tmp_path / "masks.npz"
    Masks({"dense": np.array([True, False])}).save(path)
    for length in (0, 10, path.stat().st_size - 1):
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(DamagedFile, match=r"masks\.npz is damaged"):
            Masks.load(path)


def test_a_damaged_file_is_kept_under_another_name(tmp_path):
    for content in ("first", "second"):
        (tmp_path / "a.json").write_text(content)
        set_aside(tmp_path / "a.json")
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {"a.json.damaged": "first", "a.json.damaged1": "second"}


def test_a_damaged_file_that_another_process_has_set_aside_is_no_error(tmp_path):
    assert not set_aside(tmp_path / "a.json").exists()


def test_reading_what_can_be_made_again_goes_on_without_it(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK")
    with whole_or_set_aside(tmp_path / "a.npz"):
        load_arrays(tmp_path / "a.npz")
        pytest.fail("half an archive was read")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz.damaged"]


@pytest.fixture
def sealed(tmp_path):
    folder = tmp_path / "stage"
    folder.mkdir()
    (folder / "metrics.csv").write_text("epoch,loss\n1,0.5\n")
    save_arrays(folder / "end.npz", ARRAYS)
    row = {"loss": 0.1, "epochs": 3, "none": None, "text": "ε"}
    write_sealed(folder / "result.json", row, [folder / "metrics.csv", folder / "end.npz"])
    return folder, row


def test_a_sealed_row_reads_back_and_hides_its_seal(sealed):
    folder, row = sealed
    assert read_sealed(folder / "result.json") == row
    assert damage_of_sealed(folder / "result.json") == ""


def test_every_byte_of_a_sealed_row_counts(sealed):
    folder, row = sealed
    path = folder / "result.json"
    content = path.read_bytes()
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 0x01
        path.write_bytes(changed)
        if not damage_of_sealed(path):  # One kind of white space for another.
            assert read_sealed(path) == row
            assert json.loads(content) == json.loads(bytes(changed))
        path.write_bytes(content[:position])
        # Without its last line break it says all the same.
        assert damage_of_sealed(path) or position == len(content) - 1, position


@pytest.mark.parametrize("content", ["", "null", "[]", "{}", '"', '{"_files": 3, "_checksum": 1}'])
def test_other_json_is_no_sealed_row(sealed, content):
    folder, _ = sealed
    (folder / "result.json").write_text(content)
    assert damage_of_sealed(folder / "result.json")
    with pytest.raises(DamagedFile):
        read_sealed(folder / "result.json")


def test_files_beside_a_sealed_row_are_compared(sealed):
    folder, _ = sealed
    (folder / "metrics.csv").write_text("epoch,loss\n1,0.6\n")
    assert damage_of_sealed(folder / "result.json") == "metrics.csv is not as it was written"
    (folder / "metrics.csv").write_text("epoch,loss\n")
    assert damage_of_sealed(folder / "result.json") == "metrics.csv has 11 bytes, not 17"
    (folder / "metrics.csv").unlink()
    assert damage_of_sealed(folder / "result.json") == "metrics.csv is gone"


@pytest.mark.parametrize(
    "other",
    [
        {**ARRAYS, "dense1/kernel": ARRAYS["dense1/kernel"] * np.float32(np.nan)},
        {**ARRAYS, "dense1/kernel": ARRAYS["dense1/kernel"].astype(np.int32)},
        {**ARRAYS, "dense1/kernel": ARRAYS["dense1/kernel"].reshape(4, 3)},
        {**ARRAYS, "epoch": np.int64(8)},
    ],
    ids=["not numbers", "of another kind", "of another shape", "of another training"],
)
def test_weights_of_the_same_size_that_are_others_are_found(sealed, tmp_path, other):
    """By the archive's end, which lists the checksums of its arrays: large files are not read."""
    folder, _ = sealed
    before = fingerprint(folder / "end.npz")
    copy = tmp_path / "end.npz"
    shutil.copy(folder / "end.npz", copy)
    assert changed_since(copy, before) == ""
    assert changed_since(copy, before[:1]) == ""  # As earlier versions wrote it.
    save_arrays(folder / "end.npz", other)
    assert (folder / "end.npz").stat().st_size == before[0]
    assert damage_of_sealed(folder / "result.json") == "end.npz is not as it was written"


def test_a_row_of_another_training_is_damage_among_trials_and_moves_with_them(tmp_path):
    stages = [tmp_path / "out" / "trials" / "t" / seed / "level_00" for seed in ("s_0", "s_1")]
    for stage in stages:
        write_sealed(stage / "result.json", {"loss": 0.1}, ())
    moved = shutil.move(tmp_path / "out", tmp_path / "moved")
    first, second = (moved / stage.relative_to(tmp_path / "out") for stage in stages)
    assert read_sealed(first / "result.json") == {"loss": 0.1}
    shutil.copy(second / "result.json", first)
    assert damage_of_sealed(first / "result.json") == (
        "result.json: it was written as t/s_1/level_00/result.json"
    )
    shutil.copy(second / "result.json", tmp_path)
    assert damage_of_sealed(tmp_path / "result.json") == ""


def test_what_stands_in_the_way_of_a_file_is_named_and_stays(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "unmounted")
    for path, sentence in {
        "folder": "folder is a folder, and must be a file: move it away",
        "file/stage/end.npz": "file is a file, and must be a folder: move it away",
        "link/stage/end.npz": f"link is a link to {tmp_path}/unmounted, which is not there",
    }.items():
        with pytest.raises(CannotWrite) as refused:
            save_arrays(tmp_path / path, ARRAYS)
        assert str(refused.value).startswith(f"{tmp_path}/{sentence}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link"]


def test_a_file_that_is_not_there_is_no_damage_but_an_error(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*no\.npz") as error:
        load_arrays(tmp_path / "no.npz")
    assert not isinstance(error.value, DamagedFile)


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text_atomic(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("etils.epath.gpath.PosixGPath.replace", full)
    with pytest.raises(InputError, match=r"No space left on device"):
        write_text_atomic(path, "new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "old")]


def test_an_unwritable_folder_is_a_setting_error_that_names_the_flag(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"output_dir=.*a folder that can be written"):
        check_writable(tmp_path / "file" / "runs")


def test_checking_a_folder_leaves_no_trace(tmp_path):
    check_writable(tmp_path / "runs" / "new")
    assert not list(tmp_path.iterdir())
    check_writable(tmp_path)
    assert tmp_path.exists()


def test_json_round_trips_numpy_scalars_and_refuses_nan(tmp_path):
    value = {"loss": np.float32(0.1), "counts": np.arange(2), "path": (1, "ε")}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == {
        "loss": 0.10000000149011612,
        "counts": [0, 1],
        "path": [1, "ε"],
    }
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "b.json", {"loss": float("nan")})
    assert not (tmp_path / "b.json").exists()


def test_damaged_json_is_an_input_error_that_names_the_file(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(InputError, match=r"a\.json"):
        read_json(tmp_path / "a.json")


def test_arrays_that_a_file_lacks_are_named(saved):
    path, _ = saved
    assert same(load_arrays(path, needed=["epoch", "rows"]))
    with pytest.raises(InputError, match=r"a\.npz has no labels, losses: delete it and run again"):
        load_arrays(path, needed=["losses", "epoch", "labels"])
