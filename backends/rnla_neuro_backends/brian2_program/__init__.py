"""The fused kernel inside Brian2: as a Cython object in this process, or as a compiled program in its own."""
