"""Fuzzing: sound inputs are damaged, readers must refuse them in one line of their own; see tools/fuzz.py."""
