"""A made clip with exact motion and a made painting: what the first command and many tests use."""
