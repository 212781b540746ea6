"""What a benchmark is, and the built-in ones."""
