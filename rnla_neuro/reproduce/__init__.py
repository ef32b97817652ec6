"""Checks of what a publication claims: each with its experiment, figure, statistic and verdict.

`rnla reproduce poster` is the command; docs/poster.md shows what came of it.
"""
