"""Figures of results, as a paper would print them."""
