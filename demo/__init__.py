"""What ``make demo`` runs: a year of grocery baskets, from a log to recommendations."""
