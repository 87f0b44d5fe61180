"""params.yaml, the paths of the pipeline and the stages of dvc.yaml."""
