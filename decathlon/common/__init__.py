"""What every other room stands on; it knows nothing of benchmarks."""
