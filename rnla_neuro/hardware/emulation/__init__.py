"""The chip emulated: its weights, its fixed pattern, its noise and readout, and its loop with a host."""
