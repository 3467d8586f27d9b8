"""A trained model answers for any sound: numpy and onnxruntime; torch only where it is asked for."""

import os

# Official builds of onnxruntime report their use to their makers, and keep a number for the machine in its cache.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported
