"""Coverage-guided fuzzing of everything that decodes: what is fuzzed, the program that does it, and the soak."""
