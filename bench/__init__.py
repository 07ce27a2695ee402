"""Measures syfr on the machine at hand; see README.md. Run with `make bench`."""
