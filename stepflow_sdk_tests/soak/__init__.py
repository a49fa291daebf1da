"""Tests that run as long as they are told to, and count; `scripts/soak` starts them."""
