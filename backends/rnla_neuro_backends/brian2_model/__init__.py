"""Model files in Brian2: the unit check, and plain groups for Brian2 users."""
