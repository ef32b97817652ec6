#!/bin/sh
# Makes .venv with Python >= 3.12 and installs the package (editable) with its development tools,
# in the versions of constraints.txt. Called by `make env`; safe to interrupt and to call again.
set -eu
cd "$(dirname "$0")/.."
venv=.venv
unfinished=.venv.unfinished   # there while an installation is under way

fail() {
    printf 'make env: %s\n' "$1" >&2
    exit 1
}

find_python() {
    for candidate in ${PYTHON:-} python3.12 python3.13 python3.14 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "no Python 3.12 or newer found (looked for python3.12, python3.13, python3.14, python3, python).
  Install it, or name it: make env PYTHON=/path/to/python3.12"
}

python=$(find_python)
"$python" -c 'import venv, ensurepip' >/dev/null 2>&1 || fail \
"$python has no venv module (Debian and Ubuntu split it off).
  There: apt-get install python3-venv   (or python3.12-venv)"

found_compiler=
for compiler in ${CXX:-} c++ g++ clang++; do
    if command -v "$compiler" >/dev/null 2>&1; then found_compiler=$compiler; break; fi
done
[ -n "$found_compiler" ] || fail \
"no C++ compiler found (looked for \$CXX, c++, g++, clang++); the fast core is compiled from the model files.
  Debian and Ubuntu: apt-get install g++   macOS: xcode-select --install"

# A half-installed environment is started afresh; a whole one is only brought up to date.
if [ -e "$unfinished" ] || ! "$venv/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; then
    printf 'Making %s with %s\n' "$venv" "$("$python" --version)"
    : > "$unfinished"
    "$python" -m venv --clear "$venv"
fi
: > "$unfinished"
printf 'Installing rnla_neuro and its tools (a minute or two the first time)\n'
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt --editable '.[dev]'
# CUDA programs link curand, which some toolkits come without.
if command -v nvcc >/dev/null 2>&1 && ! "$venv/bin/python" -c \
    'from rnla_neuro_backends.brian2_program.cuda_toolkit import find_toolkit; find_toolkit()' 2>/dev/null; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt nvidia-curand ||
        printf 'curand could not be installed: tests that compile CUDA are skipped\n' >&2
fi
rm -f "$unfinished"
