import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { ConnectError } from "@connectrpc/connect";

// The three messages of google/rpc/error_details.proto that the server sends are read by hand: the contract doesn't
// import that file, so there is no generated code for it.

/** A field of the request that is not valid. */
export interface FieldViolation {
  /** Its path, such as `channel.url`. */
  readonly field: string;
  /** What is wrong with it, for people. */
  readonly description: string;
}

/**
 * Why a call failed: the name of an `ErrorReason` without its prefix, such as `AGENT_NOT_FOUND`. `undefined`: the error
 * is not one of the server's, for example because it couldn't be reached.
 */
export function reason(error: unknown): string | undefined {
  return errorInfo(error)?.reason;
}

/** Further facts of the error by name, such as the `scope` that the key lacks. */
export function metadata(error: unknown): Readonly<Record<string, string>> {
  return errorInfo(error)?.metadata ?? {};
}

/** Every field of the request that is not valid. */
export function fieldViolations(error: unknown): FieldViolation[] {
  return details(error, "google.rpc.BadRequest").flatMap((value) => {
    const violations: FieldViolation[] = [];
    readFields(value, {
      1: (reader) => violations.push(readViolation(reader.bytes())),
    });
    return violations;
  });
}

/** How many milliseconds to wait before the call is worth another try. `undefined`: the server didn't say. */
export function retryAfter(error: unknown): number | undefined {
  const value = details(error, "google.rpc.RetryInfo")[0];
  if (value === undefined) return undefined;
  let delay: number | undefined;
  readFields(value, {
    1: (reader) => {
      delay = readDuration(reader.bytes());
    },
  });
  return delay;
}

interface ErrorInfo {
  reason: string;
  metadata: Record<string, string>;
}

function errorInfo(error: unknown): ErrorInfo | undefined {
  for (const value of details(error, "google.rpc.ErrorInfo")) {
    const info: ErrorInfo = { reason: "", metadata: {} };
    let domain = "";
    readFields(value, {
      1: (reader) => {
        info.reason = reader.string();
      },
      2: (reader) => {
        domain = reader.string();
      },
      3: (reader) => {
        const [key, text] = readStrings(reader.bytes());
        info.metadata[key] = text;
      },
    });
    // A proxy on the way may have reasons of its own.
    if (domain === "switchboard") return info;
  }
  return undefined;
}

function readViolation(value: Uint8Array): FieldViolation {
  const [field, description] = readStrings(value);
  return { field, description };
}

/** Reads a message whose fields 1 and 2 are strings. */
function readStrings(value: Uint8Array): [string, string] {
  const strings: [string, string] = ["", ""];
  readFields(value, {
    1: (reader) => {
      strings[0] = reader.string();
    },
    2: (reader) => {
      strings[1] = reader.string();
    },
  });
  return strings;
}

/** Reads a `google.protobuf.Duration` as milliseconds. */
function readDuration(value: Uint8Array): number {
  let seconds = 0;
  let nanos = 0;
  readFields(
    value,
    {
      1: (reader) => {
        seconds = Number(reader.int64());
      },
      2: (reader) => {
        nanos = reader.int32();
      },
    },
    WireType.Varint,
  );
  return seconds * 1000 + nanos / 1_000_000;
}

/** The bytes of every detail of a type. */
function details(error: unknown, type: string): Uint8Array[] {
  if (!(error instanceof ConnectError)) return [];
  return error.details.flatMap((detail) => ("desc" in detail || detail.type !== type ? [] : [detail.value]));
}

/** Hands each known field to its reader and skips the others. All known fields have the same wire type. */
function readFields(
  value: Uint8Array,
  known: Readonly<Record<number, (reader: BinaryReader) => void>>,
  expected = WireType.LengthDelimited,
): void {
  const reader = new BinaryReader(value);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    const read = known[field];
    if (read !== undefined && wireType === expected) read(reader);
    else reader.skip(wireType, field);
  }
}
