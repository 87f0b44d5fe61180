"""A trained network as an ONNX file, and as what the registry holds."""
