"""The score S and its statistics, leaderboards and submissions."""
