"""The search: Optuna asks, the same runs answer; many processes, one study, no configuration trained twice."""
