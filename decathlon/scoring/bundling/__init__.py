"""Bundles of one row: written, and checked."""
