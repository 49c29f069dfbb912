import { createClient, type Client, type ClientOptions } from "../src/index.js";

/** A client of the server under test. */
export function connect(options: Partial<ClientOptions> = {}): Client {
  return createClient({ endpoint: required("SWITCHBOARD_ENDPOINT"), apiKey: required("SWITCHBOARD_API_KEY"), ...options });
}

/** A variable without which no test makes sense. */
export function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} must be set: these tests need a server`);
  return value;
}

/** A UUID that no object has. */
export const UNKNOWN_ID = "00000000-0000-7000-8000-000000000000";
