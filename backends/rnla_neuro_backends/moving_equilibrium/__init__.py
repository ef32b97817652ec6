"""The pieces of the `equilibrium` backend: columns, exploration, and two cores (numpy, generated C++)."""
