"""`python -m onnxprune`: the same as the `onnxprune` command."""

from __future__ import annotations

from onnxprune.cli.main import main

if __name__ == "__main__":
    main()
