"""Shards to tensors: store, batches, views, contact sheet."""
