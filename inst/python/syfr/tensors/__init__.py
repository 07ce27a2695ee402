"""Private tensors: arithmetic, comparisons and models on shared arrays; nothing is opened but what is asked for."""
