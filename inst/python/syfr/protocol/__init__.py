"""The protocol: one file an operation family, each with its preprocessing and its online part.

An operation is a function of shares, of what was prepared for it, and of a channel; it opens no socket, reads no
clock and draws no randomness of its own. See ARCHITECTURE.md for the formulas' sources.
"""
