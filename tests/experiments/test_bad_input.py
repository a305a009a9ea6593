"""What a person may type: refused in one line with the flag, the value and what is allowed."""

import pwd

import pytest
from wording import says

from tfprune.errors import InputError
from tfprune.experiments import (
    accuracy_surface,
    cli,
    flatness,
    generalization_stability,
    redense,
    sparse_double_descent,
    utility_dynamics,
)

SDD, GST = sparse_double_descent.EXPERIMENT, generalization_stability.EXPERIMENT


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["--prune_fraction=1"], ["--prune_fraction=1.0", "[0, 1)"]),
        (["--deterministic=maybe"], ["--deterministic=maybe", "true or false"]),
        (["--model=lenet"], ["--model=lenet", "lenet_300_100"]),
        (["--epochs=3"], ["--epochs", "did you mean --train_epochs"]),
        (["--verbosity=7"], ["--verbosity=7", "[0, 1]"]),
        (["--undefok=foo", "--foo=3"], ["--undefok"]),
        (["--levels=1000000"], ["--levels=1000000", "10000"]),
        (["--figure_format=png,gif"], ["--figure_format=gif", "png, pdf, svg"]),
        (["--workers=0"], ["--workers=0", "auto", "at least 1"]),
        (["--workers=many"], ["--workers=many", "auto", "at least 1"]),
        (["--stack=-2"], ["--stack=-2", "auto", "at least 1"]),
        (["--output_dir=s3://bucket/runs"], ["--output_dir=s3://bucket/runs", "gs://", "not s3"]),
        (["--dataset=folder:nosuch://a"], ["--dataset=folder:nosuch://a", "not nosuch"]),
        (["--dataset=gs://bucket/a"], ["--dataset=gs://bucket/a", "folder:gs://bucket/a?"]),
        (["--output_dir=~nosuchuser/runs"], ["--output_dir=~nosuchuser/runs", "'nosuchuser'"]),
        (["--flagfile=~nosuchuser/my.flags"], ["--flagfile=~nosuchuser/my.flags", "No such file"]),
        (["--dataset=npz:~nosuchuser/x.npz"], ["--dataset=npz:~nosuchuser/x.npz", "'nosuchuser'"]),
        (
            ["--sweep=criterion=magnitude,random", "--sweep=criterion=snip"],
            ["--sweep=criterion=snip", "another of criterion"],
        ),
        (
            ["--sweep=sparsities=0.5,0.9", "--levels=2"],
            ["--levels=2", "nothing beside --sparsities"],
        ),
        (
            ["--criterion=snip", "--sweep=criterion=magnitude,random"],
            ["--sweep=criterion=magnitude,random", "nothing beside --criterion"],
        ),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_the_line_names_the_flag_the_value_and_what_is_allowed(capsys, words, facts):
    assert cli.exit_code(lambda: cli.parse(SDD, words) and 0) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says(line, *facts)


@pytest.mark.parametrize(
    ("experiment", "flag"),
    [
        (flatness, "--eigenvalues=1000000"),
        (flatness, "--trace_probes=1000000000"),
        (flatness, "--perturbed_eigenvectors=1000000"),
        (sparse_double_descent, "--train_epochs=10000000000000000000000"),
        (sparse_double_descent, "--batch_size=99999999999"),
        (sparse_double_descent, "--stack=99999999"),
        (redense, "--alpha_step=1e-09"),
        (redense, "--line_points=100000001"),
        (redense, "--surface_points=100001"),
        (redense, "--directions=1000000"),
        (accuracy_surface, "--plane_points=1000000"),
        (utility_dynamics, "--ablation_subsets=1000000000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bounds_are_checked_before_any_work(experiment, flag):
    with pytest.raises(InputError, match=flag):
        cli.parse(experiment.EXPERIMENT, [flag])


def test_what_the_system_refuses_is_one_line(capsys, tmp_path):
    assert cli.exit_code(lambda: len((tmp_path / "gone").read_text())) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says(line, "tfprune: error: cannot use", str(tmp_path / "gone"), "No such file")


def test_a_preset_of_flags_is_no_sweep_of_ones_own():
    """An explicit sweep takes the place of the preset's flag, and of the preset's sweep."""
    command = cli.parse(SDD, ["--sweep=criterion=magnitude,random"])
    assert [config.pruning.criterion for config in command.configs] == ["magnitude", "random"]
    again = cli.parse(SDD, ["--preset=criteria", "--sweep=criterion=snip"])
    assert {config.pruning.criterion for config in again.configs} == {"snip"}


def test_the_home_folder_is_meant_by_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["--output_dir=~/runs", "--data_dir=~/data", "--dataset=npz:~/x.npz"]
    (config,) = cli.parse(SDD, words).configs
    assert config.output_dir == f"{tmp_path}/runs"
    assert config.data.data_dir == f"{tmp_path}/data"
    assert config.data.dataset == f"npz:{tmp_path}/x.npz"
    user = pwd.getpwuid(0).pw_name
    (config,) = cli.parse(SDD, [f"--output_dir=~{user}/runs"]).configs
    assert config.output_dir == f"{pwd.getpwuid(0).pw_dir}/runs"


def test_a_flagfile_that_is_none_is_refused_and_not_shown(capsys, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("password 1234\n")
    assert cli.exit_code(lambda: cli.parse(SDD, [f"--flagfile={secret}"]) and 0) == 2
    text = capsys.readouterr().err
    assert says(text, f"--flagfile={secret}", "--NAME=VALUE")
    assert "1234" not in text
    outer = tmp_path / "outer.flags"
    outer.write_text(f"--flagfile={secret}\n")
    assert cli.exit_code(lambda: cli.parse(SDD, [f"--flagfile={outer}"]) and 0) == 2
    text = capsys.readouterr().err
    assert says(text, f"--flagfile={secret}", "--NAME=VALUE")
    assert "1234" not in text


def test_flags_of_a_file_count_as_if_they_had_been_typed(tmp_path):
    """The preset, what is swept, and what is refused beside it."""
    flags = tmp_path / "my.flags"
    inner = tmp_path / "inner.flags"
    inner.write_text("--criterion=random\n\n")
    flags.write_text(f"\ufeff# mine\r\n--preset=smoke\r\n--levels=3\r\n--flagfile={inner}\r\n")
    command = cli.parse(SDD, [f"--flagfile={flags}", "--sweep=scope=global,layer"])
    typed = cli.parse(
        SDD, ["--preset=smoke", "--levels=3", "--criterion=random", "--sweep=scope=global,layer"]
    )
    assert (command.configs, command.given - {"flagfile"}) == (typed.configs, typed.given)
    assert command.argv[0] == f"--flagfile={flags}"
    inner.write_text("--sweep=scope=global,layer\n")
    assert len(cli.parse(SDD, ["--flagfile", str(inner)]).configs) == 2
    with pytest.raises(InputError, match="nothing beside --scope"):
        cli.parse(SDD, [f"--flagfile={inner}", "--scope=layer"])
    inner.write_text(f"--flagfile={inner}\n")
    with pytest.raises(InputError, match=r"inner\.flags: it names itself"):
        cli.parse(SDD, [f"--flagfile={inner}"])
