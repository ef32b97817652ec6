"""Backends: a file is a backend, and its name is the file's; subpackages hold their pieces."""
