package switchboard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	v1 "switchboard.dev/sdk/go/gen/switchboard/v1"
)

func TestEndpoints(t *testing.T) {
	for endpoint, want := range map[string]string{
		"http://127.0.0.1:50051":   "127.0.0.1:50051 false",
		"http://example.com":       "example.com:80 false",
		"https://example.com/":     "example.com:443 true",
		"https://[::1]:50051":      "[::1]:50051 true",
		"127.0.0.1:50051":          "",
		"example.com":              "",
		"ftp://example.com":        "",
		"http://":                  "",
		"http://example.com/path":  "",
		"http://user@example.com":  "",
		"https://example.com?a=b":  "",
		"https://example.com:port": "",
	} {
		address, encrypted, err := parse(endpoint)
		if got := fmt.Sprint(address, " ", encrypted); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%s: %s, %v", endpoint, got, err)
		}
	}
}

func TestABadKeyIsRefusedAndNotShown(t *testing.T) {
	for _, key := range []string{"", "secret key", "secret\n"} {
		if _, err := New("http://127.0.0.1:1", key); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestDeadlines(t *testing.T) {
	remaining := func(ctx context.Context, timeout time.Duration) (left time.Duration) {
		invoke := func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			if deadline, has := ctx.Deadline(); has {
				left = time.Until(deadline)
			}
			return nil
		}
		if err := deadline(timeout)(ctx, "", nil, nil, nil, invoke); err != nil {
			t.Error(err)
		}
		return left
	}
	if left := remaining(t.Context(), time.Minute); left < 50*time.Second || left > time.Minute {
		t.Errorf("the default: %v", left)
	}
	if left := remaining(t.Context(), 0); left != 0 {
		t.Errorf("none: %v", left)
	}
	hour, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if left := remaining(hour, time.Minute); left < 59*time.Minute {
		t.Errorf("the caller's own: %v", left)
	}
}

func TestErrorDetails(t *testing.T) {
	made, err := status.New(codes.ResourceExhausted, "later").WithDetails(
		&errdetails.ErrorInfo{Domain: "switchboard", Reason: "OVERLOADED", Metadata: map[string]string{"a": "b"}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
	)
	if err != nil {
		t.Fatal(err)
	}
	wrapped := fmt.Errorf("calling: %w", made.Err())
	if reason := Reason(wrapped); reason != v1.ErrorReason_ERROR_REASON_OVERLOADED {
		t.Error(reason)
	}
	if wait, asked := RetryAfter(wrapped); !asked || wait != 1500*time.Millisecond {
		t.Error(wait, asked)
	}
	if Metadata(wrapped)["a"] != "b" {
		t.Error(Metadata(wrapped))
	}

	foreign, err := status.New(codes.NotFound, "").WithDetails(&errdetails.ErrorInfo{Domain: "other", Reason: "INTERNAL"})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{nil, errors.New("no status"), foreign.Err()} {
		_, asked := RetryAfter(err)
		if Reason(err) != v1.ErrorReason_ERROR_REASON_UNSPECIFIED || ReasonName(err) != "" || asked {
			t.Errorf("%v says why", err)
		}
		if Metadata(err) != nil || FieldViolations(err) != nil {
			t.Errorf("%v has details", err)
		}
	}
}
