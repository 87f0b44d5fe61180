"""MLflow's only door: the store, the projection of run folders into it, and the registry."""
