"""Who judges: probes, checks, proofs and their verdicts."""
