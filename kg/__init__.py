"""Link prediction on knowledge graphs; comes with its own models."""
