"""Scores and their statistics, leaderboards and submissions."""
