import assert from "node:assert/strict";
import { test } from "node:test";

import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { authorization, createClientOn, fieldViolations, reason, type Client } from "../src/index.js";
import { connect, required, UNKNOWN_ID } from "./setup.js";

const clients: [string, Client][] = [
  ["HTTP/1.1", connect({ transport: "grpc-web" })],
  [
    "fetch",
    createClientOn(
      createGrpcWebTransport({
        baseUrl: required("SWITCHBOARD_ENDPOINT"),
        interceptors: [authorization(required("SWITCHBOARD_API_KEY"))],
      }),
    ),
  ],
];

for (const [name, client] of clients) {
  test(`gRPC-web, ${name}: a unary call`, async () => {
    const { agent } = await client.agents.createAgent({ agent: { displayName: "Web", engine: { vendor: "mock" } } });
    assert.ok(agent);
    const read = await client.agents.getAgent({ id: agent.id });
    assert.deepEqual(read.agent, agent);
  });

  test(`gRPC-web, ${name}: a stream`, { timeout: 30_000 }, async () => {
    for await (const { event, cursor } of client.events.watch({})) {
      assert.equal(event, undefined);
      assert.notEqual(cursor, "");
      return;
    }
    assert.fail("the stream ended before its first heartbeat");
  });

  test(`gRPC-web, ${name}: an error with details`, async () => {
    await assert.rejects(client.agents.getAgent({ id: UNKNOWN_ID }), (error) => {
      assert.equal(reason(error), "AGENT_NOT_FOUND");
      return true;
    });
    await assert.rejects(client.agents.createAgent({ agent: {} }), (error) => {
      assert.equal(reason(error), "FIELD_INVALID");
      assert.ok(fieldViolations(error).length > 0);
      return true;
    });
  });
}
