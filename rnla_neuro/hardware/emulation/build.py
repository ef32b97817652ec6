"""Puts a network on an emulated chip: strings, constants, weights, and the loop around whatever runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from rnla_neuro.errors import ConfigError
from rnla_neuro.hardware.emulation.chip import Chip, bias_of, constants, fixed, offsets
from rnla_neuro.hardware.emulation.effects import Effects, effects_of
from rnla_neuro.hardware.emulation.loss import lost_spikes
from rnla_neuro.hardware.emulation.pattern import stream
from rnla_neuro.hardware.emulation.simulation import ChipSimulation, OnChip
from rnla_neuro.hardware.emulation.strings import ON_CHIP, Emulated, affected, emulated
from rnla_neuro.hardware.emulation.weights import ChipWeights, ContinuousWeights, IntegerWeights
from rnla_neuro.hardware.spec import HardwareSpec
from rnla_neuro.network import NetworkSpec
from rnla_neuro.simulation import Simulation
from rnla_neuro.spec.equations import split_equations


def on_chip(
    network: NetworkSpec,
    hardware: HardwareSpec,
    make: Callable[[NetworkSpec], Simulation],
    *,
    chip_seeds: Sequence[int] = (1,),
    calibrated: bool = True,
    off: Iterable[str] = (),
    runner: str = "",
    runs_strings: bool = True,
) -> ChipSimulation:
    """Put a network on an emulated chip.

    Args:
        network: The network.
        hardware: The platform.
        make: Makes a simulation of a network, such as the ``build`` of a backend.
        chip_seeds: The chip that all agents are on, or one an agent.
        calibrated: Whether the chips have been calibrated.
        off: Effects to leave out, names of `EFFECTS`.
        runner: What `make` makes simulations of, for messages, such as ``backend 'equilibrium'``.
        runs_strings: Whether it runs the model's strings step by step; what does not cannot have other time constants.

    Raises:
        ConfigError: The model cannot be emulated on this platform by this runner; the message says why and names the
            way out.
    """
    effects = effects_of(hardware, calibrated=calibrated, off=off)
    seeds = _one_an_agent(chip_seeds, len(network.seeds))
    _refuse_moving_weights(network, effects)
    made = emulated(network.model, effects, network.sizes[0])
    if not runs_strings:
        _refuse_strings(network, made, effects, runner)
    chips = _chips(hardware, effects, seeds)
    changed = network
    if made.model is not network.model:
        changed = replace(network, model=made.model, constants=constants(network, made, chips))
    moved = offsets(network, made.at_bias, chips)
    inner = make(changed)
    try:
        weights = _weights(network, effects, chips, inner)
        notes = {"strings": list(affected(made)), "biases": sorted({q for k in made.at_bias.values() for q in k})}
        loss = lost_spikes(network, inner) if made.input_limit else None
        chip = OnChip(
            effects, seeds, network.seeds, weights, moved, _noisy(network, effects), notes, loss, _acting(made)
        )
        return ChipSimulation(inner, chip)
    except BaseException:
        inner.close()
        raise


def _acting(made: Emulated) -> frozenset[str]:
    """Return what changes something: a network without synaptic time constants has none that are wrong."""
    found = {"weight", *affected(made), *(name for names in made.at_bias.values() for name in names)}
    found |= {name for name, acts in (("readout", made.reads), ("inputs", made.input_limit)) if acts}
    return frozenset(found)


def _one_an_agent(chip_seeds: Sequence[int], n_agents: int) -> tuple[int, ...]:
    if len(chip_seeds) not in (1, n_agents):
        raise ConfigError(
            f"chip seeds {', '.join(map(str, chip_seeds))}: give one chip for all {n_agents} agents, or one an agent"
        )
    return tuple(chip_seeds) * (n_agents if len(chip_seeds) == 1 else 1)


def _chips(hardware: HardwareSpec, effects: Effects, seeds: Sequence[int]) -> list[Chip]:
    each = {seed: Chip(hardware, effects, seed) for seed in dict.fromkeys(seeds)}
    return [each[seed] for seed in seeds]


def _weights(network: NetworkSpec, effects: Effects, chips: Sequence[Chip], inner: Simulation) -> ChipWeights:
    first, pattern = inner.weights(), fixed(network, chips)
    if effects.grid is None:
        return ContinuousWeights(first, pattern, network.precision)
    # an agent's roundings do not depend on the agents beside it
    sources = [stream(chip.seed, seed, "rounding") for chip, seed in zip(chips, network.seeds, strict=True)]
    return IntegerWeights(effects.grid, first, pattern, sources, network.precision)


def _noisy(network: NetworkSpec, effects: Effects) -> tuple[tuple[int, str], ...]:
    """Return the projections that bring the biases which trial noise moves."""
    if not effects.trial:
        return ()
    populations = enumerate(network.populations)
    return tuple((bias_of(network, k, "trial noise", "trial"), p.name) for k, p in populations if p.kind in ON_CHIP)


def _refuse_moving_weights(network: NetworkSpec, effects: Effects) -> None:
    """Refuse weights that move at every moment: a chip that is written between runs has none.

    Raises:
        ConfigError: It names the projection and the way out.
    """
    plain = effects.grid is None and "weight" not in effects.spreads and not effects.between_runs
    if plain and not effects.trial:
        return
    model = network.model
    weight = model.roles["weight"]
    for projection in network.projections:
        where = f"{model.path.name}: [{projection.section}] equations"
        if weight in split_equations(projection.spec.equations, where):
            raise ConfigError(
                f"{where}, d{weight}/dt: the model cannot be emulated because its weights move at every moment, and "
                f"those of {effects.name} change between runs only; way out: a model that changes them on events "
                "(on_event), or --chip-off quantisation,weight,trial,between_runs"
            )


def _refuse_strings(network: NetworkSpec, made: Emulated, effects: Effects, runner: str) -> None:
    """Refuse what only strings can have.

    Raises:
        ConfigError: It names the effects and the ways out.
    """
    if made.model is network.model:
        return
    names = [*affected(made)]
    if effects.readout is not None:
        names.append("readout")
    if made.input_limit:
        names.append("inputs")
    raise ConfigError(
        f"{runner} cannot emulate {', '.join(names)} of {effects.name}: it does not run a model's equations step by "
        "step, and has no time constants or voltages in time that could be wrong; way out: --backend brian2 (or "
        f"brian2_cpp), or --chip-off {','.join(names)}"
    )
