"""Where data files are looked for: packaged, beside the package, or nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnla_neuro import resources
from rnla_neuro.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_checkout_uses_its_own_folders():
    assert resources.models_dir() == REPOSITORY / "models"
    assert resources.hardware_dir() == REPOSITORY / "hardware_configs"
    assert resources.template_dir() == REPOSITORY / "backends" / "rnla_neuro_backends" / "templates"
    assert (resources.models_dir() / "rate_nla.toml").is_file()


def test_the_packaged_folder_comes_first(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "rnla_neuro"
    (package / "models").mkdir(parents=True)
    (package.parent / "models").mkdir()
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resources.models_dir() == package / "models"
    (package / "models").rmdir()
    assert resources.models_dir() == package.parent / "models"


def test_a_missing_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "rnla_neuro")
    with pytest.raises(ConfigError, match=r"'hardware_configs' is neither in .*installation is incomplete"):
        resources.hardware_dir()


def test_templates_without_the_installed_backends(tmp_path, monkeypatch):
    monkeypatch.setattr(resources.importlib.util, "find_spec", lambda name: None)
    assert resources.template_dir() == REPOSITORY / "backends" / "rnla_neuro_backends" / "templates"
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "rnla_neuro")
    with pytest.raises(ConfigError, match="templates were found neither"):
        resources.template_dir()


def test_the_cache_folder_can_be_moved(tmp_path, monkeypatch):
    monkeypatch.setenv("RNLA_CACHE_DIR", str(tmp_path / "a" / "b"))
    assert resources.cache_dir() == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()


def test_the_cache_folder_is_the_users_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv("RNLA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = resources.cache_dir()
    assert folder.name == "rnla_neuro"
    assert tmp_path in folder.parents


def test_a_cache_folder_that_is_a_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RNLA_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="set RNLA_CACHE_DIR to a folder"):
        resources.cache_dir()
