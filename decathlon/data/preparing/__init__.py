"""One pass from a source to verified shards."""
