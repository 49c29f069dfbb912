// Package switchboard is a client for a Switchboard server.
//
// It speaks gRPC and knows the whole contract switchboard.v1, whose messages and services are in
// switchboard.dev/sdk/go/gen/switchboard/v1.
//
// gen/ is written from the contract by `cargo xtask gen go`, never by hand. client.go holds endpoint, key and deadlines,
// errors.go why a call failed, pages.go a list of any length as one sequence.
package switchboard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	v1 "switchboard.dev/sdk/go/gen/switchboard/v1"
)

// DefaultTimeout is how long a unary call may take when nobody says otherwise.
const DefaultTimeout = 30 * time.Second

// Client holds one connection, which is made with the first call, shared by all and made again when it breaks. It may be
// used by any number of goroutines.
type Client struct {
	// Agents are the configured AIs that answer.
	Agents v1.AgentsServiceClient
	// Channels are the routes that messages travel.
	Channels v1.ChannelsServiceClient
	// Dialogues are what was said, with turns and deliveries.
	Dialogues v1.DialoguesServiceClient
	// Webhooks take messages in and show what became of raw calls.
	Webhooks v1.WebhooksServiceClient
	// Events are the workspace's log.
	Events v1.EventsServiceClient
	// Integrations are the workspace's connections to vendors.
	Integrations v1.IntegrationsServiceClient
	// Crm is what the workspace's CRM keeps of customers and deals.
	Crm v1.CrmServiceClient
	// Sources are where a CRM's chats come from.
	Sources v1.SourcesServiceClient
	// Workspaces are tenants and their keys.
	Workspaces v1.WorkspacesServiceClient

	connection *grpc.ClientConn
}

// Option changes how a Client works.
type Option func(*settings)

type settings struct {
	timeout time.Duration
	dial    []grpc.DialOption
}

// WithTimeout sets the deadline of unary calls whose context has none. Zero: no deadline. Streams never get one.
func WithTimeout(timeout time.Duration) Option {
	return func(settings *settings) { settings.timeout = timeout }
}

// WithDialOptions adds options of the connection, after the client's own: other transport credentials for a private
// authority, interceptors, a resolver.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(settings *settings) { settings.dial = append(settings.dial, options...) }
}

// New makes a client of the server at an endpoint: http://host:port for an unencrypted connection, https://host:port for
// TLS with the system's authorities. It doesn't connect yet.
func New(endpoint, apiKey string, options ...Option) (*Client, error) {
	address, encrypted, err := parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("switchboard: endpoint %q: %w", endpoint, err)
	}
	if apiKey == "" || strings.ContainsFunc(apiKey, func(char rune) bool { return char <= ' ' || char > '~' }) {
		// The key itself stays out of the error.
		return nil, errors.New("switchboard: the API key is empty or has characters that a header can't carry")
	}
	settings := settings{timeout: DefaultTimeout}
	for _, option := range options {
		option(&settings)
	}
	transport := insecure.NewCredentials()
	if encrypted {
		transport = credentials.NewTLS(nil)
	}
	connection, err := grpc.NewClient("dns:///"+address, append([]grpc.DialOption{
		grpc.WithUserAgent("switchboard-go/0.1.0"),
		grpc.WithTransportCredentials(transport),
		grpc.WithPerRPCCredentials(bearer{header: "Bearer " + apiKey, encrypted: encrypted}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithChainUnaryInterceptor(deadline(settings.timeout)),
	}, settings.dial...)...)
	if err != nil {
		return nil, fmt.Errorf("switchboard: endpoint %q: %w", endpoint, err)
	}
	return &Client{
		Agents:       v1.NewAgentsServiceClient(connection),
		Channels:     v1.NewChannelsServiceClient(connection),
		Dialogues:    v1.NewDialoguesServiceClient(connection),
		Webhooks:     v1.NewWebhooksServiceClient(connection),
		Events:       v1.NewEventsServiceClient(connection),
		Integrations: v1.NewIntegrationsServiceClient(connection),
		Crm:          v1.NewCrmServiceClient(connection),
		Sources:      v1.NewSourcesServiceClient(connection),
		Workspaces:   v1.NewWorkspacesServiceClient(connection),
		connection:   connection,
	}, nil
}

// Close ends the connection and with it every call that is under way.
func (client *Client) Close() error {
	return client.connection.Close()
}

// parse gives the endpoint's host:port and whether the connection is encrypted.
func parse(endpoint string) (address string, encrypted bool, err error) {
	parsed, err := url.Parse(endpoint)
	if err != nil {
		// The outer error repeats the endpoint.
		return "", false, errors.New("is not a URL")
	}
	port := parsed.Port()
	switch parsed.Scheme {
	case "http":
		if port == "" {
			port = "80"
		}
	case "https":
		encrypted = true
		if port == "" {
			port = "443"
		}
	default:
		return "", false, errors.New("must begin with http:// or https://")
	}
	if parsed.Hostname() == "" {
		return "", false, errors.New("names no host")
	}
	if parsed.User != nil || strings.Trim(parsed.Path, "/") != "" || parsed.RawQuery != "" || parsed.Fragment != "" {
		return "", false, errors.New("may hold only a scheme, a host and a port")
	}
	return net.JoinHostPort(parsed.Hostname(), port), encrypted, nil
}

// bearer sends the API key with every call.
type bearer struct {
	header    string
	encrypted bool
}

func (bearer bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": bearer.header}, nil
}

// RequireTransportSecurity lets the key travel unencrypted only where the endpoint says http://.
func (bearer bearer) RequireTransportSecurity() bool {
	return bearer.encrypted
}

// deadline gives calls whose context has no deadline one.
func deadline(timeout time.Duration) grpc.UnaryClientInterceptor {
	return func(
		ctx context.Context, method string, request, response any,
		connection *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		if _, has := ctx.Deadline(); !has && timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		return invoke(ctx, method, request, response, connection, options...)
	}
}
