from pathlib import Path
from rtl.common.config import ChipConfig
from rtl.control.control import control
from rtl.control.ports import control_ports
from rtl.convert import Converted, convert


def build(out_dir: Path, chip: ChipConfig) -> Converted:
    return convert(control, **control_ports(chip), config=chip, out_dir=out_dir)
