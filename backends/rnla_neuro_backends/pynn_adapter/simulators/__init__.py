"""One module a simulator: everything in which it differs from plain PyNN, and `SIMULATOR`, its class."""
