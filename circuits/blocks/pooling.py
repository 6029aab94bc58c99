r"""Max and min pooling of latched spikes by logic: first arrival is their OR, last arrival their AND.

.. math:: s_{max} = s_1 \vee s_2 \vee \dots, \qquad s_{min} = s_1 \wedge s_2 \wedge \dots

A larger value is an earlier spike, so OR is max pooling. Both are one NAND and one row of inverters: in front
(OR) or behind (AND). More than four inputs make a tree: a NAND's stack of N transistors in series is
as slow as their number squared.

Sizing: minimal lengths; the P side twice the drive of the stack, since the step that matters rises. Hand
analysis: two gates, each R_on of about 10 kOhm against 4 fF, 0.08 to 0.12 ns measured, 0.1 % of tau_c =
100 ns; nearly the same for all inputs (their place in the stack: 0.02 ns), so it is taken off the windows.
There is no analog error: mismatch moves the delay by a part of itself.
"""

from __future__ import annotations

from circuits.blocks.subcircuit import Block, Mos, Part, Use, inverter
from circuits.errors import InputError

KINDS = ("max", "min")
WIDEST = 4
"""Inputs of one gate."""


def _nand(to: str, inputs: tuple[str, ...]) -> tuple[Part, ...]:
    parts: list[Part] = []
    for j, node in enumerate(inputs):
        above = to if j == 0 else f"y{j}"
        below = "0" if j == len(inputs) - 1 else f"y{j + 1}"
        parts += [
            Mos(f"np{j}", "gate_p", to, node, "vdd", "vdd"),
            Mos(f"nn{j}", "nand_n", above, node, below, "0"),
        ]
    return tuple(parts)


def pooling_gate(kind: str, inputs: int) -> Block:
    """Ports s0, s1 ..., q, vdd: the pooled step of 2 or more latched spikes.

    Parameters
    ----------
    kind : {"max", "min"}, first or last arrival
    inputs : beyond WIDEST they make a tree

    Raises
    ------
    InputError
        For an unknown kind, or fewer than two inputs.
    """
    if kind not in KINDS:
        raise InputError(f"pooling is one of {', '.join(KINDS)}, got {kind!r}")
    if inputs < 2:
        raise InputError(f"pooling needs 2 inputs or more, got {inputs}")
    word = "first" if kind == "max" else "last"
    s = tuple(f"s{j}" for j in range(inputs))
    parts: tuple[Part, ...]
    if inputs > WIDEST:
        groups = [s[k : k + WIDEST] for k in range(0, inputs, WIDEST)]
        if len(groups[-1]) == 1:  # a gate has two inputs or more
            groups[-2:] = [groups[-2][:-1], (groups[-2][-1], *groups[-1])]
        inner = tuple(f"g{k}" for k in range(len(groups)))
        parts = tuple(
            Use(f"u{k}", pooling_gate(kind, len(group)), (*group, inner[k], "vdd"))
            for k, group in enumerate(groups)
        )
        parts += (Use("u", pooling_gate(kind, len(inner)), (*inner, "q", "vdd")),)
    elif kind == "max":
        inverted = tuple(f"b{j}" for j in range(inputs))
        parts = tuple(m for j in range(inputs) for m in inverter(f"i{j}", inverted[j], s[j]))
        parts += _nand("q", inverted)
    else:
        parts = _nand("z", s) + inverter("o", "q", "z", ("buffer_p", "buffer_n"))
    return Block(f"{word}_arrival_{inputs}", (*s, "q", "vdd"), parts)
