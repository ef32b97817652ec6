"""What is done with a run after it ended: statistics, pictures, TensorBoard."""
