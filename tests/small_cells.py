"""A Liberty file of a few made-up cells, for tests of the flows without a foundry's library."""

import re

GATES = {
    "INV": ("!A", 1.0),
    "BUF": ("A", 1.5),
    "BUF2": ("A", 2.0),
    "NAND2": ("!(A*B)", 2.0),
    "NOR2": ("!(A+B)", 2.0),
    "XOR2": ("(A*!B)+(!A*B)", 4.0),
    "AOI21": ("!((A*B)+C)", 3.0),
}
TABLE = 'index_1 ("0.01, 1.0"); index_2 ("0.001, 0.1"); values ("0.05, 0.2", "0.1, 0.3");'


def arcs(names: tuple[str, ...]) -> str:
    return "".join(f"{name} (delays) {{ {TABLE} }}\n" for name in names)


def timing(pin: str, kind: str, sense: str = "non_unate") -> str:
    tables = arcs(("cell_rise", "cell_fall", "rise_transition", "fall_transition"))
    sense = f"timing_sense : {sense};" if kind == "combinational" else ""
    return f'timing () {{ related_pin : "{pin}"; timing_type : {kind}; {sense}\n{tables}}}\n'


def text() -> str:
    lines = [
        'library (small) { delay_model : table_lookup; time_unit : "1ns"; voltage_unit : "1V"; current_unit : "1mA";',
        'capacitive_load_unit (1, pf); pulling_resistance_unit : "1kohm"; nom_voltage : 1.2; nom_process : 1;',
        'nom_temperature : 25; leakage_power_unit : "1nW"; default_max_transition : 3;',
        "input_threshold_pct_rise : 50; input_threshold_pct_fall : 50; output_threshold_pct_rise : 50;",
        "output_threshold_pct_fall : 50; slew_lower_threshold_pct_rise : 20; slew_lower_threshold_pct_fall : 20;",
        "slew_upper_threshold_pct_rise : 80; slew_upper_threshold_pct_fall : 80;",
        "lu_table_template (delays) { variable_1 : input_net_transition;",
        'variable_2 : total_output_net_capacitance; index_1 ("0, 1"); index_2 ("0, 1"); }',
        "lu_table_template (checks) { variable_1 : related_pin_transition;",
        'variable_2 : constrained_pin_transition; index_1 ("0, 1"); index_2 ("0, 1"); }',
    ]
    for name, (function, area) in GATES.items():
        inputs = [letter for letter in "ABC" if letter in function]
        lines.append(f"cell ({name}) {{ area : {area};")
        lines += [f"pin ({pin}) {{ direction : input; capacitance : 0.002; }}" for pin in inputs]
        arcs_in = "".join(timing(pin, "combinational") for pin in inputs)
        lines.append(f'pin (Y) {{ direction : output; function : "{function}"; max_capacitance : 1;\n{arcs_in}}} }}')
    check = 'index_1 ("0.01, 1.0"); index_2 ("0.01, 1.0"); values ("0.1, 0.1", "0.1, 0.1");'
    checks = f"rise_constraint (checks) {{ {check} }} fall_constraint (checks) {{ {check} }}"
    lines.append(f"""cell (DFF) {{ area : 8;
ff (IQ, IQN) {{ clocked_on : "CK"; next_state : "D"; }}
pin (CK) {{ direction : input; clock : true; capacitance : 0.002; }}
pin (D) {{ direction : input; capacitance : 0.002;
timing () {{ related_pin : "CK"; timing_type : setup_rising; {checks} }} }}
pin (Q) {{ direction : output; function : "IQ"; max_capacitance : 1;
{timing("CK", "rising_edge")}}} }}
cell (TIE1) {{ area : 1; pin (Y) {{ direction : output; function : "1"; }} }}
cell (TIE0) {{ area : 1; pin (Y) {{ direction : output; function : "0"; }} }}
cell (GATE) {{ area : 4; clock_gating_integrated_cell : "latch_posedge"; dont_use : true;
pin (CK) {{ direction : input; clock_gate_clock_pin : true; clock : true; capacitance : 0.002; }}
pin (EN) {{ direction : input; clock_gate_enable_pin : true; capacitance : 0.002;
timing () {{ related_pin : "CK"; timing_type : setup_rising; {checks} }} }}
pin (GCK) {{ direction : output; clock_gate_out_pin : true; state_function : "CK * EN"; max_capacitance : 1;
{timing("CK", "combinational", "positive_unate")}}} }}
}}""")
    return "\n".join(lines) + "\n"


def in_picoseconds() -> str:
    """The same library in ps and fF."""
    found = text().replace("(small)", "(small_ps)").replace('"1ns"', '"1ps"').replace("(1, pf)", "(1, ff)")
    numbers = r"(?:index_[12]|values) \(.*?\);|(?:capacitance|max_transition) : [\d.]+;"

    def larger(part: re.Match[str]) -> str:
        return re.sub(r"(?<![_\d.])\d+(\.\d+)?", lambda number: f"{1000 * float(number[0]):g}", part[0])

    return re.sub(numbers, larger, found)
