"""The compiled core: C++ generated from the model's strings, called once per decision for all agents."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.events import EventBatch
from rnla_neuro_backends.moving_equilibrium.codegen import generate
from rnla_neuro_backends.moving_equilibrium.columns import Columns
from rnla_neuro_backends.moving_equilibrium.compiler import compile_library
from rnla_neuro_backends.moving_equilibrium.core import (
    Call,
    Core,
    CoreSettings,
    CoreState,
    Outcome,
    no_convergence,
)

_I, _D, _P = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


class Frame(ctypes.Structure):
    """Mirror of `Frame` in templates/equilibrium.cpp.j2, field by field."""

    _fields_ = [
        *((name, _I) for name in ("n_agents", "n_layers")),
        *((name, _P) for name in ("sizes", "plastic")),
        *((name, _D) for name in ("beta_scale", "rtol", "rounding")),
        ("max_sweeps", _I),
        ("params", _P),
        *((name, _D) for name in ("credit", "dt", "lowpass_tau", "tau_m")),
        *((name, _P) for name in ("pulse_tau", "pulse_variable")),
        ("n_channels", _I),
        *((name, _P) for name in ("A_hidden", "B_hidden", "A_action", "B_action")),
        *((name, _P) for name in ("w", "z", "mod", "lowpass", "mismatch")),
        *((name, _I) for name in ("has_mismatch", "n_columns", "n_basis", "decision_column")),
        *((name, _P) for name in ("duration", "coefficient", "gate", "solve", "basis", "noise")),
        *((name, _D) for name in ("t0", "trial")),
        *((name, _P) for name in ("event_offset", "event_channel", "event_time", "event_value")),
        *((name, _P) for name in ("decision", "sweeps")),
        *((name, _P) for name in ("record_u", "record_ebar", "record_drive", "delivered")),
        *((name, _I) for name in ("error_agent", "error_layer")),
        *((name, _D) for name in ("error_ratio", "error_time")),
    ]


class NativeCore(Core):
    """See `Core`. Keeps alive every array whose address the frame holds."""

    def __init__(self, settings: CoreSettings) -> None:
        self.settings = settings
        form = settings.form
        source = generate(form, settings.precision)
        self._library = compile_library(source.code)
        self._library.create.restype = _P
        self._library.advance.restype = _I
        self.state = CoreState(settings)
        self._frame = Frame()
        self._kept: dict[str, npt.NDArray[Any]] = {}
        self._dtype = np.dtype(settings.precision)
        self._set("sizes", settings.sizes, np.int64)
        self._set("plastic", settings.plastic, np.int64)
        values = [form.parameters[p] for p in source.parameters] or [0.0]
        self._set("params", np.tile(values, (settings.n_agents, 1)), np.float64)
        self._set("pulse_tau", [m.pulse.tau if m.pulse else 0.0 for m in form.modulators], np.float64)
        index = {cv: k for k, cv in enumerate(source.variables)}
        pulses = [index[(m.channel, m.pulse.variable)] if m.pulse else 0 for m in form.modulators]
        self._set("pulse_variable", pulses, np.int64)
        for name, traces in (("hidden", form.hidden), ("action", form.action)):
            self._set(f"A_{name}", traces.A, np.float64)
            self._set(f"B_{name}", traces.B, np.float64)
        state = self.state
        for name, array in (("w", state.w), ("z", state.z), ("mod", state.modulators)):
            self._point(name, array)
        self._point("lowpass", state.lowpass)
        self._point("mismatch", state.mismatch)
        self._decision = np.zeros((settings.n_agents, settings.sizes[-1]))
        self._sweeps = np.zeros(settings.n_agents, np.int64)
        self._delivered = np.zeros(1, np.int64)
        self._point("decision", self._decision)
        self._point("sweeps", self._sweeps)
        self._point("delivered", self._delivered)
        self._columns: Columns | None = None
        self._agents = np.arange(settings.n_agents + 1)
        self._event_agent: npt.NDArray[np.int64] | None = None
        self._event_offset = np.zeros(settings.n_agents + 1, np.int64)
        self._event_time = np.zeros(0)
        self._point("event_offset", self._event_offset)
        self._set_scalars()
        self._engine: ctypes.c_void_p | None = _P(self._library.create(ctypes.byref(self._frame)))

    def _set(self, name: str, values: Any, dtype: Any) -> None:
        self._point(name, np.ascontiguousarray(values, dtype=dtype))

    def _point(self, name: str, array: npt.NDArray[Any]) -> None:
        if array is not self._kept.get(name):
            self._kept[name] = array
            setattr(self._frame, name, array.ctypes.data)

    def _set_scalars(self) -> None:
        f, s = self._frame, self.settings
        f.n_agents, f.n_layers = s.n_agents, len(s.sizes)
        f.n_channels = len(s.form.modulators)
        f.rtol, f.max_sweeps, f.dt, f.credit = s.rtol, s.max_sweeps, s.dt, s.credit
        f.rounding = s.rounding
        f.tau_m, f.lowpass_tau = s.form.tau_m, s.form.decision.tau or 1.0
        f.beta_scale = 1e-300 if s.precision == "float64" else 1e-30

    def advance(self, call: Call) -> Outcome:
        """See `Core.advance`."""
        f = self._frame
        if call.columns is not self._columns:
            self._use_columns(call)
        np.copyto(self._basis, call.basis, casting="same_kind")
        np.copyto(self._noise, call.noise, casting="same_kind")
        f.t0, f.trial = call.t0, float(call.trial)
        f.has_mismatch = int(self.state.mismatch.any())
        self._use_events(call.events)
        recording = self._recording(call)
        self._delivered[0] = 0
        if self._library.advance(self._engine):
            raise no_convergence(self.settings, f.error_agent, f.error_layer, f.error_ratio, f.error_time)
        return Outcome(self._decision.copy(), self._sweeps.copy(), int(self._delivered[0]), recording)

    def _use_columns(self, call: Call) -> None:
        """Point the frame to a new set of columns and to buffers of the right size; this is rare."""
        a, columns = self.settings.n_agents, call.columns
        self._columns = columns
        self._point("duration", columns.duration)
        self._point("gate", columns.gate)
        self._point("solve", columns.solve)
        self._point("coefficient", np.ascontiguousarray(call.coefficients))
        self._basis = np.zeros((a, *call.basis.shape[1:]), self._dtype)
        self._noise = np.zeros((a, len(columns), self.settings.sizes[-1]), self._dtype)
        self._point("basis", self._basis)
        self._point("noise", self._noise)
        self._frame.n_columns, self._frame.n_basis = len(columns), call.basis.shape[1]
        self._frame.decision_column = len(columns) - 1 if columns.solve[-1] else -1

    def _use_events(self, events: EventBatch) -> None:
        n = len(events)
        if n > len(self._event_time):
            self._event_channel, self._event_time, self._event_value = (
                np.zeros(2 * n, np.int64),
                np.zeros(2 * n),
                np.zeros(2 * n),
            )
            self._point("event_channel", self._event_channel)
            self._point("event_time", self._event_time)
            self._point("event_value", self._event_value)
        if events.agent is not self._event_agent:  # one reward an agent is the same array every time
            self._event_agent = events.agent
            self._event_offset[...] = np.searchsorted(events.agent, self._agents)
        if n:
            self._event_channel[:n] = events.channel
            self._event_time[:n] = events.time
            self._event_value[:n] = events.value

    def _recording(self, call: Call) -> dict[str, npt.NDArray[Any]]:
        names = ("u", "ebar", "drive")
        if not call.record:
            if self._frame.record_u is not None:
                for name in names:
                    self._kept.pop(f"record_{name}", None)
                    setattr(self._frame, f"record_{name}", None)
            return {}
        shape = (self.settings.n_agents, len(call.columns), sum(self.settings.sizes[1:]))
        arrays: dict[str, npt.NDArray[Any]] = {name: np.zeros(shape, self._dtype) for name in names}
        for name, array in arrays.items():
            self._point(f"record_{name}", array)
        return arrays

    def settle(self) -> None:
        """Bring the traces in `state` up to date."""
        self._library.settle(self._engine)

    def close(self) -> None:
        """Free the engine."""
        if self._engine is not None:
            self._library.destroy(self._engine)
            self._engine = None

    def __del__(self) -> None:
        if getattr(self, "_engine", None) is not None:
            self.close()
