"""Coverage-guided fuzzing; what it found worth keeping lies in `corpus/` and is replayed by the tests."""
