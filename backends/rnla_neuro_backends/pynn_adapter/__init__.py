"""Backend `pynn`: networks of plain PyNN cells, one run a decision, with the learning between the runs on the host."""
