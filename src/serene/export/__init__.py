"""A trained model becomes files that other software runs: ONNX, a stock transformers folder, a hub repository."""
