"""How a model is trained: the one loop, its updates and checkpoints, and pre-training."""
