"""Training: a whole epoch in one program, optimizers, schedules, rewinding, checkpoints, callbacks."""
