"""Names of a network's tensors that tell what they are."""

HEAD = "head."
"""Beginning of the names of a head's tensors."""
RUNNING = ("running_mean", "running_var", "num_batches_tracked")
"""Ends of the names of batch statistics."""
