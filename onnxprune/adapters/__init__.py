"""onnxprune as a step of other tools; each module needs the tool that it speaks to."""
