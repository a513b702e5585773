"""One script per claim; each run prints one JSON line; RESULTS.md is generated from those lines."""
