"""Throughput and latency of `kt serve` over loopback, with and without batching, for 1 to 32 clients.

    python benchmarks/serving.py saved_models/apples photos/

Each client sends one picture a request over a connection that it keeps, and the next as soon as it is answered. Server
and clients share the machine's cores; the CPU time of the server's process a request is what other work on the machine
changes least. Needs the extras `serve` and, for the clients, httpx.
"""

import argparse
import asyncio
import base64
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np


def start(args, batch, port):
    command = [
        sys.executable, "-c", "from kt.cli import main; main()", "serve", str(args.model), "--port", str(port),
        "--grpc-port", "0", "--max-batch-size", str(batch), "--max-enqueued-batches", str(max(1, 512 // batch)),
        "--num-batch-threads", str(args.threads), "--engine", args.engine,
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ)
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx.get(f"http://127.0.0.1:{port}/healthz")
        except httpx.TransportError:
            time.sleep(0.2)
        else:
            return process
    raise SystemExit("kt serve did not start")


async def client(url, bodies, until, seconds):
    async with httpx.AsyncClient(timeout=60) as session:
        for body in bodies:
            begun = time.perf_counter()
            if begun > until:
                return
            answer = await session.post(url, content=body)
            answer.raise_for_status()
            seconds.append((begun, time.perf_counter()))


def cpu_seconds(process):
    """What the process has computed so far, on all cores."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(url, bodies, clients, length):
    """Requests a second, and the milliseconds of each, in `length` seconds after one to warm up."""
    seconds = []
    begin = time.perf_counter() + 1
    each = [itertools.cycle(bodies[index:] + bodies[:index]) for index in range(clients)]
    await asyncio.gather(*[client(url, turn, begin + length, seconds) for turn in each])
    inside = [(ended, ended - begun) for begun, ended in seconds if begin <= ended <= begin + length]
    return len(inside) / length, np.array([took for _, took in inside]) * 1000, len(seconds)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--threads", type=int, default=1, help="--num-batch-threads of kt serve")
    parser.add_argument("--engine", default="tensorflow")
    parser.add_argument("--seconds", type=float, default=8)
    args = parser.parse_args()
    files = sorted(file for file in args.pictures.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    encoded = [base64.b64encode(file.read_bytes()).decode() for file in files[:: max(1, len(files) // 64)]]
    bodies = [json.dumps({"instances": [{"b64": text}]}).encode() for text in encoded]
    print("| max_batch_size | clients | requests/s | p50, ms | p99, ms | server's CPU, ms a request |")
    print("| --- | --- | --- | --- | --- | --- |")
    for batch in args.batch:
        port = free_port()
        server = start(args, batch, port)
        try:
            url = f"http://127.0.0.1:{port}/v1/models/{args.model.resolve().name}:predict"
            for clients in args.clients:
                before = cpu_seconds(server)
                rate, took, count = asyncio.run(load(url, bodies, clients, args.seconds))
                cost = (cpu_seconds(server) - before) / count * 1000
                p50, p99 = np.percentile(took, [50, 99])
                print(f"| {batch} | {clients} | {rate:.1f} | {p50:.0f} | {p99:.0f} | {cost:.0f} |", flush=True)
        finally:
            server.terminate()
            server.wait(60)


if __name__ == "__main__":
    main()
