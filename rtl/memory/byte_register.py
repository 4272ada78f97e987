"""A byte that is kept until the next one."""

from myhdl import always, instances

from rtl.convert import module


@module
def byte_register(clk, enable, value, kept):
    """kept is the value of the last clock with enable. Ports: clk; enable; value (8); kept (8)."""

    @always(clk.posedge)
    def keep():
        if enable:
            kept.next = value

    return instances()
