"""What a run does with each kind of component, and what it leaves in its directory."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dovetail as dv
from dovetail import observe
from dovetail.flow import Run, launch, record

Make = Callable[..., dv.Workflow]


def log(run: Run, name: str) -> str:
    return (run.directory / "logs" / name).read_text()


def component(run: Run, name: str) -> dict[str, Any]:
    entry: dict[str, Any] = run.document()["components"][name]
    return entry


def test_functions_scripts_and_executables_run_in_their_ranks(workflow: Make, output: Path) -> None:
    run = workflow(
        function={"function": "parts:tell", "process_count": 2},
        python={
            "script": "script.py",
            "arguments": {"grid_size": 64, "quick": True, "slow": False},
        },
        shell={"script": "shell_script.sh", "arguments": ["a b", 1.5]},
        command={"command": ["echo", "in", "{run}"]},
        words={"command": ["sh", "-c", "echo $FLAVOUR"], "environment": {"FLAVOUR": "sour"}},
    ).run(output)
    assert run.status == "succeeded"
    assert [log(run, f"function.{rank}.log") for rank in (0, 1)] == [
        "function 0 2 0 True\n",
        "function 1 2 0 True\n",
    ]
    assert log(run, "python.0.log") == "words ['--grid-size', '64', '--quick']\n"
    assert log(run, "shell.0.log") == "shell is rank 0 of 1 with a b 1.5\n"
    assert log(run, "command.0.log") == f"in {output}\n"
    assert log(run, "words.0.log") == "sour\n"


@pytest.mark.requires("mpi")
def test_ranks_under_mpiexec_are_one_job_and_have_logs_of_their_own(
    workflow: Make, output: Path
) -> None:
    run = workflow(solver={"function": "parts:mpi_sum", "process_count": 3, "mpi": True}).run(
        output
    )
    logs = [log(run, f"solver.{rank}.log") for rank in range(3)]
    assert logs == ["sum 3 of 3 True\n"] * 3
    entry = component(run, "solver")
    assert len(set(entry["pids"])) == 3
    assert sorted((rank["rank"], rank["exit"]) for rank in entry["attempts"]) == [
        (0, 0),
        (1, 0),
        (2, 0),
    ]


def test_streams_and_stores_are_opened_by_name_and_gone_afterwards(
    workflow: Make, output: Path
) -> None:
    flow = workflow(
        streams={"fields": "shm://?capacity=16MiB"},
        stores={"values": "shm://", "kept": "file://"},
        simulation={
            "function": "parts:write_steps",
            "arguments": {"stream": "fields", "steps": 5},
            "writes": ["fields"],
        },
        analysis={
            "function": "parts:read_steps",
            "arguments": {"stream": "fields", "store": "kept"},
            "reads": ["fields"],
            "stores": ["kept", "values"],
        },
    )
    run = flow.run(output)
    assert log(run, "analysis.0.log") == "last 4.0\n"
    assert dv.open_store(f"file://{output}/stores/kept").get_array("last")[0] == 4.0
    document = run.document()
    assert document["streams"]["fields"].startswith(f"shm://{output.name}-")
    assert document["wiring"] == {
        "streams": {"fields": {"writer": "simulation", "readers": ["analysis"]}},
        "stores": {"values": ["analysis"], "kept": ["analysis"]},
    }
    traced = {event.pid: event.kind for event in observe.read(output / "trace")}
    assert set(traced) == {
        *document["components"]["simulation"]["pids"],
        *document["components"]["analysis"]["pids"],
    }


def test_what_lay_in_shared_memory_before_stays(workflow: Make, output: Path, shm_url: str) -> None:
    with dv.open_store(shm_url) as store:
        store.put("before", 1)
        workflow(
            stores={"lent": shm_url}, one={"function": "parts:succeed", "stores": ["lent"]}
        ).run(output)
        assert store.keys() == ["before"]
    assert dv.open_store(f"{shm_url}?create=no").keys() == ["before"]


def test_a_component_sees_only_the_names_that_it_declares(workflow: Make, output: Path) -> None:
    flow = workflow(
        streams={"fields": "shm://"},
        writer={
            "function": "parts:write_steps",
            "arguments": {"stream": "fields", "steps": 1},
            "writes": ["fields"],
        },
        other={
            "function": "parts:open_undeclared",
            "arguments": {"name": "fields"},
            "on_failure": "ignore",
        },
    )
    run = flow.run(output)
    assert "'fields' is neither a URL nor a stream" in log(run, "other.0.log")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_ranks_are_bound_to_the_cores_of_the_plan(workflow: Make, output: Path) -> None:
    first, second, *_ = sorted(os.sched_getaffinity(0))
    run = workflow(
        named={"function": "parts:tell_cores", "cores": [second]},
        dealt={
            "function": "parts:tell_cores",
            "cpus_per_process": 1,
            "environment": {"OMP_NUM_THREADS": "7"},
        },
        free={"function": "parts:tell_cores"},
    ).run(output)
    everywhere = " ".join(map(str, sorted(os.sched_getaffinity(0))))
    threads = os.environ.get("OMP_NUM_THREADS")
    assert log(run, "named.0.log") == f"{second} {threads or 1}\n"
    assert log(run, "dealt.0.log") == f"{first} 7\n"
    assert log(run, "free.0.log") == f"{everywhere} {threads}\n"


def test_a_failure_ends_the_run_with_the_last_lines_of_its_cause(
    workflow: Make, output: Path
) -> None:
    flow = workflow(
        broken={"function": "parts:fail", "arguments": {"message": "no such grid"}},
        other={"function": "parts:last"},
    )
    with pytest.raises(dv.WorkflowFailedError) as failure:
        flow.run(output)
    text = str(failure.value)
    assert text.startswith("the run failed: broken: exited with status 1\n")
    assert text.endswith("ValueError: no such grid")
    assert "rank.py" not in text, "our own frames hide the user's"
    document = json.loads((output / "run.json").read_text())
    assert document["status"] == "failed"
    assert document["components"]["broken"]["exit"] == 1
    assert document["components"]["other"]["status"] == "stopped"


def test_the_cause_is_told_from_its_consequences(workflow: Make, output: Path) -> None:
    flow = workflow(
        streams={"fields": "shm://"},
        stores={"values": "shm://"},
        reader={
            "function": "parts:read_steps",
            "arguments": {"stream": "fields", "store": "values"},
            "reads": ["fields"],
            "stores": ["values"],
        },
        writer={
            "function": "parts:write_and_break",
            "arguments": {"stream": "fields"},
            "writes": ["fields"],
        },
    )
    with pytest.raises(dv.WorkflowFailedError, match=r"(?s)^the run failed: writer: .*the cause"):
        flow.run(output)


def test_a_component_that_leaves_threads_behind_fails_all_the_same(
    workflow: Make, output: Path
) -> None:
    with pytest.raises(dv.WorkflowFailedError, match="a thread is left"):
        workflow(one={"function": "parts:with_a_thread"}).run(output)


@pytest.mark.parametrize("function", ["put_off", "put_off_too"])
def test_a_function_that_only_promises_to_work_fails(
    workflow: Make, output: Path, function: str
) -> None:
    with pytest.raises(dv.WorkflowFailedError, match=r"of which nothing has run: name a function"):
        workflow(one={"function": f"parts:{function}"}).run(output)


@pytest.mark.parametrize(("status", "succeeds"), [(0, True), (3, False)])
def test_the_exit_status_of_a_component_counts(
    workflow: Make, output: Path, status: int, succeeds: bool
) -> None:
    run = workflow(one={"function": "parts:leave", "arguments": {"status": status}}).start(output)
    if succeeds:
        run.wait()
    else:
        with pytest.raises(dv.WorkflowFailedError, match="exited with status 3"):
            run.wait()
    assert component(run, "one")["exit"] == status


@pytest.mark.parametrize("on_failure", ["fail", "restart(1)"])
def test_a_run_of_which_nothing_can_be_started_fails(
    workflow: Make, output: Path, monkeypatch: pytest.MonkeyPatch, on_failure: str
) -> None:
    flow = workflow(one={"command": ["true"], "on_failure": on_failure})
    monkeypatch.setattr(type(flow), "check", lambda _: [])
    flow._folder = output / "none"
    with pytest.raises(dv.WorkflowFailedError, match="one: cannot be started: .*No such file"):
        flow.run(output)
    assert record.read(output)["components"]["one"]["status"] == "failed"


def test_a_failure_that_may_be_ignored_is_said_and_the_run_goes_on(
    workflow: Make, output: Path
) -> None:
    run = workflow(
        extra={"function": "parts:fail", "on_failure": "ignore"}, work={"function": "parts:succeed"}
    ).run(output)
    assert run.status == "succeeded"
    assert component(run, "extra")["status"] == "failed"
    assert component(run, "extra")["last_lines"][-1] == "ValueError: it broke"


def test_a_component_is_restarted_with_all_its_ranks_while_others_go_on(
    workflow: Make, output: Path
) -> None:
    run = workflow(
        flaky={
            "function": "parts:fail_until",
            "arguments": {"attempt": 2},
            "process_count": 2,
            "on_failure": "restart(2)",
        },
        steady={
            "command": ["sh", "-c", "until [ -e {run}/checkpoints/flaky/2 ]; do sleep .01; done"]
        },
    ).run(output)
    entry = component(run, "flaky")
    assert (entry["status"], entry["restarts"], entry["exit"]) == ("done", 2, 0)
    assert len(entry["pids"]) == len(entry["attempts"]) == 6
    assert component(run, "steady")["restarts"] == 0
    # The rank that fails first has the other stopped, maybe before it has said anything.
    assert "attempt 0" in {log(run, f"flaky.{rank}.log")[:9] for rank in range(2)}
    assert log(run, "flaky.1.log.2").startswith("attempt 2 finds ['0', '1', '2']")


def test_a_reader_that_is_restarted_goes_on_where_its_stream_is(
    workflow: Make, output: Path
) -> None:
    run = workflow(
        {"fields": "shm://"},
        writer={
            "function": "parts:write_steps",
            "arguments": {"stream": "fields", "steps": 1_000_000},
            "writes": ["fields"],
            "service": True,
        },
        reader={
            "function": "parts:read_and_die_at_first",
            "arguments": {"stream": "fields"},
            "reads": ["fields"],
            "on_failure": "restart(1)",
        },
    ).run(output)
    assert component(run, "writer")["restarts"] == 0
    assert component(run, "reader")["attempts"][0]["exit"] == -signal.SIGKILL
    assert log(run, "reader.0.log.1").startswith("went on at step ")


def test_a_reader_may_open_the_stream_of_a_restarted_writer_again(
    workflow: Make, output: Path
) -> None:
    run = workflow(
        {"fields": "shm://"},
        writer={
            "function": "parts:write_and_die_at_first",
            "arguments": {"stream": "fields", "steps": 5},
            "writes": ["fields"],
            "on_failure": "restart(1)",
        },
        reader={
            "function": "parts:read_and_open_again",
            "arguments": {"stream": "fields"},
            "reads": ["fields"],
        },
    ).run(output)
    assert log(run, "reader.0.log").splitlines() == [
        "lost the writer",
        f"read {[0.0] * 3 + [1.0] * 5}",
    ]


def test_restarts_come_to_an_end(workflow: Make, output: Path) -> None:
    flow = workflow(one={"function": "parts:fail", "on_failure": "restart(1)"})
    with pytest.raises(dv.WorkflowFailedError, match="exited with status 1, after 1 restart\n"):
        flow.run(output)


def test_a_component_that_hangs_fails_at_its_timeout(workflow: Make, output: Path) -> None:
    flow = workflow(one={"function": "parts:last", "timeout": 0.5})
    with pytest.raises(dv.WorkflowFailedError, match=r"hung: still running after .* 0\.5 s"):
        flow.run(output)


def test_a_service_is_asked_to_end_once_the_work_is_done(workflow: Make, output: Path) -> None:
    run = workflow(
        work={"function": "parts:wait_for", "arguments": {"path": "{run}/ready"}},
        service={"function": "parts:serve_politely", "service": True},
    ).run(output)
    entry = component(run, "service")
    assert (entry["status"], entry["exit"]) == ("done", 0)
    assert entry["attempts"][0]["exit"] == 128 + signal.SIGTERM
    assert log(run, "service.0.log") == "put in order\n"


def test_a_deaf_service_is_killed_after_its_grace(workflow: Make, output: Path) -> None:
    run = workflow(
        grace=0.2,
        work={"function": "parts:wait_for", "arguments": {"path": "{run}/deaf"}},
        service={"function": "parts:serve_rudely", "service": True},
    ).run(output)
    assert "did not end within 0.2 s" in component(run, "service")["reason"]


def test_an_order_to_kill_is_told_from_a_grace_that_is_over(workflow: Make, output: Path) -> None:
    run = workflow(one={"function": "parts:serve_rudely"}).start(output)
    while not (output / "deaf").exists():
        time.sleep(0.005)
    run.ask_to_stop()
    run.kill()
    with pytest.raises(dv.WorkflowFailedError, match="interrupted"):
        run.wait()
    assert component(run, "one")["reason"] == "was killed before it had ended"


def test_a_service_that_breaks_while_ending_fails_the_run(workflow: Make, output: Path) -> None:
    flow = workflow(
        work={"function": "parts:wait_for", "arguments": {"path": "{run}/ready"}},
        service={"function": "parts:serve_badly", "service": True},
    )
    with pytest.raises(dv.WorkflowFailedError, match="broke while ending"):
        flow.run(output)


def test_services_that_read_end_before_those_that_write(workflow: Make, output: Path) -> None:
    run = workflow(
        streams={"fields": "shm://"},
        work={"command": ["sh", "-c", "until [ -e {run}/seen ]; do sleep .01; done"]},
        source={
            "function": "parts:serve_then_end_after",
            "arguments": {"stream": "fields", "before": "reader-left"},
            "writes": ["fields"],
            "service": True,
        },
        sink={
            "function": "parts:follow",
            "arguments": {"stream": "fields", "mark": "reader-left"},
            "reads": ["fields"],
            "service": True,
        },
    ).run(output)
    assert log(run, "source.0.log") == "the reader had ended: True\n"


def test_ranks_are_not_misled_by_a_job_in_which_the_run_is(
    workflow: Make, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mpiexec"
    program.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exit\nshift 2\n'
        'OMPI_COMM_WORLD_RANK=0 "$@" & OMPI_COMM_WORLD_RANK=1 "$@" & wait\n'
    )
    program.chmod(0o700)
    monkeypatch.setattr(launch, "mpiexec", lambda: str(program))
    monkeypatch.setenv("PMI_RANK", "0")
    run = workflow(one={"function": "parts:tell", "process_count": 2, "mpi": True}).run(output)
    assert log(run, "one.1.log") == "one 1 2 0 True\n"


@pytest.mark.requires("mpi")
def test_a_parallel_service_is_asked_to_end_rank_by_rank(workflow: Make, output: Path) -> None:
    run = workflow(
        work={
            "command": ["sh", "-c", "until [ -e {run}/ranks/service.1.0.json ]; do sleep .01; done"]
        },
        service={"function": "parts:mpi_serve", "process_count": 2, "mpi": True, "service": True},
    ).run(output)
    assert component(run, "service")["status"] == "done"


def test_every_run_has_a_directory_that_says_it_all(workflow: Make, output: Path) -> None:
    flow = workflow(one={"function": "parts:show"})
    run = flow.run(output)
    assert {path.name for path in output.iterdir()} == {
        "checkpoints", "exhibits", "flow.json", "logs", "plan.json", "ranks", "run.json", "trace",
    }  # fmt: skip
    written = json.loads((output / "flow.json").read_text())
    assert dv.Workflow.from_document(written) == flow
    assert json.loads((output / "exhibits" / "20-energy-spectra.json").read_text()) == {
        "title": "Energy spectra",
        "text": "They agree.",
        "picture": None,
        "table": {"columns": ["case", "horizon"], "rows": [["learned", 1.5], ["none", "nan"]]},
        "order": 20,
    }
    assert output.stat().st_mode & 0o077 == 0
    for name in ("flow.json", "plan.json", "run.json"):
        assert (output / name).stat().st_mode & 0o077 == 0, "URLs and environments hold secrets"
    assert (
        run.document()["components"]["one"]["attempts"][0]["pid"] in component(run, "one")["pids"]
    )


def test_a_directory_that_holds_something_is_refused(workflow: Make, tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(FileExistsError, match="not empty"):
        workflow(one={"function": "parts:succeed"}).run(tmp_path)


def test_a_caller_that_ignores_its_children_sees_the_end_all_the_same(
    workflow: Make, output: Path
) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        run = workflow(one={"function": "parts:succeed"}).start(output)
        supervisor = Path(f"/proc/{run.document()['supervisor']}")
        while supervisor.exists():
            time.sleep(0.005)
        assert run.status == "succeeded"
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_what_is_shown_is_told_apart_by_more_than_letters(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RUN": str(output), "COMPONENT": "a", "RANK": "0"}.items():
        monkeypatch.setenv(f"DOVETAIL_{name}", value)
    monkeypatch.setenv("DOVETAIL_SIZE", "1")
    monkeypatch.setenv("DOVETAIL_ATTEMPT", "0")
    output.mkdir()
    titles = ["k < 8", "k > 8", "Спектр", "Поле", "plain title"]
    assert len({dv.exhibit(title) for title in titles}) == 5
    assert (output / "exhibits" / "0-plain-title.json").exists()


def test_a_handle_for_notebooks(workflow: Make, output: Path) -> None:
    run = workflow(one={"function": "parts:last"}).start(output)
    assert run.status == "running"
    assert run.directory == output
    assert run.document()["components"]["one"]["status"] in ("pending", "running")
    assert "running" in repr(run)
    assert "<td>one</td>" in run._repr_html_()
    with pytest.raises(TimeoutError, match="has not ended within 0.01 s"):
        run.wait(0.01)
    run.stop()
    assert run.status == "interrupted"
    with pytest.raises(dv.WorkflowFailedError, match="interrupted"):
        run.wait()
    run.stop()


def test_runs_are_kept_apart_by_name_and_time(
    workflow: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flow = workflow(one={"function": "parts:succeed"})
    first, second = flow.start(), flow.start()
    first.wait()
    second.wait()
    assert first.directory != second.directory
    assert first.directory.parent == second.directory.parent == tmp_path / "runs"
    assert first.directory.name.startswith("test-20")


def test_outside_a_run_there_is_no_component() -> None:
    with pytest.raises(dv.OutsideRunError, match="dovetail run"):
        dv.this_component()
    with pytest.raises(dv.OutsideRunError):
        dv.exhibit("nothing")
