import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";

import { Code, ConnectError } from "@connectrpc/connect";

import { fieldViolations, items, MessageRole, MessageSender, pages, reason, retryAfter } from "../src/index.js";
import { connect, UNKNOWN_ID } from "./setup.js";

interface Received {
  headers: IncomingHttpHeaders;
  body: string;
}

const client = connect();
const received: Received[] = [];
let waiting: (() => void) | undefined;
let receiver: Server;

before(async () => {
  receiver = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      received.push({ headers: request.headers, body: Buffer.concat(chunks).toString("utf8") });
      response.writeHead(200).end();
      waiting?.();
    });
  });
  receiver.listen(0, "127.0.0.1");
  await once(receiver, "listening");
});

after(() => {
  receiver.closeAllConnections();
  receiver.close();
});

test("a message is answered and the answer is delivered", { timeout: 60_000 }, async () => {
  const { agent } = await client.agents.createAgent({ agent: { displayName: "Smoke", engine: { vendor: "mock" } } });
  assert.ok(agent);
  const { port } = receiver.address() as AddressInfo;
  const { channel, token } = await client.channels.createChannel({
    channel: { displayName: "Smoke", agentId: agent.id, url: `http://127.0.0.1:${port}/deliveries` },
  });
  assert.ok(channel);
  assert.notEqual(token, "");

  const delivered = new Promise<void>((resolve) => {
    waiting = resolve;
  });
  const { dialogueId } = await client.webhooks.receiveMessage({
    channelId: channel.id,
    messageId: "1",
    text: "Hello!",
    sender: MessageSender.CUSTOMER,
  });

  // From the beginning of the log, because the answer may be there already.
  const answer = await (async () => {
    for await (const { event } of client.events.watch({ cursor: "0", dialogueId, types: ["message.replied"] })) {
      if (event?.type === "message.replied" && event.dialogueId === dialogueId) return event.message;
    }
    return undefined;
  })();
  assert.equal(answer?.role, MessageRole.ASSISTANT);

  await delivered;
  assert.equal(received.length, 1);
  assert.equal(received[0]?.headers["x-chat_auth_token"], `Bearer ${token}`);
  assert.ok((JSON.stringify(JSON.parse(received[0]?.body ?? "")) ?? "").includes(JSON.stringify(answer.text)));
});

test("an unknown agent has a reason", async () => {
  await assert.rejects(client.agents.getAgent({ id: UNKNOWN_ID }), (error) => {
    assert.ok(error instanceof ConnectError);
    assert.equal(error.code, Code.NotFound);
    assert.equal(reason(error), "AGENT_NOT_FOUND");
    assert.deepEqual(fieldViolations(error), []);
    assert.equal(retryAfter(error), undefined);
    return true;
  });
});

test("bad fields are named", async () => {
  await assert.rejects(client.agents.createAgent({ agent: { engine: {} } }), (error) => {
    assert.equal(reason(error), "FIELD_INVALID");
    const fields = fieldViolations(error);
    assert.ok(fields.length >= 1);
    for (const { field, description } of fields) assert.ok(field !== "" && description !== "");
    return true;
  });
});

test("pages of one hold every agent once", async () => {
  const made: string[] = [];
  for (const displayName of ["First", "Second", "Third"]) {
    const { agent } = await client.agents.createAgent({ agent: { displayName, engine: { vendor: "mock" } } });
    made.push(agent?.id ?? "");
  }
  const list = (pageToken: string) => client.agents.listAgents({ pageSize: 1, pageToken });
  const found: string[] = [];
  for await (const page of pages(list)) {
    assert.ok(page.agents.length <= 1);
    found.push(...page.agents.map((agent) => agent.id));
  }
  assert.equal(new Set(found).size, found.length);
  assert.deepEqual(found.filter((id) => made.includes(id)).sort(), made.sort());

  let count = 0;
  for await (const _agent of items(list, (page) => page.agents)) count += 1;
  // The other test file may make an agent in between.
  assert.ok(count >= found.length);
});

test("a wrong key is refused", async () => {
  await assert.rejects(connect({ apiKey: "sbk_wrong" }).agents.listAgents({}), (error) => {
    assert.ok(error instanceof ConnectError);
    assert.equal(error.code, Code.Unauthenticated);
    return true;
  });
});

test("a stream outlives the time limit of calls", { timeout: 30_000 }, async () => {
  let heartbeats = 0;
  for await (const _ of connect({ timeoutMs: 500 }).events.watch({ types: ["none"], heartbeatInterval: { seconds: 1n } })) {
    heartbeats += 1;
    if (heartbeats === 3) break;
  }
  assert.equal(heartbeats, 3);
});
