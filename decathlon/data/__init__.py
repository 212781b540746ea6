"""Archives to shards to batches."""
