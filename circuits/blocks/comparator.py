r"""When the membrane passes the threshold: an OTA with enable, or a stage that draws nothing while it waits.

OTA: a differential pair with a mirror load. Its tail flows only from t_min (`en`) until the neuron has fired
(`sb`, the buffered complement of the spike); otherwise its output is pulled up. An inverter follows, starved
on the side of ground: the OTA's low level is only about v_m - 0.5 V, so the other side has to stay strong,
and on a slow ramp an unstarved inverter would burn more than the neuron itself.

.. math:: \sigma(o) = \sqrt{2}\,A_{VT} \sqrt{\frac{1}{(WL)_{pair}} +
          \frac{(g_{m,load}/g_{m,pair})^2}{(WL)_{load}}}, \qquad t_d \propto I_{tail}^{-1/2}

Sizing: the pair wide and the load long, both for offset; the tail current for the delay, which is a
constant because the slope is: it is calibrated into the windows.

Zero-idle stage: the membrane drives one NMOS whose source stands on a reference rail, against a PMOS current
load. No current flows until v_m - v_rail approaches V_GS, so a silent neuron costs almost nothing, at the
price of a threshold that moves with temperature (a replica has to make the rail).
"""

from __future__ import annotations

from circuits.blocks.subcircuit import Block, Mos

INVERTER = (
    Mos("m10", "starve", "h", "nbs", "0", "0"),
    Mos("m11", "inverter_p", "a", "o", "vdd", "vdd"),
    Mos("m12", "inverter_n", "a", "o", "h", "0"),
)
PULL_UP = (
    Mos("m8", "pull_up", "o", "en", "vdd", "vdd"),
    Mos("m9", "pull_up", "o", "sb", "vdd", "vdd"),
)

OTA = Block(
    "ota_comparator",
    ("vm", "vth", "a", "en", "sb", "nbt", "nbs", "vdd"),
    (
        Mos("m1", "pair", "o", "vm", "e", "0"),
        Mos("m2", "pair", "d", "vth", "e", "0"),
        Mos("m3", "load", "o", "d", "vdd", "vdd"),
        Mos("m4", "load", "d", "d", "vdd", "vdd"),
        Mos("m5", "tail", "e", "nbt", "f", "0"),
        Mos("m6", "enable", "f", "en", "g", "0"),
        Mos("m7", "enable", "g", "sb", "0", "0"),
        *PULL_UP,
        *INVERTER,
    ),
)
ZERO_IDLE = Block(
    "zero_idle_comparator",
    ("vm", "vrail", "a", "en", "sb", "pbc", "nbs", "vdd"),
    (
        Mos("m1", "pair", "e", "vm", "vrail", "0"),
        Mos("m6", "enable", "f", "en", "e", "0"),
        Mos("m7", "enable", "o", "sb", "f", "0"),
        Mos("m3", "load", "o", "pbc", "vdd", "vdd"),
        *PULL_UP,
        *INVERTER,
    ),
)
