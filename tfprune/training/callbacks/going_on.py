"""What callbacks know of the fits before: a model's epochs are counted over all of them."""

from __future__ import annotations

import warnings
from typing import Any

from tfprune.backend import keras


class Continuing(keras.callbacks.Callback):
    """A callback that goes on over several fits, and starts anew with another model.

    Keras counts the epochs of each `fit` from 0 or from its `initial_epoch`. The latter says how
    many epochs the model was trained before, in this process or in another; without it, a second
    `fit` of the same model goes on where the callback last was.

    Where a `fit` ends before the last thing that the callback is to do, it says so before the
    first epoch, once for each model. That is a warning: training may go on in another `fit`.

    Subclasses call `super()` in the methods that they override.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trained = 0  # Epochs of this model so far, over all fits.
        self._before = 0
        self._starting = True
        self._said = False

    def set_model(self, model: keras.Model) -> None:
        if self.model is not None and model is not self.model:
            self.trained = 0
            self._said = False
            self.forget()
        super().set_model(model)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._starting = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # Not in on_train_begin: only now it is known where Keras's BackupAndRestore goes on.
        if self._starting:
            self._starting = False
            self._before = self.trained if epoch == 0 else 0
            self.start(self._before + epoch, went_on=self._before + epoch == self.trained > 0)
            self._say_what_is_past_the_end()
        self.trained = self._before + epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.trained = self._before + epoch + 1

    def forget(self) -> None:
        """Forgets what belongs to the model before; another one comes."""

    def start(self, trained: int, went_on: bool) -> None:
        """Called before the first epoch of each `fit`.

        Args:
          trained: epochs that the model was trained before.
          went_on: whether this callback was there in all of them, up to the last.
        """

    def last_act(self) -> tuple[str, int] | None:
        """The last thing that this callback is to do, and the epochs that training takes for it.

        Epochs count from the model's first; None if nothing is planned, or it is not known when.
        """
        return None

    def _say_what_is_past_the_end(self) -> None:
        planned, end = self.last_act(), self._before + self.params["epochs"]
        if planned is None or planned[1] <= end or self._said:
            return
        self._said = True
        what, epochs = planned
        warnings.warn(
            f"{type(self).__name__}: {what} needs {epochs} epochs of training, and fit ends after "
            f"{end}: without another fit it is not done",
            stacklevel=2,
        )
