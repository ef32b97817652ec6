"""The text of the kernel: C++ for the plasticity processor, which `PlasticityRule.generate_kernel` returns."""

from __future__ import annotations

from importlib import resources

from rnla_neuro.errors import ConfigError
from rnla_neuro.hardware.ppu.rule import COLUMNS, SHIFT_BITS, WEIGHT_MAX, PpuRule

#: Bytes of a processor that this package leaves to program, stack and the library (an assumption).
RESERVED = 8 * 1024


def kernel_text(rule: PpuRule, *, seed: int = 1, memory: int = 16 * 1024) -> str:
    """Return the C++ text that defines ``PLASTICITY_RULE_KERNEL(synapses, neurons)`` for a rule.

    It has no floating-point numbers, and works on whole rows of synapses: additions, products and shifts of lanes of
    8 bit, saturating where they are signed. Traces that do not fit beside the program go to the memory outside.

    Args:
        rule: The rule; the text is for its numbers of rows and columns.
        seed: Start of the random numbers of stochastic rounding, 1 to 2**32 - 1.
        memory: Bytes of a processor; a platform file has them in [plasticity.memory].

    Raises:
        ConfigError: The seed is out of range.
    """
    import jinja2  # here, because a table of platforms needs no template

    if not 0 < seed < 2**32:
        raise ConfigError(f"seed {seed} of the plasticity processor: allowed are 1 to {2**32 - 1}")
    source = resources.files(__package__).joinpath("templates/kernel.cpp.j2").read_text(encoding="utf-8")
    template = jinja2.Template(source, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    external = rule.memory > memory - RESERVED
    limits = {"columns": COLUMNS, "largest": WEIGHT_MAX, "shift_bits": SHIFT_BITS}
    text: str = template.render(rule=rule, seed=seed, external=external, **limits)
    return text
