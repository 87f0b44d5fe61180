"""The typed run config, its validation, and its composition from conf/ by Hydra."""
