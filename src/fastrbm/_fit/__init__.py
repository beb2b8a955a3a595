"""A fit: its loop and state, minibatches, where the model's half of their gradient comes from, callbacks."""
