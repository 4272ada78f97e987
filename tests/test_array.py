"""The array's bench in Verilator and Icarus."""
