"""report.html: one self-contained page for a run, and one that compares runs."""
