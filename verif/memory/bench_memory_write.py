from pathlib import Path
from rtl.common.config import ChipConfig
from rtl.memory.memory_write import memory_write
from rtl.memory.write_ports import memory_write_ports
from rtl.convert import Converted, convert


def build(out_dir: Path, chip: ChipConfig) -> Converted:
    return convert(memory_write, **memory_write_ports(chip), config=chip, out_dir=out_dir)
