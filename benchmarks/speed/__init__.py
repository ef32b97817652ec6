"""Speed of the explicit form on Brian2 and beside it: `python -m benchmarks.speed.brian2_table`."""
