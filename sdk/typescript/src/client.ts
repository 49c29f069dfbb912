import {
  createClient as createServiceClient,
  type CallOptions,
  type Client as ServiceClient,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
import { createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";

import { AgentsService } from "../gen/switchboard/v1/agents_pb.js";
import { ChannelsService } from "../gen/switchboard/v1/channels_pb.js";
import { CrmService } from "../gen/switchboard/v1/crm_pb.js";
import { DialoguesService } from "../gen/switchboard/v1/dialogues_pb.js";
import { EventsService } from "../gen/switchboard/v1/events_pb.js";
import { IntegrationsService } from "../gen/switchboard/v1/integrations_pb.js";
import { SourcesService } from "../gen/switchboard/v1/sources_pb.js";
import { WebhooksService } from "../gen/switchboard/v1/webhooks_pb.js";
import { WorkspacesService } from "../gen/switchboard/v1/workspaces_pb.js";

/** How to reach a server. */
export interface ClientOptions {
  /** Where gRPC is served, such as `http://127.0.0.1:50051`. */
  endpoint: string;
  /** A key of the workspace. It goes out with every call as `authorization: Bearer …`. */
  apiKey: string;
  /** `grpc` needs HTTP/2 all the way; `grpc-web` goes over HTTP/1.1, through any proxy. Default: `grpc`. */
  transport?: "grpc" | "grpc-web";
  /**
   * How long a call may take, unless the call sets its own `timeoutMs`. 0: for ever. Streams are not limited by it, since
   * they are meant to last. Default: 30,000.
   */
  timeoutMs?: number;
}

/** One client per service; each method of a service is a method of its client. */
export interface Client {
  readonly agents: ServiceClient<typeof AgentsService>;
  readonly channels: ServiceClient<typeof ChannelsService>;
  readonly crm: ServiceClient<typeof CrmService>;
  readonly dialogues: ServiceClient<typeof DialoguesService>;
  readonly events: ServiceClient<typeof EventsService>;
  readonly integrations: ServiceClient<typeof IntegrationsService>;
  readonly sources: ServiceClient<typeof SourcesService>;
  readonly webhooks: ServiceClient<typeof WebhooksService>;
  readonly workspaces: ServiceClient<typeof WorkspacesService>;
}

/** Makes a client. Nothing is connected before the first call. */
export function createClient(options: ClientOptions): Client {
  return createClientOn(nodeTransport(options), options.timeoutMs);
}

/**
 * Makes a client on a transport of the caller's own, for example one of `@connectrpc/connect-web` in a browser. It has to
 * carry the interceptor of {@link authorization}.
 */
export function createClientOn(transport: Transport, timeoutMs = 30_000): Client {
  const limited = withTimeout(transport, timeoutMs);
  const events = createServiceClient(EventsService, limited);
  return {
    agents: createServiceClient(AgentsService, limited),
    channels: createServiceClient(ChannelsService, limited),
    crm: createServiceClient(CrmService, limited),
    dialogues: createServiceClient(DialoguesService, limited),
    events: {
      ...events,
      watch: (request, options) => closing((closable) => events.watch(request, closable), options),
    },
    integrations: createServiceClient(IntegrationsService, limited),
    sources: createServiceClient(SourcesService, limited),
    webhooks: createServiceClient(WebhooksService, limited),
    workspaces: createServiceClient(WorkspacesService, limited),
  };
}

/** The interceptor that sends the key with every call. */
export function authorization(apiKey: string): Interceptor {
  const value = `Bearer ${apiKey}`;
  return (next) => (request) => {
    request.header.set("authorization", value);
    return next(request);
  };
}

function nodeTransport({ endpoint, apiKey, transport = "grpc" }: ClientOptions): Transport {
  const interceptors = [authorization(apiKey)];
  switch (transport) {
    case "grpc":
      return createGrpcTransport({ baseUrl: endpoint, interceptors });
    case "grpc-web":
      return createGrpcWebTransport({ baseUrl: endpoint, httpVersion: "1.1", interceptors });
    default:
      throw new TypeError(`transport must be grpc or grpc-web, not ${String(transport)}`);
  }
}

/**
 * The transport with a time limit for unary calls. Connect's own `defaultTimeoutMs` would cut streams as well, and a
 * stream such as `Watch` has no end.
 */
function withTimeout(transport: Transport, timeoutMs: number): Transport {
  return {
    unary: (method, signal, callTimeoutMs, header, input, contextValues) =>
      transport.unary(method, signal, callTimeoutMs ?? timeoutMs, header, input, contextValues),
    stream: (method, signal, callTimeoutMs, header, input, contextValues) =>
      transport.stream(method, signal, callTimeoutMs, header, input, contextValues),
  };
}

/**
 * A stream that ends when its reader leaves. A `break` out of Connect's own leaves the call open, and with it the
 * connection and the process.
 */
async function* closing<T>(
  open: (options: CallOptions) => AsyncIterable<T>,
  options: CallOptions = {},
): AsyncGenerator<T, void, undefined> {
  const left = new AbortController();
  const signal = options.signal === undefined ? left.signal : AbortSignal.any([options.signal, left.signal]);
  try {
    yield* open({ ...options, signal });
  } finally {
    left.abort();
  }
}
