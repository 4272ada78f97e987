"""The flows from Verilog to gates: see README.md."""
