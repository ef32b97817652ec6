"""What `import rnla_neuro` offers, and what it does not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rnla_neuro

HEAVY = ("numpy", "scipy", "sympy", "brian2", "sklearn", "matplotlib", "gymnasium", "pyarrow", "click")


def run_python(code: str) -> str:
    """Run code in an interpreter of its own, with the same search path and warnings as errors."""
    code = f"import sys; sys.path[:0] = {sys.path!r}\n{code}"
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("name", [name for name in rnla_neuro.__all__ if name != "__version__"])
def test_every_public_name_is_there(name):
    value = getattr(rnla_neuro, name)
    assert value.__name__ == name
    assert value.__module__.split(".")[0] in {"rnla_neuro", "rnla_neuro_backends"}


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(rnla_neuro.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.name: node.module for node in block.body for alias in node.names}
    assert typed == rnla_neuro._HOME
    assert set(typed) | {"__version__"} == set(rnla_neuro.__all__)


def test_dir_lists_the_names_before_they_are_loaded():
    assert set(rnla_neuro.__all__) <= set(dir(rnla_neuro))


def test_an_unknown_name_gets_the_nearest_known_one():
    with pytest.raises(AttributeError, match=r"no attribute 'Agnet'.* did you mean 'Agent'\?"):
        rnla_neuro.Agnet  # noqa: B018


def test_the_import_is_light():
    loaded = run_python(f"import rnla_neuro; print(*[name for name in {HEAVY} if name in sys.modules])")
    assert loaded == ""


REGISTERED = "'rnla/Digits-v0' in gymnasium.registry, 'rnla/Parity-v0' in gymnasium.registry"


@pytest.mark.parametrize(
    "imports",
    [
        "import gymnasium, rnla_neuro",
        "import rnla_neuro, gymnasium",
        "import rnla_neuro, importlib.util; importlib.util.find_spec('gymnasium'); import gymnasium",
        "import rnla_neuro.tasks, gymnasium",
        "import gymnasium, rnla_neuro.tasks",
        "import rnla_neuro; from gymnasium.envs.registration import registry; import gymnasium",
    ],
)
def test_the_environments_are_registered_whatever_is_imported_first(imports):
    assert run_python(f"{imports}\nprint({REGISTERED})") == "True True"


def test_the_watch_for_gymnasium_leaves_nothing_behind():
    code = """
import rnla_neuro, gymnasium
print([finder for finder in sys.meta_path if type(finder).__module__.startswith("rnla_neuro")])
print("exec_module" in vars(gymnasium.__spec__.loader))
"""
    assert run_python(code).split("\n") == ["[]", "False"]


def test_an_id_with_the_package_needs_no_import():
    code = "import gymnasium; print(gymnasium.make('rnla_neuro:rnla/Parity-v0').spec.id)"
    assert run_python(code) == "rnla/Parity-v0"
