"""Records of trials, and rows of the literature."""
