"""The command, the fixture, and what importing costs."""

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from langchain_minitoolai import ChatMiniToolAI, MiniToolAIImageTool, sandbox
from langchain_minitoolai.sandbox import __main__ as command

pytest_plugins = ["pytester"]

RUN = [sys.executable, "-W", "error", "-m", "langchain_minitoolai.sandbox"]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_two_lines_to_export_and_ends_quietly(ending: signal.Signals) -> None:
    with subprocess.Popen(
        [*RUN, "--api-key", "k"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        found = re.fullmatch(r"export MINITOOLAI_API_BASE=(http://127.0.0.1:\d+/api)\n", second)
        try:
            assert first == "export MINITOOLAI_API_KEY=k\n"
            assert found
            assert httpx.post(f"{found[1]}/texttoimage/", trust_env=False).status_code == 401
            process.send_signal(ending)
            out, err = process.communicate(timeout=10)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (0, "", "Serving until Ctrl-C.\n")


@pytest.mark.parametrize(
    ("host", "reached_at", "exposed"),
    [
        ("127.0.0.1", "127.0.0.1", False),
        ("localhost", "localhost", False),
        ("0.0.0.0", "127.0.0.1", True),  # noqa: S104 - what the option is for
        ("::", "[::1]", True),
        ("", "127.0.0.1", True),
        ("::1", "[::1]", False),
    ],
)
def test_the_command_listens_where_it_is_asked_to_and_warns_of_what_that_means(
    host: str, reached_at: str, *, exposed: bool
) -> None:
    command = [*RUN, "--api-key", "k", "--host", host]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = process.stdout.readline() + process.stdout.readline()
        base_url = lines.rpartition("=")[2].strip()
        try:
            assert base_url.startswith(f"http://{reached_at}:")
            model = ChatMiniToolAI(base_url=base_url, api_key="k")
            assert model.invoke("What is 2 + 2?").text == "2 + 2 = 4."
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=10)
        finally:
            process.kill()
    warning = (
        f"Warning: listening on {host or 'every address'}, so anyone who can reach this port can "
        "use the sandbox; there is no TLS: the key, questions and answers travel unencrypted.\n"
    )
    assert err == (warning if exposed else "") + "Serving until Ctrl-C.\n"


def test_the_command_takes_models_and_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, object] = {}

    def running(**options: object) -> None:
        taken.update(options)
        raise OSError

    monkeypatch.setattr(sandbox, "running", running)
    arguments = ["--model", "gpt-5", "--model", "gpt-5.4-nano=0.05,0.4", "--field", "verbosity"]
    assert command.main([*arguments, "--field", "reasoning_effort"]) == 1
    assert taken["models"] == {"gpt-5": None, "gpt-5.4-nano": (0.05, 0.4)}
    assert taken["fields"] == ["verbosity", "reasoning_effort"]


@pytest.mark.parametrize("price", ["", "1", "a,b", "1,2,3"])
def test_a_price_that_is_none_is_refused(price: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--model", f"gpt-5={price}"])
    assert f"value: 'gpt-5={price}'" in capsys.readouterr().err


def test_an_address_of_another_machine_ends_the_command_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["--host", "192.0.2.1"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("The sandbox can't start: ")


def test_an_image_stands_at_the_address_that_its_caller_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with sandbox.running(host="0.0.0.0", job_seconds=0) as service:  # noqa: S104 - as in a container
        monkeypatch.setenv("MINITOOLAI_API_KEY", service.api_key)
        base_url = service.base_url.replace("127.0.0.1", "localhost")
        draw = MiniToolAIImageTool(base_url=base_url, poll_interval=0.01)
        image = draw.wait_for(draw.submit("a fox"))
        assert image.url.startswith(base_url.removesuffix("/api") + "/files/")
        assert draw.download(image).read().startswith(b"\x89PNG")


def test_a_taken_port_ends_the_command_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with sandbox.running() as service:
        assert command.main(["--port", service.origin.rpartition(":")[2]]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("The sandbox can't start: ")


def test_the_command_runs_in_any_thread() -> None:
    with sandbox.running() as service, ThreadPoolExecutor() as pool:
        port = service.origin.rpartition(":")[2]
        assert pool.submit(command.main, ["--port", port]).result() == 1


def test_importing_loads_nothing_of_the_extra() -> None:
    code = (
        "import sys, langchain_minitoolai.sandbox\n"
        "print({'starlette', 'uvicorn', 'PIL', 'httpx'} & set(sys.modules))"
    )
    run = python(code)
    assert (run.stdout, run.stderr) == ("set()\n", "")


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "PIL"])
def test_a_missing_extra_is_named_with_its_command(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with (
        pytest.raises(ImportError, match=r'pip install "langchain-minitoolai\[sandbox\]"'),
        sandbox.running(),
    ):
        raise AssertionError


def test_the_fixture_is_a_fresh_sandbox_that_the_environment_names(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeconftest('pytest_plugins = ["langchain_minitoolai.sandbox.pytest_plugin"]')
    pytester.makepyfile(
        """
        import os

        def test_one(minitoolai_sandbox):
            assert os.environ["MINITOOLAI_API_BASE"] == minitoolai_sandbox.base_url
            assert os.environ["MINITOOLAI_API_KEY"] == minitoolai_sandbox.api_key

        def test_two(minitoolai_sandbox):
            assert minitoolai_sandbox.requests == []
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:asyncio")
    result.assert_outcomes(passed=2)
    assert "MINITOOLAI_API_BASE" not in os.environ


def test_a_script_that_was_not_used_fails_the_test_that_left_it(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeconftest('pytest_plugins = ["langchain_minitoolai.sandbox.pytest_plugin"]')
    pytester.makepyfile(
        """
        import pytest
        from langchain_minitoolai import ChatMiniToolAI
        from langchain_minitoolai.sandbox import faults

        def test_used(minitoolai_sandbox):
            minitoolai_sandbox.reply("Yes.", times=None)
            assert ChatMiniToolAI().invoke("Well?").text == "Yes."

        def test_left_a_reply(minitoolai_sandbox):
            minitoolai_sandbox.reply("Yes.")

        @pytest.fixture
        def faulty(minitoolai_sandbox):
            minitoolai_sandbox.fault(faults.status(500))

        def test_left_a_fault(faulty):
            pass

        @pytest.mark.minitoolai_sandbox(allow_unused=True)
        def test_may_leave_it(faulty):
            pass

        def test_fails_for_its_own_reason(faulty):
            assert not "its own"

        def test_needs_no_sandbox():
            pass
        """
    )
    options = ("-p", "no:cacheprovider", "-p", "no:asyncio", "--strict-markers")
    result = pytester.runpytest_inprocess(*options)
    result.assert_outcomes(passed=3, failed=3)
    result.stdout.fnmatch_lines(
        [
            "the sandbox's scripts were not used up: Reply(parts=('Yes.',)* used 0 of 1 times",
            "the sandbox's scripts were not used up: ReplaceResponse(* used 0 of 1 times",
            "FAILED *::test_left_a_reply*",
            "FAILED *::test_left_a_fault*",
            "FAILED *::test_fails_for_its_own_reason*",
        ]
    )


def test_no_file_of_the_sandbox_imports_other_modules_than_the_contract() -> None:
    folder = Path(sandbox.__file__).parent
    ours = re.compile(
        r"langchain_minitoolai(?:\.(?!sandbox|contract)| import (?!sandbox|contract))\w*"
    )
    assert [p.name for p in folder.glob("*.py") if ours.search(p.read_text("utf-8"))] == []
