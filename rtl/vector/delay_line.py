"""Delay of a few cycles in registers that move only with a beat."""

from myhdl import always, instances

from rtl.convert import module


def delay_line_verilog(clk, enable, d, q, stages: int, width: int) -> str:
    bits = f"[{width - 1}:0]"
    names = ["d"] + [f"stage_{k}" for k in range(1, stages + 1)]
    lines = [f"reg {bits} {name};" for name in names[1:]]
    lines += ["", "always @(posedge clk) begin: move"]
    for k in range(stages):
        bit = f"[{k}]" if stages > 1 else ""
        lines.append(f"    if (enable{bit}) {names[k + 1]} <= {names[k]};")
    lines += ["end", "", f"assign q = {names[-1]};"]
    return "\n".join(lines)


@module(verilog=delay_line_verilog)
def delay_line(clk, enable, d, q, stages: int, width: int):
    """q is d `stages` cycles later. Register k moves when enable[k] is set (the beat's valid bit of that age).

    enable (stages bits), d, q (width bits). No reset: data only. For more than a few stages use delay_ring.
    """
    words = [0] * stages

    @always(clk.posedge)
    def move():
        for k in reversed(range(stages)):
            if int(enable) >> k & 1:
                words[k] = int(d) if k == 0 else words[k - 1]
        q.next = words[-1]

    return instances()
