package switchboard

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	v1 "switchboard.dev/sdk/go/gen/switchboard/v1"
)

// domain is what the server's ErrorInfo names as its own.
const domain = "switchboard"

// FieldViolation is a field of a request that the server would not take.
type FieldViolation struct {
	// Field is its path in the request, such as agent.display_name.
	Field string
	// Description is what is wrong with it, for people.
	Description string
}

// Reason says why a call failed, as the contract names it. ERROR_REASON_UNSPECIFIED: the error has no reason, or one that
// this version doesn't know; [ReasonName] tells the latter.
func Reason(err error) v1.ErrorReason {
	return v1.ErrorReason(v1.ErrorReason_value["ERROR_REASON_"+ReasonName(err)])
}

// ReasonName is the reason as it travels, such as AGENT_NOT_FOUND. Empty: the error has none, as when the server was not
// reached.
func ReasonName(err error) string {
	if info := info(err); info != nil {
		return info.GetReason()
	}
	return ""
}

// Metadata holds the error's further facts by name; which there are depends on the reason.
func Metadata(err error) map[string]string {
	return info(err).GetMetadata()
}

// FieldViolations are the fields that were not valid, all at once. Empty: it wasn't about fields.
func FieldViolations(err error) []FieldViolation {
	bad, _ := detail[*errdetails.BadRequest](err)
	var violations []FieldViolation
	for _, violation := range bad.GetFieldViolations() {
		violations = append(violations, FieldViolation{violation.GetField(), violation.GetDescription()})
	}
	return violations
}

// RetryAfter is how long the server asks to wait before another try, and whether it asks.
func RetryAfter(err error) (time.Duration, bool) {
	retry, found := detail[*errdetails.RetryInfo](err)
	if !found || retry.GetRetryDelay() == nil {
		return 0, false
	}
	return retry.GetRetryDelay().AsDuration(), true
}

func info(err error) *errdetails.ErrorInfo {
	if info, found := detail[*errdetails.ErrorInfo](err); found && info.GetDomain() == domain {
		return info
	}
	return nil
}

// detail finds the status's first detail of a type, also where the error is wrapped.
func detail[T any](err error) (detail T, found bool) {
	// Without an error, or one that is no status, there are no details.
	status, _ := status.FromError(err)
	for _, each := range status.Details() {
		if detail, found = each.(T); found {
			return detail, true
		}
	}
	return detail, false
}
