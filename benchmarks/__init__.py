"""Measures this library beside floors written by hand and beside other libraries; `scripts/bench` runs it."""
