"""Benches of rtl/arith."""
