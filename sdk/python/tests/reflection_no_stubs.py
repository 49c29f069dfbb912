"""Calls a server knowing nothing but its address: the contract comes from its reflection, and no stub is imported."""

import json
import os
import sys

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

AGENTS = "switchboard.v1.AgentsService"


def call(channel, pool, key, service, method, body):
    """Calls a unary method with a message given as JSON, and gives the answer as JSON."""
    found = pool.FindServiceByName(service).FindMethodByName(method)
    request = message_factory.GetMessageClass(found.input_type)
    response = message_factory.GetMessageClass(found.output_type)
    send = channel.unary_unary(
        f"/{service}/{method}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    answer = send(json_format.ParseDict(body, request()), metadata=[("authorization", f"Bearer {key}")], timeout=30)
    return json_format.MessageToDict(answer)


def main():
    endpoint = os.environ.get("SWITCHBOARD_ENDPOINT", "")
    key = os.environ.get("SWITCHBOARD_API_KEY", "")
    if not endpoint.startswith("http://") or not key:
        return "SWITCHBOARD_ENDPOINT (http://host:port) and SWITCHBOARD_API_KEY must be set"
    with grpc.insecure_channel(endpoint.removeprefix("http://").rstrip("/")) as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
        database = ProtoReflectionDescriptorDatabase(channel)
        services = sorted(database.get_services())
        print(json.dumps({"services": services}))
        if AGENTS not in services:
            return f"{AGENTS} is not among the services"

        pool = DescriptorPool(database)
        agent = {"displayName": "Reflection", "engine": {"vendor": "mock"}}
        created = call(channel, pool, key, AGENTS, "CreateAgent", {"agent": agent})
        if not created.pop("token", ""):
            return "the new agent has no token"
        print(json.dumps(created))
        # The newest agent is not always on the first page.
        listed, token = [], ""
        while True:
            page = call(channel, pool, key, AGENTS, "ListAgents", {"pageToken": token})
            listed += page.get("agents", [])
            token = page.get("nextPageToken", "")
            if not token:
                break
        print(json.dumps({"agents": listed}))
        if created["agent"]["id"] not in [each["id"] for each in listed]:
            return "the new agent is not in the list"
    return None


if __name__ == "__main__":
    sys.exit(main())
