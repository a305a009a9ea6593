"""Registries: lazy, ordered, and helpful about names they do not have."""

import pytest

from tfprune.catalog import (
    CRITERIA,
    DATASETS,
    INITIALIZATIONS,
    LABEL_NOISE,
    MODELS,
    NORMALIZATIONS,
    PATH_DATASETS,
)
from tfprune.errors import SettingError
from tfprune.pruning.settings import PruningConfig
from tfprune.registry import Names, Registry


def test_a_name_is_imported_only_when_it_is_used():
    registry = Registry("thing")
    registry.add("broken", "tfprune.no_such_module:function", "never imported")
    assert list(registry) == ["broken"]
    with pytest.raises(ModuleNotFoundError):
        registry["broken"]


def test_a_name_is_taken_once():
    registry = Registry("thing")
    registry.add("one", len, "")
    with pytest.raises(ValueError, match="registered already"):
        registry.add("one", max, "")


def test_an_unknown_name_is_answered_with_the_nearest():
    registry = Registry("thing")
    registry.add("shortest", len, "")
    with pytest.raises(SettingError, match="did you mean shortest"):
        registry["shortes"]


@pytest.mark.parametrize(
    "registry",
    [
        DATASETS,
        PATH_DATASETS,
        LABEL_NOISE,
        NORMALIZATIONS,
        MODELS,
        INITIALIZATIONS,
        CRITERIA,
    ],
)
def test_every_registered_name_leads_to_a_function(registry):
    assert all(callable(registry[name]) for name in registry)


def test_the_names_of_several_registries_are_those_of_now():
    one, other = Registry("thing"), Registry("thing")
    one.add("first", len, "")
    names = Names(one, other)
    other.add("second", len, "")
    assert list(names) == ["first", "second"]
    assert "second" in names
    assert "third" not in names


def test_a_criterion_that_is_added_later_is_allowed(monkeypatch):
    monkeypatch.setattr(CRITERIA, "_entries", dict(CRITERIA._entries))
    with pytest.raises(SettingError, match="criterion=mine"):
        PruningConfig(criterion="mine")
    CRITERIA.add("mine", len, "of a test")
    assert PruningConfig(criterion="mine").criterion == "mine"
