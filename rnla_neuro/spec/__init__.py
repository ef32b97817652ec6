"""Model files: reading, checking, and the proof of the form that an engine solves."""
