"""What benchmarks compare with, where it needs a module of its own."""
