"""Tests that come with Brian2, with our templates made known to it: ``python brian2_own_tests.py DEVICE EXPRESSION``.

DEVICE is ``numpy`` or ``cpp_standalone``; EXPRESSION is what pytest's -k takes, all of them by default. It does what
`brian2.test` does, for a choice of its tests, in one process.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
import brian2
import brian2.tests
from brian2.tests import PreferencePlugin

from rnla_neuro_backends.brian2_program.objects import register_templates
from rnla_neuro_backends.dense.targets import register

#: Where Brian2's classes are tested whose templates stand beside ours.
FILES = ("test_synapses", "test_neurongroup", "test_monitor", "test_network", "test_functions", "test_subgroup")


def main(device: str, expression: str = "") -> int:
    """Run the tests; return pytest's exit code."""
    prefs = brian2.prefs
    prefs.reset_to_defaults()
    prefs["codegen.cpp.extra_compile_args_gcc"].extend(["-w", "-O0"])
    prefs["logging.warn_for_unused_objects"] = False
    prefs["codegen.target"] = prefs["codegen.string_expression_target"] = "numpy"
    register()
    register_templates()
    plugin = PreferencePlugin(prefs)
    markers = "not long and not codegen_independent and not gsl"
    if device == "numpy":
        markers += " and not standalone_only"
    else:
        plugin.device, plugin.device_options = device, {"directory": None, "with_output": False}
        markers += " and standalone_compatible and not multiple_runs"
    home = Path(brian2.tests.__file__).parent
    argv = [*(str(home / f"{name}.py") for name in FILES), "-c", str(home / "pytest.ini"), "-q", "-m", markers]
    argv += ["--confcutdir", str(home.parent), "-p", "no:cacheprovider", "--tb=short", "-W", "ignore"]
    return int(pytest.main([*argv, *(["-k", expression] if expression else [])], plugins=[plugin]))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
