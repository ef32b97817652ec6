"""The three-factor rule in the integer arithmetic of BrainScaleS-2's plasticity processor (PPU)."""

from rnla_neuro.hardware.ppu.kernel import kernel_text
from rnla_neuro.hardware.ppu.rule import Modulator, PpuRule
from rnla_neuro.hardware.ppu.twin import PpuTwin

__all__ = ["Modulator", "PpuRule", "PpuTwin", "kernel_text"]
