"""``python -m rnla_neuro.cli``: the same as `rnla`."""

from rnla_neuro.cli import main

main()
