"""The verbs end to end on a simulated world: exit codes, documents, and what people read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import BOOTED, Cli

DOCUMENTED = {
    "id", "status", "vm_state", "task_state", "power_state", "network_info", "block_device_info",
    "steps", "fault", "residue",
}  # fmt: skip
ROW = {
    "id", "name", "status", "vm_state", "task_state", "power_state", "host", "created_at",
}  # fmt: skip


def test_a_build_is_told_in_one_document(build: Cli) -> None:
    ran = build("vm1")
    assert ran.code == 0, ran.err
    shown = ran.document
    assert set(shown) >= DOCUMENTED
    assert (shown["status"], shown["vm_state"], shown["power_state"]) == ("complete", "active", 1)
    assert (shown["task_state"], shown["fault"], shown["residue"]) == (None, None, [])
    assert {step["state"] for step in shown["steps"]} == {"SUCCESS"}


def test_progress_is_plain_lines_on_stderr(build: Cli) -> None:
    ran = build("vm1")
    lines = ran.err.splitlines()
    assert any("root disk  done" in line for line in lines)
    assert all(line.startswith("vm1 ") for line in lines)


def test_quiet_says_nothing_of_success(cli: Cli) -> None:
    ran = cli("--quiet", "build", "vm1", "--image", "cirros", *BOOTED)
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_a_summary_says_what_to_do_next(cli: Cli) -> None:
    ran = cli("build", "vm1", "--image", "cirros", *BOOTED)
    assert "vm1 is up in" in ran.out
    assert "console.log" in ran.out
    assert "buildflow delete vm1" in ran.out


def test_a_failure_is_told_in_one_line_first(cli: Cli) -> None:
    ran = cli("build", "vm1", "--image", "cirros", "--inject", "root_disk:made")
    assert ran.code == 1
    assert ran.out == ""
    told = [line for line in ran.err.splitlines() if line.startswith("vm1 failed")]
    assert told == [
        "vm1 failed in root disk: injected failure at root_disk:made (rolled back, nothing is left)"
    ]
    assert "root disk  failed" in ran.err
    assert "port:0  rolled back" in ran.err


def test_residue_is_exit_3_and_cleanup_finishes(build: Cli, cli: Cli) -> None:
    ran = build("vm1", "--inject", "wait_for_boot", "--inject", "start:undo")
    assert ran.code == 3
    assert ran.document["status"] == "residue"
    assert "start  residue" in ran.err
    assert "finish   buildflow cleanup vm1" in ran.err
    cleaned = cli("cleanup", "vm1")
    assert cleaned.code == 0, cleaned.err
    assert "vm1: nothing is left" in cleaned.out
    assert "start  rolled back" in cleaned.err
    assert cli("--json", "show", "vm1").document["status"] == "rolled_back"


def test_a_fault_that_never_happens_is_said(build: Cli) -> None:
    ran = build("vm1", "--inject", "start:undo")
    assert ran.code == 0
    assert "buildflow: never passed: start:undo" in ran.err


def test_a_request_id_gives_the_same_build(build: Cli, cli: Cli) -> None:
    first = build("vm1", "--request-id", "k")
    again = build("another", "--request-id", "k")
    assert again.code == 0
    assert again.document["id"] == first.document["id"]
    assert len(cli("--json", "list").document) == 1


def test_a_name_that_is_taken(build: Cli) -> None:
    build("vm1")
    ran = build("vm1")
    assert ran.code == 2
    assert "is taken by build" in ran.document["error"]["message"]


def test_no_nic(build: Cli) -> None:
    assert build("vm1", "--network", "none").document["network_info"] == []


def test_what_is_refused_before_it_is_accepted_is_bad_input(build: Cli, cli: Cli) -> None:
    ran = build("vm1", "--memory", str(16 << 20))
    assert ran.code == 2
    assert ran.document["error"]["exit_code"] == 2
    assert cli("--json", "list").document == []


def test_list_show_history(build: Cli, cli: Cli) -> None:
    ids = [build(f"vm{i}").document["id"] for i in range(3)]
    rows = cli("list", "--json").document
    assert [row["id"] for row in rows] == ids[::-1]
    assert all(set(row) >= ROW for row in rows)
    assert len(cli("list", "--json", "--limit", "2").document) == 2
    text = cli("list").out
    assert all(each in text for each in ids)
    assert "the newest 2" in cli("list", "--limit", "2").out
    assert cli("--json", "show", "vm1").document["id"] == ids[1]
    shown = cli("show", "vm1").out
    assert ids[1] in shown
    assert "Wait for boot" in shown
    triggers = [line["trigger"] for line in cli("--json", "history", "vm1").document]
    assert triggers[0] == "accept"
    assert "start_spawning" in triggers
    assert "start_spawning" in cli("history", "vm1").out


def test_list_of_nothing(cli: Cli) -> None:
    assert cli("list", "--json").document == []
    assert "no builds yet" in cli("list").out


def test_delete(build: Cli, cli: Cli) -> None:
    build("vm1")
    ran = cli("delete", "vm1")
    assert ran.code == 0
    assert "vm1 is deleted, nothing is left" in ran.out
    assert "destroy the domain  done" in ran.err
    again = cli("--json", "delete", "vm1")
    assert again.code == 0
    assert again.document["vm_state"] == "deleted"
    # the name is free again
    assert build("vm1").code == 0


def test_several_builds_of_one_name_need_an_id(build: Cli, cli: Cli) -> None:
    for _ in range(2):
        build("vm1", "--inject", "to_xml")
    ran = cli("show", "vm1")
    assert ran.code == 2
    assert "several builds were named 'vm1'; give an id" in ran.err


def test_lines_in_a_pipe_end_where_their_text_does(build: Cli, cli: Cli) -> None:
    build("vm1")
    build("a-machine-with-a-longer-name")
    for words in (("list",), ("show", "vm1"), ("history", "vm1")):
        lines = cli(*words).out.splitlines()
        assert len(lines) > 2
        assert lines == [line.rstrip() for line in lines]


def test_cancel_of_what_has_ended(build: Cli, cli: Cli) -> None:
    build("vm1")
    ran = cli("cancel", "vm1")
    assert ran.code == 1
    assert "had ended already" in ran.err


def test_resume_of_nothing(cli: Cli) -> None:
    assert cli("--json", "resume").document == []
    assert "nothing to resume" in cli("resume").out


def test_gc_agrees(build: Cli, cli: Cli) -> None:
    build("vm1")
    audit = cli("--json", "gc", "--dry-run").document
    assert audit["strays"] == audit["lost"] == []
    assert "world and store agree" in cli("gc").out


@pytest.mark.parametrize(
    "words",
    [("delete", "none"), ("cleanup", "none"), ("cancel", "none"), ("resume", "none"),
     ("history", "none"), ("report", "none")],
    ids=lambda words: words[0],
)  # fmt: skip
def test_an_unknown_build(cli: Cli, words: tuple[str, ...]) -> None:
    ran = cli(*words)
    assert ran.code == 2
    assert ran.err == (
        "buildflow: no build has the id or name 'none'; `buildflow list` shows all\n"
    )


def test_a_text_that_looks_like_markup_is_shown_as_it_is(cli: Cli) -> None:
    ran = cli("show", "[bold]x[/bold]")
    assert "'[bold]x[/bold]'" in ran.err


def test_an_image_file_is_kept_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from buildflow.cli.build import _lasting

    monkeypatch.chdir(tmp_path)
    Path("here.qcow2").touch()
    assert _lasting("here.qcow2") == str(tmp_path / "here.qcow2")
    assert _lasting("./none.qcow2") == str(tmp_path / "none.qcow2")
    assert _lasting("cirros") == "cirros"
