"""The explicit form: a model integrated step by step, on Brian2's runtime, in a compiled program, on a GPU."""
