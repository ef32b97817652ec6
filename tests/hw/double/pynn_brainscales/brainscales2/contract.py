"""Numbers of tests/hw/CONTRACT.md; every error raised by the double begins with the number of the rule it breaks."""

from __future__ import annotations

MADC_STEP_MS = 3.4e-5
CIRCUITS = 512
ROWS_PER_CIRCUIT = 256  # synapses of a neuron circuit: a signed one takes two of them
WEIGHT_MAX = 63  # one synapse; a larger absolute weight takes several
BACKGROUND_GENERATORS = 4
BACKGROUND_CLOCK_HZ = 125e6
CYCLES_PER_MS = 125_000
TIMER_MAX = 2**32 - 1

SETUP_ARGUMENTS = frozenset(
    {
        "neuronPermutation",
        "backgroundPermutation",
        "enable_neuron_bypass",
        "initial_config",
        "injected_config",
        "injected_readout",
        "connection",
        "calibration_cache",
        "injected_calib_target",
        "injected_calib_options",
        "max_delay",
    }
)

#: Documented ranges of the calibrated cells: voltages in LSB, times in µs of the hardware.
CUBA_RANGES = {
    "v_rest": (50, 160),
    "v_reset": (50, 160),
    "v_thresh": (50, 220),
    "tau_m": (0.5, 60),
    "tau_syn_E": (0.3, 30),
    "tau_syn_I": (0.3, 30),
    "cm": (0, 63),
    "tau_refrac": (0.04, 32),
    "i_synin_gm_E": (30, 800),
    "i_synin_gm_I": (30, 800),
    "synapse_dac_bias": (30, 1022),
}
SHARED = ("i_synin_gm_E", "i_synin_gm_I", "synapse_dac_bias")  # one value for all populations

#: Raw circuit parameters that the demos use, with their ranges; 1023 in a 10-bit cell means off.
HX_RANGES = {
    "adaptation_enable": (0, 1),
    "constant_current_enable": (0, 1),
    "constant_current_i_offset": (0, 1023),
    "event_routing_enable_bypass_excitatory": (0, 1),
    "event_routing_enable_bypass_inhibitory": (0, 1),
    "excitatory_input_enable": (0, 1),
    "excitatory_input_i_bias_gm": (0, 1023),
    "excitatory_input_i_bias_tau": (0, 1023),
    "exponential_enable": (0, 1),
    "exponential_i_bias": (0, 1023),
    "exponential_v_exp": (0, 1023),
    "inhibitory_input_enable": (0, 1),
    "inhibitory_input_i_bias_gm": (0, 1023),
    "inhibitory_input_i_bias_tau": (0, 1023),
    "leak_enable_division": (0, 1),
    "leak_enable_multiplication": (0, 1),
    "leak_i_bias": (0, 1023),
    "leak_v_leak": (0, 1023),
    "membrane_capacitance_capacitance": (0, 63),
    "refractory_period_refractory_time": (0, 255),
    "reset_enable_multiplication": (0, 1),
    "reset_i_bias": (0, 1023),
    "reset_v_reset": (0, 1023),
    "threshold_enable": (0, 1),
    "threshold_v_threshold": (0, 1023),
}

ANALOG = ("v", "exc_synin", "inh_synin", "adaptation")
