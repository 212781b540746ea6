"""The training loop: device, batches, steps, evaluation."""
