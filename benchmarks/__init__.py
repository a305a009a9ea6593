"""What the speed claims are measured with: `make bench`, or `python -m benchmarks --help`."""
