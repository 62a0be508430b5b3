"""`python -m models.llama_server MODEL.gguf`: llama.cpp on the loopback, for `LocalGenerator`.

Reads a key from its first line of standard input, prints {"url": …}, and serves until its standard input closes: it
never outlives who started it. Memory is bounded: by one slot of CONTEXT tokens, and by a limit of the system's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from models.prompting import LINES

CONTEXT = 2048
"""Tokens of a prompt with its reply."""
MOST_BYTES = 3 * 1024**3
"""Of address space, beyond the model's own file: what runs away ends this process, not the machine."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--without-template", action="store_true", help="the model has no chat template of its own")
    arguments = parser.parse_args()
    key = sys.stdin.readline().strip()
    _bound_memory(arguments.model)
    # llama.cpp writes its log to where the address goes.
    address = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    import xllamacpp  # type: ignore[import-untyped]

    params = xllamacpp.CommonParams()
    params.model.path = str(arguments.model)
    params.n_ctx, params.n_parallel = CONTEXT, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = arguments.threads
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [key]
    params.ui = params.endpoint_slots = params.endpoint_props = False
    if arguments.without_template:  # llama.cpp would take another's
        params.use_jinja, params.chat_template = True, LINES
    server = xllamacpp.Server(params)
    print(json.dumps({"url": f"{server.listening_address}/v1"}), file=address, flush=True)
    sys.stdin.read()


def _bound_memory(model: Path) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    most = MOST_BYTES + model.stat().st_size
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main()
