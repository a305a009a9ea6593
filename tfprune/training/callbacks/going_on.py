"""What callbacks know of the fits before: a model's epochs are counted over all of them."""

from __future__ import annotations

from typing import Any

from tfprune.backend import keras


class Continuing(keras.callbacks.Callback):
    """A callback that goes on over several fits, and starts anew with another model.

    Keras counts the epochs of each `fit` from 0 or from its `initial_epoch`. The latter says how
    many epochs the model was trained before, in this process or in another; without it, a second
    `fit` of the same model goes on where the callback last was.

    Subclasses call `super()` in the methods that they override.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trained = 0  # Epochs of this model so far, over all fits.
        self._before = 0
        self._starting = True

    def set_model(self, model: keras.Model) -> None:
        if self.model is not None and model is not self.model:
            self.trained = 0
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
