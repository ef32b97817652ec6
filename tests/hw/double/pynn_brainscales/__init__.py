"""A test double of the public package pynn_brainscales; see tests/hw/CONTRACT.md. It reaches no hardware."""

IS_DOUBLE = True
