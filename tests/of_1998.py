"""The network of 1998 and its optimizer, as plain trees of knobs."""

OF_1998 = {
    "name": "lenet5_1998",
    "connections": "sparse",
    "subsampling": "trainable",
    "activation": "scaled_tanh",
    "output": "rbf",
    "loss": "rbf_map",
    "penalty": 1.0,
    "initialization": "fan_in",
    "input_scale": "paper",
}
SDLM = {
    "name": "sdlm",
    "learning_rate": 0.0005,
    "damping": 0.5,
    "samples": 50,
    "label_smoothing": 0.0,
    "schedule": {"name": "lecun1998"},
}
