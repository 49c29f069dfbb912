import assert from "node:assert/strict";
import { test } from "node:test";

import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";

import { fieldViolations, metadata, reason, retryAfter } from "../src/index.js";

/** A message with fields that are strings or messages; the number of each is its place in the list. */
function message(...fields: (string | Uint8Array | undefined)[]): Uint8Array {
  const writer = new BinaryWriter();
  fields.forEach((field, index) => {
    if (field === undefined) return;
    writer.tag(index + 1, 2);
    if (typeof field === "string") writer.string(field);
    else writer.bytes(field);
  });
  return writer.finish();
}

function failed(...details: [type: string, value: Uint8Array][]): ConnectError {
  const error = new ConnectError("failed", Code.Unavailable);
  error.details = details.map(([type, value]) => ({ type: `google.rpc.${type}`, value }));
  return error;
}

test("the reason and its metadata are read, unknown fields skipped", () => {
  const error = failed([
    "ErrorInfo",
    message("SCOPE_MISSING", "switchboard", message("scope", "agents:write"), "a field of the future"),
  ]);
  assert.equal(reason(error), "SCOPE_MISSING");
  assert.deepEqual(metadata(error), { scope: "agents:write" });
});

test("a reason of another domain is not ours", () => {
  assert.equal(reason(failed(["ErrorInfo", message("OTHER", "proxy.example")])), undefined);
});

test("field violations are read", () => {
  const error = failed(["BadRequest", message(message("channel.url", "is required"))]);
  assert.deepEqual(fieldViolations(error), [{ field: "channel.url", description: "is required" }]);
});

test("the pause is read in milliseconds", () => {
  const delay = new BinaryWriter().tag(1, 0).int64(2).tag(2, 0).int32(500_000_000).finish();
  assert.equal(retryAfter(failed(["RetryInfo", message(delay)])), 2500);
  assert.equal(retryAfter(failed(["RetryInfo", message(new Uint8Array())])), 0);
  assert.equal(retryAfter(failed(["RetryInfo", new Uint8Array()])), undefined);
});

test("other errors say nothing", () => {
  for (const error of [new Error("no"), undefined, failed()]) {
    assert.equal(reason(error), undefined);
    assert.deepEqual(metadata(error), {});
    assert.deepEqual(fieldViolations(error), []);
    assert.equal(retryAfter(error), undefined);
  }
});
