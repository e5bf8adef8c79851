"""Block-sparse operators for onnxruntime: sources, build and loading."""
