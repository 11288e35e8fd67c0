"""Facts about a host are kept as long as they hold, and never longer."""

from pathlib import Path

from buildflow.drivers.host_memory import HostMemory, boot_id, file_identity


def test_a_fact_is_recalled_under_the_conditions_it_was_found_under(tmp_path: Path) -> None:
    memory = HostMemory(tmp_path)
    assert memory.recall("kvm", {"boot": "1"}) is None
    memory.keep("kvm", {"boot": "1"}, {"works": True})
    assert HostMemory(tmp_path).recall("kvm", {"boot": "1"}) == {"works": True}
    assert memory.recall("kvm", {"boot": "2"}) is None
    assert memory.recall("other", {"boot": "1"}) is None


def test_a_broken_file_is_no_fact(tmp_path: Path) -> None:
    memory = HostMemory(tmp_path)
    memory.keep("kvm", {}, 1)
    (tmp_path / "host" / "kvm.json").write_text("{")
    assert memory.recall("kvm", {}) is None


def test_a_home_that_cannot_be_written_is_no_error() -> None:
    memory = HostMemory(Path("/proc/self"))  # where nobody may make a folder, root included
    memory.keep("kvm", {}, 1)
    assert memory.recall("kvm", {}) is None


def test_boots_and_programs_have_an_identity(tmp_path: Path) -> None:
    assert boot_id() == boot_id()
    assert file_identity(tmp_path / "missing") is None
    (tmp_path / "program").write_text("1")
    first = file_identity(tmp_path / "program")
    (tmp_path / "program").write_text("22")
    assert file_identity(tmp_path / "program") != first
