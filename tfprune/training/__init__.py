"""Training: a whole epoch in one program, optimizers, schedules, checkpoints, callbacks."""
