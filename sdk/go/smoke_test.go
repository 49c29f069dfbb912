package switchboard_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	switchboard "switchboard.dev/sdk/go"
	v1 "switchboard.dev/sdk/go/gen/switchboard/v1"
)

// delivery is what the channel's receiver got.
type delivery struct {
	token string
	body  string
}

// connect makes a client of the server under test; `cargo xtask` starts one and names it.
func connect(t *testing.T) *switchboard.Client {
	t.Helper()
	client, err := switchboard.New(variable(t, "SWITCHBOARD_ENDPOINT"), variable(t, "SWITCHBOARD_API_KEY"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

func variable(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: this test needs a server", name)
	}
	return value
}

func within(t *testing.T, timeout time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx
}

func createAgent(t *testing.T, client *switchboard.Client, name string) *v1.Agent {
	t.Helper()
	created, err := client.Agents.CreateAgent(t.Context(), &v1.CreateAgentRequest{
		Agent: &v1.Agent{DisplayName: name, Engine: &v1.Engine{Vendor: "mock"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return created.GetAgent()
}

func TestAMessageIsAnsweredAndTheAnswerDelivered(t *testing.T) {
	client := connect(t)
	ctx := within(t, 30*time.Second)

	deliveries := make(chan delivery, 16)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			t.Error(err)
		}
		deliveries <- delivery{token: request.Header.Get("x-chat_auth_token"), body: string(body)}
	}))
	defer receiver.Close()

	agent := createAgent(t, client, "Go smoke")
	channel, err := client.Channels.CreateChannel(ctx, &v1.CreateChannelRequest{
		Channel: &v1.Channel{DisplayName: "Go smoke", AgentId: agent.GetId(), Url: receiver.URL},
	})
	if err != nil {
		t.Fatal(err)
	}

	// The first message of a stream is a heartbeat: from here on no event is missed.
	events, err := client.Events.Watch(ctx, &v1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := events.Recv(); err != nil || first.GetEvent() != nil {
		t.Fatalf("the stream began with %v, %v", first, err)
	}

	received, err := client.Webhooks.ReceiveMessage(ctx, &v1.ReceiveMessageRequest{
		ChannelId: channel.GetChannel().GetId(),
		MessageId: "go-1",
		Text:      "Do you deliver on Sundays?",
		Sender:    v1.MessageSender_MESSAGE_SENDER_CUSTOMER,
	})
	if err != nil {
		t.Fatal(err)
	}
	if received.GetOutcome() != v1.InboundOutcome_INBOUND_OUTCOME_RECORDED {
		t.Errorf("the outcome is %v", received.GetOutcome())
	}

	reply := ""
	for reply == "" {
		response, err := events.Recv()
		if err != nil {
			t.Fatal(err)
		}
		event := response.GetEvent()
		if event.GetDialogueId() == received.GetDialogueId() && event.GetType() == "message.replied" {
			reply = event.GetMessage().GetText()
		}
	}
	if !strings.Contains(reply, "Do you deliver on Sundays?") {
		t.Errorf("the reply doesn't quote the message: %s", reply)
	}

	select {
	case delivery := <-deliveries:
		if want := "Bearer " + channel.GetToken(); delivery.token != want {
			t.Errorf("x-chat_auth_token is %q, not the channel's token", delivery.token)
		}
		if !strings.Contains(delivery.body, "Do you deliver on Sundays?") {
			t.Errorf("the delivery is not the reply: %s", delivery.body)
		}
	case <-ctx.Done():
		t.Fatal("nothing was delivered")
	}
}

func TestErrorsSayWhy(t *testing.T) {
	client := connect(t)
	ctx := within(t, 30*time.Second)

	_, err := client.Agents.GetAgent(ctx, &v1.GetAgentRequest{Id: "01890000-0000-7000-8000-000000000000"})
	if reason := switchboard.Reason(err); reason != v1.ErrorReason_ERROR_REASON_AGENT_NOT_FOUND {
		t.Errorf("an unknown agent: %v, %v", reason, err)
	}
	if name := switchboard.ReasonName(err); name != "AGENT_NOT_FOUND" {
		t.Errorf("the reason travels as %q", name)
	}
	if violations := switchboard.FieldViolations(err); violations != nil {
		t.Errorf("an unknown agent violates %v", violations)
	}

	_, err = client.Agents.CreateAgent(ctx, &v1.CreateAgentRequest{Agent: &v1.Agent{}})
	if reason := switchboard.Reason(err); reason != v1.ErrorReason_ERROR_REASON_FIELD_INVALID {
		t.Errorf("an empty agent: %v, %v", reason, err)
	}
	named := func(violation switchboard.FieldViolation) bool {
		return violation.Field == "agent.engine" && violation.Description != ""
	}
	if violations := switchboard.FieldViolations(err); !slices.ContainsFunc(violations, named) {
		t.Errorf("an empty agent violates %v", violations)
	}
}

func TestPagesReadTheWholeList(t *testing.T) {
	client := connect(t)
	ctx := within(t, 30*time.Second)

	var created []string
	for range 3 {
		created = append(created, createAgent(t, client, "Go pages").GetId())
	}
	request := &v1.ListAgentsRequest{PageSize: 1}
	list := func() []string {
		var ids []string
		agents := switchboard.Pages(ctx, client.Agents.ListAgents, request, (*v1.ListAgentsResponse).GetAgents)
		for agent, err := range agents {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, agent.GetId())
		}
		return ids
	}
	listed := list()
	for _, id := range created {
		if count := len(slices.DeleteFunc(slices.Clone(listed), func(each string) bool { return each != id })); count != 1 {
			t.Errorf("agent %s was listed %d times", id, count)
		}
	}
	if request.GetPageToken() != "" || len(list()) != len(listed) {
		t.Error("reading a list changed the request")
	}
}

func TestPagesEndWithAnError(t *testing.T) {
	client := connect(t)
	request := &v1.ListAgentsRequest{PageToken: "not a token"}
	count := 0
	for _, err := range switchboard.Pages(
		within(t, 30*time.Second), client.Agents.ListAgents, request, (*v1.ListAgentsResponse).GetAgents,
	) {
		count++
		if reason := switchboard.Reason(err); reason != v1.ErrorReason_ERROR_REASON_PAGE_TOKEN_INVALID {
			t.Errorf("%v, %v", reason, err)
		}
	}
	if count != 1 {
		t.Errorf("%d items", count)
	}
}
