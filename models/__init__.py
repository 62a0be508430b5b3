"""Models as they are served: value types, artifacts, ONNX inference. No training loops, no product rules."""
