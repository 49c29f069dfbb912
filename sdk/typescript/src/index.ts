export { authorization, createClient, createClientOn, type Client, type ClientOptions } from "./client.js";
export { fieldViolations, metadata, reason, retryAfter, type FieldViolation } from "./errors.js";
export { items, pages, type Page } from "./pages.js";

export * from "../gen/switchboard/v1/agents_pb.js";
export * from "../gen/switchboard/v1/channels_pb.js";
export * from "../gen/switchboard/v1/common_pb.js";
export * from "../gen/switchboard/v1/contacts_pb.js";
export * from "../gen/switchboard/v1/dialogues_pb.js";
export * from "../gen/switchboard/v1/error_reason_pb.js";
export * from "../gen/switchboard/v1/events_pb.js";
export * from "../gen/switchboard/v1/webhooks_pb.js";
export * from "../gen/switchboard/v1/workspaces_pb.js";
