"""The shared floor: numerics, pairs, learning, judging. Speaks of queries and candidates only."""
