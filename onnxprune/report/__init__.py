"""What a run reports: report.json with its schema, and tables for the terminal."""
