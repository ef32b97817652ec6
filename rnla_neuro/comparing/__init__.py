"""Several models on one task with several reward delays: planned, run where missing, measured, drawn."""
