"""What is measured, against what. `make bench` runs it; MEASURE and N choose."""
