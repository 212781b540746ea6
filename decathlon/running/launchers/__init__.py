"""Where trials run: in this process, under torchrun, on a Ray cluster."""
