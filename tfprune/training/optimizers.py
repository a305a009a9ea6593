"""The optimizer of a run, and optimizers that start afresh."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from tfprune.backend import keras, tf
from tfprune.errors import InputError, reason
from tfprune.optimizers import SGD, Adam
from tfprune.training.settings import TrainingConfig


def build_optimizer(config: TrainingConfig) -> keras.optimizers.Optimizer:
    """The optimizer a run asks for; its learning rate is set at every step by the schedule."""
    if config.optimizer == "adam":
        return Adam(config.learning_rate, l2=config.weight_decay, epsilon=config.adam_epsilon)
    return SGD(
        config.learning_rate,
        momentum=config.momentum,
        nesterov=config.optimizer == "nesterov",
        l2=config.weight_decay,
    )


def reset_slots(optimizer: Any, variables: Iterable[tf.Variable], keep_steps: bool = False) -> None:
    """Puts an optimizer's state where a new one of its kind has it: a level starts afresh.

    Momentum and moments are zero for most; Adagrad's accumulators and what Nadam and Ftrl keep are
    not, and averages of weights (`use_ema`) start at the weights as they are now. The learning
    rate stays, and so does the scale of a `LossScaleOptimizer`.

    Args:
      optimizer: of any kind, Keras's legacy ones too. One that has not taken a step is new already.
      variables: the model's; those that the optimizer does not train are left out.
      keep_steps: whether to leave the count of steps, by which a learning-rate schedule goes.

    Raises:
      InputError: no other of its kind can be made, or it trains variables of another model too.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    steps = optimizer.iterations.numpy()
    with _strategy_of(optimizer).scope():
        if isinstance(optimizer, keras.optimizers.legacy.Optimizer):
            _reset_legacy(optimizer, variables)
        elif getattr(optimizer, "_built", False):
            _reset(optimizer, _trained(optimizer, variables))
    optimizer.iterations.assign(steps if keep_steps else 0)


def state_variables(optimizer: Any) -> list[tf.Variable]:
    """Every variable of an optimizer of any kind: steps, slots, the learning rate, in order."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    own = [v for _, v in sorted(vars(optimizer).items()) if isinstance(v, tf.Variable)]
    variables = {id(variable): variable for variable in (*optimizer.variables(), *own)}
    return list(variables.values())


def new_of_its_kind(optimizer: Any) -> Any:
    """An optimizer with the same settings that has not taken a step.

    Raises:
      InputError: its configuration does not make one.
    """
    try:
        return type(optimizer).from_config(optimizer.get_config())
    except Exception as error:
        raise InputError(
            f"{type(optimizer).__name__} cannot start afresh after a rewinding: "
            f"from_config(get_config()) must make another optimizer of its kind ({reason(error)})"
        ) from error


def check_startable(optimizer: Any, variables: Iterable[tf.Variable]) -> None:
    """Refuses, before training, what `reset_slots` would refuse after it.

    Raises:
      InputError: no other of its kind can be made, or it trains variables of another model too.
    """
    new_of_its_kind(optimizer)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    legacy = isinstance(optimizer, keras.optimizers.legacy.Optimizer)
    if not legacy and getattr(optimizer, "_built", False):
        _trained(optimizer, variables)


def _strategy_of(optimizer: Any) -> tf.distribute.Strategy:
    found = getattr(optimizer, "_distribution_strategy", None)
    return tf.distribute.get_strategy() if found is None else found


def _trained(optimizer: Any, variables: Iterable[tf.Variable]) -> list[tf.Variable]:
    """The variables that the optimizer was built for, in its order."""
    places = optimizer._index_dict
    found = {optimizer._var_key(variable): variable for variable in variables}
    if missing := set(places) - set(found):
        raise InputError(
            f"{type(optimizer).__name__} trains {len(missing)} variables that are not the "
            "model's: give each model its own optimizer"
        )
    return [found[key] for key in sorted(places, key=lambda key: places[key])]


def _reset(optimizer: Any, variables: list[tf.Variable]) -> None:
    new = new_of_its_kind(optimizer)
    settings = set(vars(new))
    new.build(variables)
    _copy(optimizer.variables, new.variables)
    # What a kind keeps elsewhere is what its `build` makes: Nadam has a variable and a number.
    for name in set(vars(new)) - settings:
        start = getattr(new, name)
        if isinstance(start, int):
            setattr(optimizer, name, start)
        else:
            _copy(tf.nest.flatten(getattr(optimizer, name)), tf.nest.flatten(start))


def _reset_legacy(optimizer: Any, variables: Iterable[tf.Variable]) -> None:
    new = new_of_its_kind(optimizer)
    trained = [variable for variable in variables if variable.trainable]
    new._create_all_weights(trained)
    slots: dict[int, tf.Variable] = {}
    for variable in trained:
        for name in new.get_slot_names():
            with contextlib.suppress(KeyError):  # A variable that it does not train.
                old, start = optimizer.get_slot(variable, name), new.get_slot(variable, name)
                slots |= {id(old): old, id(start): start}
                old.assign(start)
    _copy(*([w for w in one.weights if id(w) not in slots] for one in (optimizer, new)))


def _copy(olds: Iterable[Any], starts: Iterable[Any]) -> None:
    for old, start in zip(olds, starts, strict=True):
        if isinstance(start, tf.Variable):
            old.assign(start)
