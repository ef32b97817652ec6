"""Which models the fused kernels can run: what they need to know of the strings beside the proven form."""
