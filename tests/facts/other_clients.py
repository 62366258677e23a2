"""Asks a server as published clients of TensorFlow Serving ask: `python other_clients.py CLIENT REST GRPC PICTURE...`.

Prints a JSON object: the scores that each way of asking gave. Needs neither kt nor TensorFlow, so that it also runs in
an environment of its own, for clients that can't live beside this protobuf.
"""

import json
import sys
from pathlib import Path

import numpy as np


def min_tfs_client(grpc: str, pictures: list[bytes]) -> dict[str, object]:
    from min_tfs_client.requests import TensorServingClient
    from min_tfs_client.tensors import tensor_proto_to_ndarray

    host, port = grpc.split(":")
    client = TensorServingClient(host=host, port=int(port))
    # It sends texts and no bytes, so the pictures are such that every byte is ASCII.
    given = {"image_bytes": np.array([picture.decode("ascii") for picture in pictures])}
    found = {}
    for version in (None, 1):
        answer = client.predict_request("tiny", given, timeout=30, model_version=version)
        found[f"grpc {version}"] = tensor_proto_to_ndarray(answer.outputs["scores"]).tolist()
    return found


def ovmsclient(rest: str, grpc: str, pictures: list[bytes]) -> dict[str, object]:
    from ovmsclient import make_grpc_client, make_http_client

    found = {}
    for name, client in (("grpc", make_grpc_client(grpc)), ("rest", make_http_client(rest))):
        for version in (0, 1):
            answer = client.predict({"image_bytes": pictures}, model_name="tiny", model_version=version)
            found[f"{name} {version or None}"] = np.asarray(answer["scores"]).tolist()
        found[f"{name} status"] = {
            str(number): each["state"] for number, each in client.get_model_status("tiny", 1).items()
        }
    return found


if __name__ == "__main__":
    client, rest, grpc, *files = sys.argv[1:]
    pictures = [Path(file).read_bytes() for file in files]
    found = min_tfs_client(grpc, pictures) if client == "min_tfs_client" else ovmsclient(rest, grpc, pictures)
    print(json.dumps(found))
