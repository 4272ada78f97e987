"""The beats, groups and ring words of an instruction, from "Lane" and "Steps" of rtl/README.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rtl.common.config import ChipConfig
from rtl.common.isa import Epilogue, Opcode
from rtl.vector.control_word import Add1, Add3, Destination, Mul2, Reduce, Source
from rtl.vector.passes import BUFFERED, PASSES, Kind


@dataclass
class Rows:
    """The row table of a step."""

    active: list[int]
    sample: list[int]
    greedy: list[int]
    logits: list[int]
    slot: list[int]
    position: list[int]

    def passes(self) -> list[tuple[list[int], int]]:
        """(rows, tokens) of each pass over the KV caches."""
        found: dict[int, list[int]] = {}
        for row in self.active:
            found.setdefault(self.slot[row], []).append(row)
        return [(rows, max(self.position[r] for r in rows) + 1) for rows in found.values()]


@dataclass
class Group:
    """One accumulator bank's worth, as the array makes it."""

    needs: range  # operand blocks that must be full
    empties: bool


class Expansion:
    """Beats of threads D and S, array groups and ring words of a program."""

    def __init__(self, config: ChipConfig, rows: Rows, program: list[dict[str, int]], first_bank: int = 0) -> None:
        self.config, self.rows, self.first_bank = config, rows, first_bank
        self.drain: list[dict[str, int]] = []
        self.softmax: list[dict[str, int]] = []
        self.groups: list[Group] = []
        self.ring_a = self.ring_b = self.sample_done = self.kv_units = 0
        for fields in program:
            if not (fields["sampling_only"] and not [r for r in rows.active if r in rows.sample]):
                getattr(self, Opcode(fields["opcode"]).name.lower())(fields)

    def beats(self, kind: Kind, rows: list[int], blocks: int = 1, one: bool = False, **given: int) -> Iterator[dict]:
        """The rows' turns of one round; `given` holds the fields that matter, `fill` the right to fill."""
        bias, buffer = given.pop("bias", 0), given.get("buffer", 0)
        fill = given.pop("fill", 1)
        for row in rows:
            for turn in range(blocks):
                for word in range(1 if one else self.config.words):
                    beat = dict(PASSES[kind])
                    for name, value in beat.items():
                        if name.startswith("scalar_") and value in BUFFERED:
                            beat[name] = value + buffer
                    if bias:
                        beat["add1"] = Add1.RING_A
                    beat |= given
                    beat |= {"row": row, "word": word, "thread": int(kind in (Kind.SOFTMAX, Kind.INVERSE))}
                    for name in ("block", "source_block"):
                        if name in given:
                            beat[name] += turn
                    last = one or (word == self.config.words - 1 and turn == blocks - 1)
                    beat["quantise_last"] = int(last)
                    if beat.get("destination") == Destination.OPERAND:
                        beat["fill"] = int(fill and row == rows[-1])
                    yield beat

    def embed(self, f: dict[str, int]) -> None:
        for row in self.rows.active:
            for b in range(f["k_blocks"]):
                self.drain += self.beats(
                    Kind.EMBED,
                    [row],
                    source_block=b,
                    parameter_block=b,
                    block=f["destination"] + b,
                    index_block=b,
                    reduce_first=int(b == 0),
                )
            self.ring_a += f["k_blocks"]
            self.ring_b += f["k_blocks"]

    def norm(self, f: dict[str, int]) -> None:
        active, blocks = self.rows.active, range(f["k_blocks"])
        self.drain += self.beats(Kind.MEAN, active, one=True)
        for b in blocks:
            self.drain += self.beats(
                Kind.VARIANCE, active, source_block=f["source"] + b, index_block=b, reduce_first=int(b == 0)
            )
        self.drain += self.beats(Kind.SPREAD, active, one=True)
        self.drain += self.beats(Kind.DEVIATION, active, one=True)
        for b in blocks:
            self.drain += self.beats(
                Kind.NORMALISE,
                active,
                source_block=f["source"] + b,
                parameter_block=b,
                block=f["destination"] + b,
            )
        self.ring_a += f["k_blocks"]
        self.ring_b += f["k_blocks"]

    def matmul(self, f: dict[str, int]) -> None:
        size = self.config.ports * (2 if f["mxfp4"] else 1)
        outputs, epilogue = f["output_blocks"], Epilogue(f["epilogue"])
        for first in range(0, outputs, size):
            bank = (self.first_bank + len(self.groups)) % 2
            self.groups.append(Group(range(0), False))
            columns = range(min(size, outputs - first))
            if epilogue == Epilogue.SAMPLE:
                self.sample_group(f, first, bank, columns)
                continue
            for c in columns:
                o = first + c
                place = {"bank": bank, "column": c if f["mxfp4"] else 2 * c, "bias": f["has_bias"]}
                place |= {"parameter_block": o} if f["has_bias"] else {}
                if epilogue == Epilogue.QUANTIZE:
                    kind, place["block"] = (
                        Kind.ACTIVATE if f["activate"] else Kind.QUANTIZE,
                        f["destination"] + o,
                    )
                elif epilogue == Epilogue.RESIDUAL:
                    kind, place["block"] = Kind.RESIDUAL, f["destination"] + o
                    place |= {"index_block": o, "reduce_first": int(o == 0)}
                elif epilogue == Epilogue.KEY:
                    kind, place["head"], place["block"] = Kind.KEY, *divmod(o, f["head_blocks"])
                else:
                    kind, place["block"] = Kind.VALUE, f["destination"] + o
                self.drain += self.beats(kind, self.rows.active, **place)
        self.ring_a += outputs if f["has_bias"] else 0
        if epilogue == Epilogue.VALUE:
            for head in range(f["heads"]):
                self.drain += self.beats(
                    Kind.VALUE_QUANTISE,
                    self.rows.active,
                    blocks=f["head_blocks"],
                    source_block=f["destination"] + head * f["head_blocks"],
                    block=0,
                    head=head,
                )
        self.sample_done += epilogue == Epilogue.SAMPLE

    def sample_group(self, f: dict[str, int], first: int, bank: int, columns: range) -> None:
        sampling = [r for r in self.rows.active if r in self.rows.sample]
        noisy = [r for r in sampling if r not in self.rows.greedy]
        for c in columns:
            self.drain += self.beats(Kind.NOISE_1, noisy, index_block=first + c, block=c, buffer=0)
        for c in columns:
            self.drain += self.beats(Kind.NOISE_2, noisy, source_block=c, block=c, buffer=0)
        place = [{"bank": bank, "column": c if f["mxfp4"] else 2 * c, "bias": f["has_bias"]} for c in columns]
        for c in columns:
            bias = {"parameter_block": first + c} if f["has_bias"] else {}
            self.drain += self.beats(
                Kind.LOGIT, sampling, index_block=first + c, source_block=c, buffer=0, **place[c], **bias
            )
        for c in columns:
            bias = {"parameter_block": first + c} if f["has_bias"] else {}
            logits = [r for r in sampling if r in self.rows.logits]
            self.drain += self.beats(Kind.LOGITS_OUT, logits, block=first + c, **place[c], **bias)

    def attend(self, f: dict[str, int]) -> None:
        passes = self.rows.passes()
        jobs = [(rows, tokens, head, p) for p, (rows, tokens) in enumerate(passes) for head in range(f["heads"])]
        order = [("S", 0)]
        for j in range(len(jobs)):
            order += [("S", j + 1)] if j + 1 < len(jobs) else []
            order.append(("V", j))
        ports = self.config.ports
        for what, j in order:
            rows, tokens, head, number = jobs[j]
            token_blocks = -(-tokens // 32)
            region = f["weight_block"] + (j % 2) * self.config.context_blocks
            blocks = token_blocks if what == "S" else f["head_blocks"]
            for first in range(0, blocks, ports):
                bank = (self.first_bank + len(self.groups)) % 2
                last = first + ports >= blocks
                self.groups.append(
                    Group(range(0), False) if what == "S" else Group(range(region, region + token_blocks), last)
                )
                for b in range(first, min(first + ports, blocks)):
                    place = {"bank": bank, "column": 2 * (b - first), "buffer": j % 2}
                    if what == "S":
                        place |= {"block": b, "index_block": b, "reduce_first": int(b == 0)}
                        self.drain += self.beats(Kind.SCORE, rows, **place)
                    else:
                        place["block"] = f["destination"] + head * f["head_blocks"] + b
                        self.drain += self.beats(Kind.WEIGHTED, rows, fill=number == len(passes) - 1, **place)
        for j, (rows, tokens, _, _) in enumerate(jobs):
            region = f["weight_block"] + (j % 2) * self.config.context_blocks
            for b in range(-(-tokens // 32)):
                self.softmax += self.beats(
                    Kind.SOFTMAX,
                    rows,
                    source_block=b,
                    block=region + b,
                    index_block=b,
                    reduce_first=int(b == 0),
                    buffer=j % 2,
                )
            self.softmax += self.beats(Kind.INVERSE, rows, one=True, buffer=j % 2)


def uses(beat: dict[str, int]) -> dict[str, set]:
    """What a beat reads and writes, for hazards: named places."""
    row, buffer = beat["row"], beat["buffer"]
    reads, writes = set(), set()
    if beat["source"] == Source.VECTOR:
        reads.add(("vector", row, beat["source_block"], beat["word"]))
    if beat["source"] == Source.SCORE or (beat["add3"] == Add3.NOISE):
        reads.add(("score", buffer, row, beat["source_block"], beat["word"]))
    if beat["source"] == Source.SCALAR:
        reads.add(("scalar", beat["scalar_in"], row))
    if beat["add1"] == Add1.SCALAR:
        reads.add(("scalar", beat["scalar_operand"], row))
    if beat["mul1"] == 2:
        reads.add(("scalar", beat["scalar_factor"], row))
    if beat["add3"] == Add3.VECTOR:
        reads.add(("vector", row, beat["block"], beat["word"]))
    if beat["destination"] == Destination.VECTOR:
        writes.add(("vector", row, beat["block"], beat["word"]))
    if beat["destination"] == Destination.SCORE:
        writes.add(("score", buffer, row, beat["block"], beat["word"]))
    if beat["destination"] == Destination.SCALAR or beat["reduce"] != Reduce.NONE:
        writes.add(("scalar", beat["scalar_out"], row))
    return {"reads": reads, "writes": writes}


def reads_ring(beat: dict[str, int]) -> tuple[bool, bool]:
    """Whether ring A and ring B are read at parameter_block (or source_block, the same there)."""
    a = beat["source"] == Source.RING_A or beat["add1"] == Add1.RING_A or beat["mul2"] == Mul2.RING_A
    return a, beat["add1"] == Add1.RING_B or beat["add3"] == Add3.RING_B
