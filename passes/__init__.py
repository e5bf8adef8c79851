"""The pipeline's steps, one file each, named after what they do.

The folder stands at the top of the repository, and its import name is `onnxprune.passes`.
"""

if __name__ != "onnxprune.passes":
    raise ImportError(f"Import onnxprune.passes, not {__name__}: a second copy would have its own registry.")
