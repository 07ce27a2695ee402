"""Numbers: fixed point, random streams, and compiled kernels. Imports nothing of syfr above it."""
