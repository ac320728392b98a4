"""What a training set is like before a model is trained on it: checks of its own, and a suite of expectations."""
