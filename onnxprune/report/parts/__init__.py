"""The parts of report.json; `onnxprune.report.schema` puts them together."""
