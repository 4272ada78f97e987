"""The bit-exact NumPy model of the chip: executes the same program from the same memory bytes as the RTL.

`Machine` has the chip's registers and its memory, and nothing of the compiler: it reads instructions, unpacks tiles and
writes the KV cache as the hardware does. Results do not depend on the number of rows, ports or lanes (rtl/README.md,
"Numbers"), so it computes whole matrices at a time. It has no notion of time: cycle counters read zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtl.common import isa, registers
from rtl.common.config import BLOCK, ChipConfig
from rtl.common.isa import Epilogue, Opcode
from rtl.common.registers import ErrorCode, RowFault, RowFlag

from . import fp32, functions, layout, mx

Float32 = NDArray[np.float32]
OUTPUTS_AT_A_TIME = 8192  # outputs of a matrix multiplied in one go, so that the unpacked tile stays in the cache


class MachineError(Exception):
    """The machine stopped with an error code, as the chip does."""

    def __init__(self, code: ErrorCode, address: int = 0):
        super().__init__(f"{code.name} at address {address:#x}")
        self.code, self.address = code, address


@dataclass(frozen=True)
class Pass:
    """One slot of the KV cache and the rows that use it."""

    slot: int
    rows: NDArray[np.int64]
    tokens: int


def block_sums(elements: NDArray[np.int8], operand: Float32) -> Float32:
    """Exact integer dot products: weights [..., n, 32] x operands [..., rows, 32] -> float32 [..., n, rows]."""
    return elements.astype(np.float32) @ np.swapaxes(operand, -1, -2)


def scaled(sums: Float32, exponent: NDArray, invalid: NDArray | None) -> Float32:
    """Block sums times 2^exponent, as the array converts them."""
    if invalid is None and exponent.min() >= -126 and exponent.max() <= 106:
        # sums are integers below 2^21: the product is a normal number, exactly (and +0 for 0, since sums + 0.0)
        return (sums + np.float32(0)) * np.ldexp(np.float32(1), exponent)
    return fp32.from_int(sums.astype(np.int32), exponent, False if invalid is None else invalid)


class Machine:
    """The chip as a program executor. `rows` may exceed the chip's rows: results are the same, and it is faster.

    `memory` is a uint8 array, shared with the caller. `observer(kind, instruction, block, rows, values)` is called for
    each operand block and vector block written: what a comparison with the RTL needs.
    """

    def __init__(self, chip: ChipConfig, memory: NDArray[np.uint8], rows: int | None = None):
        self.chip, self.memory = chip, memory
        self.rows = rows or chip.rows
        self.registers = {
            name: 0 for name, register in registers.all_registers(self.rows).items() if register.access == "rw"
        }
        self.observer: Callable[..., None] | None = None
        self._execute = {
            Opcode.TABLE: self._load_table,
            Opcode.EMBED: self._embed,
            Opcode.NORM: self._norm,
            Opcode.MATMUL: self._matmul,
            Opcode.ATTEND: self._attend,
        }
        self._matrices: dict[tuple, tuple] = {}
        self._operands = np.zeros((chip.operand_blocks, self.rows, BLOCK), dtype=np.float32)
        self._scales = np.zeros((chip.operand_blocks, self.rows), dtype=np.int32)
        self._vector = np.zeros((chip.vector_blocks, self.rows, BLOCK), dtype=np.float32)
        self._sum = np.zeros(self.rows, dtype=np.float32)
        self._table = np.zeros((isa.TABLE_ENTRIES, 3), dtype=np.float32)
        self.error, self.error_address, self.error_instruction = ErrorCode.NONE, 0, 0
        self.steps_done, self.instructions = 0, 0
        self.faults = np.zeros(self.rows, dtype=np.int64)

    def forget_weights(self) -> None:
        """The host has written to the weights: unpack them anew."""
        self._matrices.clear()

    # Registers

    def _wide(self, name: str) -> int:
        return self.registers[f"{name}_low"] | self.registers.get(f"{name}_high", 0) << 32

    def row_field(self, name: str) -> NDArray[np.int64]:
        """A row-table field of all rows."""
        return np.array([self.registers[f"row{row}_{name}"] for row in range(self.rows)], dtype=np.int64)

    def _flags(self, flag: RowFlag) -> NDArray[np.bool_]:
        return (self.row_field("control") >> flag & 1).astype(bool)

    def _set_flag(self, row: int, flag: RowFlag, value: bool) -> None:
        control = self.registers[f"row{row}_control"] & ~(1 << flag)
        self.registers[f"row{row}_control"] = control | value << flag

    # Memory

    def _bytes(self, address: int, count: int, base: int, size: int) -> NDArray[np.uint8]:
        if address < base or address + count > base + size or address + count > self.memory.size:
            raise MachineError(ErrorCode.WINDOW, address)
        return self.memory[address : address + count]

    def _weight_bytes(self, address: int, count: int) -> NDArray[np.uint8]:
        return self._bytes(address, count, self._wide("weights"), self._wide("weights_size"))

    def _vectors(self, address: int, blocks: int) -> Float32:
        data = self._weight_bytes(address, blocks * BLOCK * 4)
        return fp32.flush(data.view("<f4")).reshape(blocks, 1, BLOCK)

    def _slot_base(self, slot: int) -> int:
        return self._wide("kv") + slot * self._wide("kv_stride")

    # Running

    def start(self) -> None:
        """Run `steps` steps, or until no row is active, or an error."""
        self.error, self.error_address, self.steps_done, self.instructions = ErrorCode.NONE, 0, 0, 0
        self.faults[:] = 0
        try:
            for step in range(self.registers["steps"]):
                self._begin_step(step)
                if not self.active.size:
                    if step == 0:
                        raise MachineError(ErrorCode.NO_ROWS)
                    break
                self._run_program(step)
                self.steps_done = step + 1
        except MachineError as stop:
            self.error, self.error_address = stop.code, stop.address

    def _begin_step(self, step: int) -> None:
        slots, positions = self.row_field("slot"), self.row_field("position")
        limit = min(self.registers["context_limit"], self.chip.context)
        for row in np.flatnonzero(self._flags(RowFlag.ACTIVE)):
            outside = slots[row] >= min(self.registers["slots_used"], self.chip.slots) or positions[row] >= limit
            if outside:
                self.faults[row] |= 1 << RowFault.SLOT
            if outside or (step and not self._flags(RowFlag.SAMPLE)[row]):
                self._set_flag(row, RowFlag.ACTIVE, False)
        self.active = np.flatnonzero(self._flags(RowFlag.ACTIVE))
        self.sampling = self.active[self._flags(RowFlag.SAMPLE)[self.active]]
        self.positions = positions
        self.passes = []
        for slot in dict.fromkeys(slots[self.active]):
            rows = self.active[slots[self.active] == slot]
            self.passes.append(Pass(int(slot), rows, int(positions[rows].max()) + 1))

    def _run_program(self, step: int) -> None:
        base, size = self._wide("program"), self.registers["program_size"]
        index = 0
        while True:
            self.error_instruction = index
            if (index + 1) * isa.INSTRUCTION_BYTES > size:
                raise MachineError(ErrorCode.PROGRAM_END, base + index * isa.INSTRUCTION_BYTES)
            data = self._bytes(base + index * isa.INSTRUCTION_BYTES, isa.INSTRUCTION_BYTES, base, size)
            try:
                fields = isa.decode(data.tobytes())
            except ValueError:
                raise MachineError(ErrorCode.OPCODE, base + index * isa.INSTRUCTION_BYTES) from None
            self.instructions += 1
            if fields["opcode"] == Opcode.END:
                return self._end_step(step)
            self.needed = self.sampling if fields["sampling_only"] else self.active
            if self.needed.size:
                self._execute[Opcode(fields["opcode"])](fields)
            index += 1

    def _end_step(self, step: int) -> None:
        for row in range(self.rows):
            address = self._wide("output") + 4 * (step * self.chip.rows + row)
            if row >= self.chip.rows and self.rows > self.chip.rows:
                continue  # more rows than the chip has: the host reads them from the row table
            word = self._bytes(address, 4, self._wide("output"), self.registers["output_size"]).view("<u4")
            sampled = row in self.sampling and not self.faults[row]
            word[0] = self._tokens[row] if sampled else 0xFFFFFFFF
        limit = min(self.registers["context_limit"], self.chip.context)
        for row in self.active:
            if self.faults[row]:
                self._set_flag(row, RowFlag.ACTIVE, False)
            elif row in self.sampling:
                token, position = int(self._tokens[row]), int(self.positions[row]) + 1
                self.registers[f"row{row}_token"], self.registers[f"row{row}_position"] = token, position
                stopped = token in (self.registers[f"row{row}_stop_a"], self.registers[f"row{row}_stop_b"])
                self._set_flag(row, RowFlag.STOPPED, stopped)
                self._set_flag(row, RowFlag.FULL, position >= limit)
                if stopped or position >= limit:
                    self._set_flag(row, RowFlag.ACTIVE, False)

    # Storing results

    def _check(self, rows: NDArray, values: Float32, axis: int) -> Float32:
        """Infinity or NaN is the numeric fault of a row that needs the result; `axis` is the axis of rows."""
        bad = ~np.isfinite(values)
        if bad.any():
            bad = np.moveaxis(bad, axis, 0).reshape(len(rows), -1).any(axis=1)
            self.faults[np.intersect1d(rows[bad], self.needed)] |= 1 << RowFault.NUMERIC
        return values

    def _store_operands(self, block: int, rows: NDArray, values: Float32) -> None:
        """Quantise values [blocks, rows, 32] into operand blocks from `block`."""
        self._check(rows, values, 1)
        elements, scales = mx.quantize_mxint8(values)
        where = (slice(block, block + len(values)), rows)
        self._operands[where], self._scales[where] = elements, scales[..., 0]
        if self.observer:
            self.observer("operand", self.error_instruction, block, rows, (elements, scales[..., 0]))

    def _store_vectors(self, block: int, rows: NDArray, values: Float32) -> None:
        self._vector[block : block + len(values), rows] = self._check(rows, values, 1)
        if self.observer:
            self.observer("vector", self.error_instruction, block, rows, values)

    def _running_sum(self, values: Float32, counted: NDArray | None = None) -> Float32:
        """Sum [blocks, rows, 32] over blocks and elements in the chip's order -> [rows]; uncounted elements are +0."""
        if counted is not None:
            values = np.where(counted, values, np.float32(0))
        total = np.zeros(values.shape[1:-1], dtype=np.float32)
        for partial in fp32.tree_sum32(values):
            total = fp32.add(total, partial)
        return total

    # Instructions

    def _load_table(self, fields: dict[str, int]) -> None:
        data = self._weight_bytes(fields["address"], isa.TABLE_ENTRIES * 12).view("<f4")
        self._table = np.ascontiguousarray(fp32.flush(data).reshape(3, isa.TABLE_ENTRIES).T)

    def _embed(self, fields: dict[str, int]) -> None:
        blocks, stride = fields["k_blocks"], fields["row_stride"]
        values = np.empty((blocks, len(self.active), BLOCK), dtype=np.float32)
        for i, row in enumerate(self.active):
            token = self._vectors(fields["address"] + self.registers[f"row{row}_token"] * stride, blocks)
            position = self._vectors(fields["address_b"] + int(self.positions[row]) * stride, blocks)
            values[:, i] = fp32.add(token, position)[:, 0]
        self._store_vectors(fields["destination"], self.active, values)
        counted = self._counted(blocks, fields["count"])
        self._sum[self.active] = self._running_sum(values, counted)

    @staticmethod
    def _counted(blocks: int, count: int) -> NDArray[np.bool_]:
        return (np.arange(blocks * BLOCK) < count).reshape(blocks, 1, BLOCK)

    def _norm(self, fields: dict[str, int]) -> None:
        blocks, rows = fields["k_blocks"], self.active
        inverse_width = fp32.from_bits(np.uint32(fields["constant_a"]))
        epsilon = fp32.from_bits(np.uint32(fields["constant_b"]))
        x = self._vector[fields["source"] : fields["source"] + blocks, rows]
        mean = fp32.mul(self._sum[rows], inverse_width)
        deviation = fp32.sub(x, mean[:, None])
        squares = self._running_sum(fp32.mul(deviation, deviation), self._counted(blocks, fields["count"]))
        spread = fp32.add(fp32.mul(squares, inverse_width), epsilon)
        scale = functions.rsqrt(self._table, spread)
        y = fp32.mul(fp32.mul(deviation, scale[:, None]), self._vectors(fields["address"], blocks))
        y = fp32.add(y, self._vectors(fields["address_b"], blocks))
        self._store_operands(fields["destination"], rows, y)

    def _matrix(self, fields: dict[str, int]) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
        shape = layout.MatrixShape(
            fields["groups"] * (1 + fields["mxfp4"]) * self.chip.ports,
            fields["k_blocks"],
            bool(fields["mxfp4"]),
            self.chip.ports,
        )
        key = (fields["address"], shape)
        if key not in self._matrices:
            data = self._weight_bytes(fields["address"], shape.bytes)
            self._matrices[key] = layout.unpack_matrix(data, shape)
        return self._matrices[key]

    def _product(self, fields: dict[str, int], rows: NDArray) -> Float32:
        """Accumulators [output_blocks, rows, 32]."""
        elements, scales = self._matrix(fields)
        outputs = fields["output_blocks"] * BLOCK
        offset = -254 - (7 if fields["mxfp4"] else 12)
        source = slice(fields["source"], fields["source"] + fields["k_blocks"])
        operand, operand_scale = self._operands[source, rows], self._scales[source, rows]
        result = np.empty((outputs, len(rows)), dtype=np.float32)
        for start in range(0, outputs, OUTPUTS_AT_A_TIME):
            part = slice(start, min(start + OUTPUTS_AT_A_TIME, outputs))
            total = np.zeros((part.stop - start, len(rows)), dtype=np.float32)
            for k in range(fields["k_blocks"]):
                value = self._scaled(
                    block_sums(elements[k, part], operand[k]),
                    scales[k, part].astype(np.int32)[:, None],
                    operand_scale[k][None, :],
                    offset,
                )
                total = fp32.add(total, value)
            result[part] = total
        return np.ascontiguousarray(result.reshape(-1, BLOCK, len(rows)).swapaxes(1, 2))

    @staticmethod
    def _scaled(sums: Float32, weight_scale: NDArray, operand_scale: NDArray, offset: int) -> Float32:
        invalid = None
        if weight_scale.max() == mx.SCALE_NAN or operand_scale.max() == mx.SCALE_NAN:
            invalid = (weight_scale == mx.SCALE_NAN) | (operand_scale == mx.SCALE_NAN)
        return scaled(sums, weight_scale + (operand_scale + offset), invalid)

    def _matmul(self, fields: dict[str, int]) -> None:
        epilogue = Epilogue(fields["epilogue"])
        rows = self.sampling if epilogue == Epilogue.SAMPLE else self.active
        y = self._product(fields, rows)
        if fields["has_bias"]:
            y = fp32.add(y, self._vectors(fields["address_b"], fields["output_blocks"]))
        destination = fields["destination"]
        if epilogue == Epilogue.QUANTIZE:
            if fields["activate"]:
                y = functions.activation(self._table, fields["first_exponent"], y)
            self._store_operands(destination, rows, y)
        elif epilogue == Epilogue.RESIDUAL:
            y = fp32.add(y, self._vector[destination : destination + len(y), rows])
            self._store_vectors(destination, rows, y)
            self._sum[rows] = self._running_sum(y, self._counted(len(y), fields["count"]))
        elif epilogue == Epilogue.SAMPLE:
            self._sample(fields, rows, y)
        elif epilogue == Epilogue.KEY:
            self._write_keys(fields, rows, self._check(rows, y, 1))
        else:
            self._store_vectors(destination, rows, y)
            self._write_values(fields, rows, y)

    def _sample(self, fields: dict[str, int], rows: NDArray, logits: Float32) -> None:
        """logits [blocks, rows, 32]: argmax of logits, or of logits / temperature + noise, among the vocabulary."""
        vocabulary = fields["count"]
        self._tokens = np.zeros(self.rows, dtype=np.int64)
        control = self.row_field("control")
        for i, row in enumerate(rows):
            y = np.ascontiguousarray(logits[:, i]).reshape(-1)
            if control[row] >> RowFlag.LOGITS & 1:
                self._write_logits(row, y)
            y = y[:vocabulary]
            if not control[row] >> RowFlag.GREEDY & 1:
                temperature = fp32.from_bits(np.uint32(self.registers[f"row{row}_inverse_temperature"]))
                seed, position = self.registers[f"row{row}_seed"], int(self.positions[row])
                noise = functions.noise(self._table, seed, position, np.arange(vocabulary))
                y = fp32.add(fp32.mul(y, temperature), noise)
            self._check(np.array([row]), y[None], 0)
            self._tokens[row] = int(np.argmax(fp32.order_key(y)))

    def _write_logits(self, row: int, y: Float32) -> None:
        offset = self.registers["logits_offset"] + row * self.registers["logits_stride"]
        address = self._wide("output") + offset
        data = self._bytes(address, y.nbytes, self._wide("output"), self.registers["output_size"])
        data[:] = y.view(np.uint8)

    # KV cache

    def _kv_layout(self, fields: dict[str, int]) -> layout.KVLayout:
        return layout.KVLayout(fields["head_blocks"], self.chip.context, self.chip.ports)

    def _head_bytes(self, fields: dict[str, int], row_slot: int, head: int) -> int:
        return self._slot_base(row_slot) + fields["layer_offset"] + head * fields["head_stride"]

    def _store_kv(self, slot: int, addresses: NDArray | int, data: NDArray | int) -> None:
        base, size = self._slot_base(slot), self._wide("kv_stride")
        low, high = np.min(addresses), np.max(addresses)
        if low < base or high >= base + size or high >= self.memory.size:
            raise MachineError(ErrorCode.WINDOW, int(low if low < base else high))
        self.memory[addresses] = data

    def _write_keys(self, fields: dict[str, int], rows: NDArray, y: Float32) -> None:
        kv = self._kv_layout(fields)
        elements, scales = mx.quantize_mxint8(y)
        slots = self.row_field("slot")
        for i, row in enumerate(rows):
            slot = int(slots[row])
            for output_block in range(len(y)):
                head, block = divmod(output_block, fields["head_blocks"])
                base = self._head_bytes(fields, slot, head)
                where, scale_at, _ = kv.key_address(int(self.positions[row]), block)
                data = elements[output_block, i].view(np.uint8)
                self._store_kv(slot, base + where + np.arange(BLOCK), data)
                self._store_kv(slot, base + scale_at, scales[output_block, i, 0])

    def _write_values(self, fields: dict[str, int], rows: NDArray, y: Float32) -> None:
        kv = self._kv_layout(fields)
        channels = fields["head_blocks"] * BLOCK
        heads = len(y) // fields["head_blocks"]
        slots = self.row_field("slot")
        by_head = y.reshape(heads, fields["head_blocks"], len(rows), BLOCK).swapaxes(1, 2)
        elements, scales = mx.quantize_mxint8(by_head.reshape(heads, len(rows), channels), block=channels)
        for i, row in enumerate(rows):
            slot, position = int(slots[row]), int(self.positions[row])
            where = kv.value_addresses(position, channels) - kv.value_offset
            group = np.arange(channels) // kv.bus_bytes
            where += fields["value_offset"] + group * (fields["value_stride"] - kv.value_stride)
            _, _, scale_at = kv.key_address(position, 0)
            for head in range(heads):
                base = self._head_bytes(fields, slot, head)
                self._store_kv(slot, base + where, elements[head, i].view(np.uint8))
                self._store_kv(slot, base + scale_at, scales[head, i, 0])

    def _attend(self, fields: dict[str, int]) -> None:
        for one in self.passes:
            self._attend_slot(fields, one)

    def _read_heads(self, fields: dict[str, int], one: Pass, offset: int, count: int) -> NDArray[np.uint8]:
        """`count` bytes at `offset` of the cache of each KV head: [kv heads, count]."""
        kv_heads = fields["heads"] // fields["heads_per_kv"]
        base, size = self._slot_base(one.slot), self._wide("kv_stride")
        return np.stack(
            [
                self._bytes(self._head_bytes(fields, one.slot, head) + offset, count, base, size)
                for head in range(kv_heads)
            ]
        )

    def _attend_slot(self, fields: dict[str, int], one: Pass) -> None:
        ports, head_blocks, heads = self.chip.ports, fields["head_blocks"], fields["heads"]
        kv = self._kv_layout(fields)
        repeat = fields["heads_per_kv"]
        rows, token_blocks = one.rows, layout.ceil_div(one.tokens, BLOCK)
        groups = layout.ceil_div(one.tokens, BLOCK * ports)

        # K region -> keys [heads, head_blocks, tokens, 32], key scales [heads, head_blocks, tokens],
        # V scales [heads, tokens]
        data = self._read_heads(fields, one, 0, groups * kv.group_beats * kv.bus_bytes)
        data = data.reshape(-1, groups, kv.group_beats, ports, BLOCK)
        value_scale = data[:, :, 0].reshape(len(data), -1)
        tiles = data[:, :, 1:].reshape(len(data), groups, head_blocks, 1 + BLOCK, ports, BLOCK)
        key_scale = tiles[:, :, :, 0].transpose(0, 2, 1, 3, 4).reshape(len(data), head_blocks, -1)
        keys = tiles[:, :, :, 1:].transpose(0, 2, 1, 4, 3, 5).reshape(len(data), head_blocks, -1, BLOCK).view(np.int8)

        # Scores [heads, tokens, rows]
        source = slice(fields["source"], fields["source"] + heads * head_blocks)
        query = self._operands[source, rows].reshape(heads, head_blocks, len(rows), BLOCK)
        query_scale = self._scales[source, rows].reshape(heads, head_blocks, len(rows))
        tokens = keys.shape[2]
        score = np.zeros((heads, tokens, len(rows)), dtype=np.float32)
        for k in range(head_blocks):
            key = np.repeat(keys[:, k], repeat, axis=0)
            scale = np.repeat(key_scale[:, k], repeat, axis=0).astype(np.int32)[:, :, None]
            value = self._scaled(block_sums(key, query[:, k]), scale, query_scale[:, k][:, None, :], -254 - 12)
            score = fp32.add(score, value)
        score = score.swapaxes(1, 2)[:, :, : token_blocks * BLOCK]  # [heads, rows, tokens]
        score = fp32.mul(score, fp32.from_bits(np.uint32(fields["constant_a"])))
        counted = np.arange(score.shape[2]) <= self.positions[rows][:, None]
        score = np.where(counted, score, np.float32(0))
        self._check(rows, score, 1)

        # Softmax weights, not normalised
        largest = np.where(counted, fp32.order_key(score), 0).max(axis=2, keepdims=True)
        winner = np.argmax(np.where(counted, fp32.order_key(score), 0) == largest, axis=2)[..., None]
        maximum = np.take_along_axis(score, winner, axis=2) + np.float32(0)  # -0 becomes +0
        maximum = np.where(largest == 0, np.float32(-np.inf), maximum)  # all NaN: the row is at fault already
        weight = functions.exp2(self._table, fp32.sub(score, maximum))
        weight = np.where(counted, weight, np.float32(0))
        shape = (heads, len(rows), token_blocks, BLOCK)
        total = self._running_sum(weight.reshape(shape).transpose(2, 0, 1, 3))  # [heads, rows]
        byte = np.repeat(value_scale, repeat, axis=0)[:, None, : token_blocks * BLOCK].astype(np.int32)
        folded = fp32.scale_exponent(weight, byte - 127)
        folded = np.where(counted, np.where(byte == mx.SCALE_NAN, fp32.NAN, folded), np.float32(0))
        folded = np.ascontiguousarray(folded.reshape(shape).transpose(0, 2, 1, 3))  # [heads, blocks, rows, 32]
        for head in range(heads):
            self._store_operands(fields["weight_block"] + head % 2 * self.chip.context_blocks, rows, folded[head])
        weight_elements, weight_scales = mx.quantize_mxint8(folded)
        inverse = functions.reciprocal(self._table, total)

        # V region -> values [heads, token_blocks, channels, 32]; accumulated over token blocks
        channel_groups = layout.ceil_div(head_blocks, ports)
        values = np.concatenate(
            [
                self._read_heads(
                    fields,
                    one,
                    fields["value_offset"] + g * fields["value_stride"],
                    token_blocks * BLOCK * kv.bus_bytes,
                ).reshape(-1, token_blocks, BLOCK, ports, BLOCK)
                for g in range(channel_groups)
            ],
            axis=3,
        )
        values = values.transpose(0, 1, 3, 2, 4).reshape(len(values), token_blocks, -1, BLOCK).view(np.int8)
        result = np.zeros((heads, values.shape[2], len(rows)), dtype=np.float32)
        for block in range(token_blocks):
            value = np.repeat(values[:, block], repeat, axis=0)
            scale = weight_scales[:, block, :, 0].astype(np.int32)[:, None, :]
            sums = block_sums(value, weight_elements[:, block].astype(np.float32))
            weight_only = np.full((1, 1, 1), 127, dtype=np.int32)
            result = fp32.add(result, self._scaled(sums, weight_only, scale, -254 - 12))
        result = fp32.mul(result.swapaxes(1, 2), inverse[:, :, None])  # [heads, rows, channels]
        result = result.reshape(heads, len(rows), -1, BLOCK)[:, :, :head_blocks]
        out = np.ascontiguousarray(result.transpose(0, 2, 1, 3)).reshape(heads * head_blocks, len(rows), BLOCK)
        self._store_operands(fields["destination"], rows, out)
