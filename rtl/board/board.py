"""The chip, its SDRAM and the UART to the host: everything of a board but clock, reset and pads."""

from __future__ import annotations

from myhdl import Constant, ResetSignal, Signal, always, always_comb, concat, instances, intbv, modbv

from rtl.board.axi_sdram import axi_sdram
from rtl.board.board_config import BoardConfig
from rtl.board.sdram_timing import WORD_ADDRESS_BITS
from rtl.board.uart_bridge import uart_bridge
from rtl.board.uart_rx import uart_rx
from rtl.board.uart_tx import uart_tx
from rtl.common.config import ChipConfig
from rtl.common.interfaces import ADDRESS_BITS
from rtl.common.unused import unused
from rtl.convert import module
from rtl.top.mozg import REGISTER_ADDRESS_BITS, mozg

HEARTBEAT_BITS = 24


def _bit() -> Signal:
    return Signal(bool(0))


def _vector(width: int) -> Signal:
    return Signal(intbv(0)[width:])


@module
def board(
    clk,
    rst,
    rxd,
    txd,
    led,
    command,
    bank,
    address,
    mask,
    data_out,
    data_drive,
    data_in,
    config: ChipConfig,
    setup: BoardConfig,
):
    """One clock for all. The chip's interrupt is an LED; the host asks the status register.

    clk; rst (synchronous). rxd, txd: UART. led: 0 runs, 1 SDRAM initialised, 2 in a request of the host, 3 the last one
    was refused, 4 the chip reads, 5 the chip writes, 6 a run has ended (while irq_enable is set), 7 blinks.
    command ... data_in: pins of the SDRAM (sdram_controller).
    """
    if config.bus_bits != 256:
        raise ValueError(f"board: the bus of chip {config.name!r} has {config.bus_bits} bits: expected 256 (ports 1)")
    irq, ready, receiving, refused = _bit(), _bit(), _bit(), _bit()
    rx_data, rx_valid = _vector(8), _bit()
    tx_data, tx_valid, tx_ready = _vector(8), _bit(), _bit()
    host_valid, host_ready, host_write, host_done = _bit(), _bit(), _bit(), _bit()
    host_address, host_write_data, host_read_data = _vector(WORD_ADDRESS_BITS), _vector(16), _vector(16)

    s_axi_awaddr, s_axi_araddr = _vector(REGISTER_ADDRESS_BITS), _vector(REGISTER_ADDRESS_BITS)
    s_axi_wdata, s_axi_rdata, s_axi_wstrb = _vector(32), _vector(32), _vector(4)
    s_axi_bresp, s_axi_rresp = _vector(2), _vector(2)
    s_axi_awvalid, s_axi_awready, s_axi_wvalid, s_axi_wready = _bit(), _bit(), _bit(), _bit()
    s_axi_bvalid, s_axi_bready = _bit(), _bit()
    s_axi_arvalid, s_axi_arready, s_axi_rvalid, s_axi_rready = _bit(), _bit(), _bit(), _bit()

    m_axi_araddr, m_axi_awaddr = _vector(ADDRESS_BITS), _vector(ADDRESS_BITS)
    m_axi_arlen, m_axi_awlen = _vector(8), _vector(8)
    m_axi_arid, m_axi_awid, m_axi_arsize, m_axi_awsize = _vector(1), _vector(1), _vector(3), _vector(3)
    host_rst, chip_rst, memory_rst = [ResetSignal(1, active=1, isasync=False) for _ in range(3)]
    m_axi_arburst, m_axi_awburst, m_axi_arcache, m_axi_awcache = _vector(2), _vector(2), _vector(4), _vector(4)
    m_axi_arprot, m_axi_awprot = _vector(3), _vector(3)
    m_axi_rdata, m_axi_wdata, m_axi_wstrb = _vector(256), _vector(256), _vector(32)
    m_axi_rresp, m_axi_bresp = _vector(2), _vector(2)
    m_axi_arvalid, m_axi_arready, m_axi_rlast, m_axi_rvalid, m_axi_rready = [_bit() for _ in range(5)]
    m_axi_awvalid, m_axi_awready, m_axi_wlast, m_axi_wvalid, m_axi_wready = [_bit() for _ in range(5)]
    m_axi_bvalid, m_axi_bready = _bit(), _bit()
    # Constant in the chip: one ID, INCR bursts of whole beats.
    fixed = _vector(26)
    fixed_fields = unused(fixed, 26)
    heartbeat = Signal(modbv(0)[HEARTBEAT_BITS:])

    @always_comb
    def ignore():
        fixed.next = concat(
            m_axi_arid,
            m_axi_arsize,
            m_axi_arburst,
            m_axi_arcache,
            m_axi_arprot,
            m_axi_awid,
            m_axi_awsize,
            m_axi_awburst,
            m_axi_awcache,
            m_axi_awprot,
        )

    @always_comb
    def show():
        led.next = concat(
            heartbeat[HEARTBEAT_BITS - 1],
            irq,
            m_axi_awvalid or m_axi_wvalid,
            m_axi_arvalid,
            refused,
            receiving,
            ready,
            not rst,
        )

    @always(clk.posedge)
    def beat():
        if rst:
            heartbeat.next = 0
        else:
            heartbeat.next = heartbeat + 1

    @always(clk.posedge)
    def pass_on_reset():
        # The host's part, the chip and the memory lie apart: a register each.
        host_rst.next = rst
        chip_rst.next = host_rst
        memory_rst.next = chip_rst

    receiver = uart_rx(clk, host_rst, rxd, rx_data, rx_valid, clocks_per_bit=setup.clocks_per_bit)
    transmitter = uart_tx(clk, host_rst, tx_data, tx_valid, tx_ready, txd, clocks_per_bit=setup.clocks_per_bit)
    bridge = uart_bridge(
        clk=clk,
        rst=host_rst,
        receiving=receiving,
        refused=refused,
        rx_data=rx_data,
        rx_valid=rx_valid,
        tx_data=tx_data,
        tx_valid=tx_valid,
        tx_ready=tx_ready,
        host_valid=host_valid,
        host_ready=host_ready,
        host_write=host_write,
        host_address=host_address,
        host_write_data=host_write_data,
        host_read_data=host_read_data,
        host_done=host_done,
        s_axi_awaddr=s_axi_awaddr,
        s_axi_awvalid=s_axi_awvalid,
        s_axi_awready=s_axi_awready,
        s_axi_wdata=s_axi_wdata,
        s_axi_wstrb=s_axi_wstrb,
        s_axi_wvalid=s_axi_wvalid,
        s_axi_wready=s_axi_wready,
        s_axi_bresp=s_axi_bresp,
        s_axi_bvalid=s_axi_bvalid,
        s_axi_bready=s_axi_bready,
        s_axi_araddr=s_axi_araddr,
        s_axi_arvalid=s_axi_arvalid,
        s_axi_arready=s_axi_arready,
        s_axi_rdata=s_axi_rdata,
        s_axi_rresp=s_axi_rresp,
        s_axi_rvalid=s_axi_rvalid,
        s_axi_rready=s_axi_rready,
        timeout_clocks=setup.timeout_clocks,
    )
    memory = axi_sdram(
        clk=clk,
        rst=memory_rst,
        ready=ready,
        host_valid=host_valid,
        host_ready=host_ready,
        host_write=host_write,
        host_address=host_address,
        host_write_data=host_write_data,
        host_read_data=host_read_data,
        host_done=host_done,
        m_axi_araddr=m_axi_araddr,
        m_axi_arlen=m_axi_arlen,
        m_axi_arvalid=m_axi_arvalid,
        m_axi_arready=m_axi_arready,
        m_axi_rdata=m_axi_rdata,
        m_axi_rresp=m_axi_rresp,
        m_axi_rlast=m_axi_rlast,
        m_axi_rvalid=m_axi_rvalid,
        m_axi_rready=m_axi_rready,
        m_axi_awaddr=m_axi_awaddr,
        m_axi_awlen=m_axi_awlen,
        m_axi_awvalid=m_axi_awvalid,
        m_axi_awready=m_axi_awready,
        m_axi_wdata=m_axi_wdata,
        m_axi_wstrb=m_axi_wstrb,
        m_axi_wlast=m_axi_wlast,
        m_axi_wvalid=m_axi_wvalid,
        m_axi_wready=m_axi_wready,
        m_axi_bresp=m_axi_bresp,
        m_axi_bvalid=m_axi_bvalid,
        m_axi_bready=m_axi_bready,
        command=command,
        bank=bank,
        address=address,
        mask=mask,
        data_out=data_out,
        data_drive=data_drive,
        data_in=data_in,
        config=setup.sdram,
    )
    chip = mozg(
        clk=clk,
        rst=chip_rst,
        irq=irq,
        s_axi_awaddr=s_axi_awaddr,
        s_axi_awvalid=s_axi_awvalid,
        s_axi_awready=s_axi_awready,
        s_axi_wdata=s_axi_wdata,
        s_axi_wstrb=s_axi_wstrb,
        s_axi_wvalid=s_axi_wvalid,
        s_axi_wready=s_axi_wready,
        s_axi_bresp=s_axi_bresp,
        s_axi_bvalid=s_axi_bvalid,
        s_axi_bready=s_axi_bready,
        s_axi_araddr=s_axi_araddr,
        s_axi_arvalid=s_axi_arvalid,
        s_axi_arready=s_axi_arready,
        s_axi_rdata=s_axi_rdata,
        s_axi_rresp=s_axi_rresp,
        s_axi_rvalid=s_axi_rvalid,
        s_axi_rready=s_axi_rready,
        m_axi_arid=m_axi_arid,
        m_axi_araddr=m_axi_araddr,
        m_axi_arlen=m_axi_arlen,
        m_axi_arsize=m_axi_arsize,
        m_axi_arburst=m_axi_arburst,
        m_axi_arcache=m_axi_arcache,
        m_axi_arprot=m_axi_arprot,
        m_axi_arvalid=m_axi_arvalid,
        m_axi_arready=m_axi_arready,
        m_axi_rid=Constant(intbv(0)[1:]),
        m_axi_rdata=m_axi_rdata,
        m_axi_rresp=m_axi_rresp,
        m_axi_rlast=m_axi_rlast,
        m_axi_rvalid=m_axi_rvalid,
        m_axi_rready=m_axi_rready,
        m_axi_awid=m_axi_awid,
        m_axi_awaddr=m_axi_awaddr,
        m_axi_awlen=m_axi_awlen,
        m_axi_awsize=m_axi_awsize,
        m_axi_awburst=m_axi_awburst,
        m_axi_awcache=m_axi_awcache,
        m_axi_awprot=m_axi_awprot,
        m_axi_awvalid=m_axi_awvalid,
        m_axi_awready=m_axi_awready,
        m_axi_wdata=m_axi_wdata,
        m_axi_wstrb=m_axi_wstrb,
        m_axi_wlast=m_axi_wlast,
        m_axi_wvalid=m_axi_wvalid,
        m_axi_wready=m_axi_wready,
        m_axi_bid=Constant(intbv(0)[1:]),
        m_axi_bresp=m_axi_bresp,
        m_axi_bvalid=m_axi_bvalid,
        m_axi_bready=m_axi_bready,
        config=config,
    )
    return instances()
