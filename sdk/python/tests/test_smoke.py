"""The SDK against a real server, which `cargo xtask` starts and names."""

import os
import queue
import socket
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc

import switchboard_sdk
from switchboard.v1 import agents_pb2, channels_pb2, events_pb2, webhooks_pb2

QUESTION = "Do you deliver on Sundays?"


def variable(name):
    value = os.environ.get(name)
    if not value:
        raise AssertionError(f"{name} is not set: this test needs a server")
    return value


class Receiver:
    """An HTTP endpoint that keeps what is posted to it."""

    def __init__(self):
        self.deliveries = deliveries = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                deliveries.put((self.headers["x-chat_auth_token"], body.decode()))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/replies"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Smoke(unittest.TestCase):
    def setUp(self):
        self.client = switchboard_sdk.Client(variable("SWITCHBOARD_ENDPOINT"), variable("SWITCHBOARD_API_KEY"))
        self.addCleanup(self.client.close)

    def create_agent(self, name):
        agent = agents_pb2.Agent(display_name=name, engine=agents_pb2.Engine(vendor="mock"))
        return self.client.agents.CreateAgent(agents_pb2.CreateAgentRequest(agent=agent)).agent

    def test_a_message_is_answered_and_the_answer_delivered(self):
        receiver = Receiver()
        self.addCleanup(receiver.close)
        agent = self.create_agent("Python smoke")
        channel = channels_pb2.Channel(display_name="Python smoke", agent_id=agent.id, url=receiver.url)
        created = self.client.channels.CreateChannel(channels_pb2.CreateChannelRequest(channel=channel))

        # The first message of a stream is a heartbeat: from here on no event is missed.
        events = self.client.events.Watch(events_pb2.WatchRequest(), timeout=30)
        self.addCleanup(events.cancel)
        self.assertFalse(next(events).HasField("event"))

        received = self.client.webhooks.ReceiveMessage(
            webhooks_pb2.ReceiveMessageRequest(
                channel_id=created.channel.id,
                message_id="python-1",
                text=QUESTION,
                sender=webhooks_pb2.MESSAGE_SENDER_CUSTOMER,
            )
        )
        self.assertEqual(received.outcome, webhooks_pb2.INBOUND_OUTCOME_RECORDED)

        reply = next(
            each.event.message.text
            for each in events
            if each.event.dialogue_id == received.dialogue_id and each.event.type == "message.replied"
        )
        self.assertIn(QUESTION, reply)

        token, body = receiver.deliveries.get(timeout=30)
        self.assertEqual(token, f"Bearer {created.token}")
        self.assertIn(QUESTION, body)

    def test_errors_say_why(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.client.agents.GetAgent(agents_pb2.GetAgentRequest(id="01890000-0000-7000-8000-000000000000"))
        self.assertEqual(switchboard_sdk.reason(caught.exception), "AGENT_NOT_FOUND")
        self.assertEqual(switchboard_sdk.field_violations(caught.exception), [])
        self.assertIsNone(switchboard_sdk.retry_after(caught.exception))

        with self.assertRaises(grpc.RpcError) as caught:
            self.client.agents.CreateAgent(agents_pb2.CreateAgentRequest(agent=agents_pb2.Agent()))
        self.assertEqual(switchboard_sdk.reason(caught.exception), "FIELD_INVALID")
        violations = switchboard_sdk.field_violations(caught.exception)
        self.assertIn("agent.engine", [each.field for each in violations])
        self.assertTrue(all(each.description for each in violations))

    def test_another_error_has_no_reason(self):
        self.assertEqual(switchboard_sdk.reason(ValueError("no call")), "")
        self.assertEqual(switchboard_sdk.field_violations(ValueError("no call")), [])
        self.assertIsNone(switchboard_sdk.retry_after(ValueError("no call")))

    def test_a_stream_sends_the_key_too(self):
        endpoint = variable("SWITCHBOARD_ENDPOINT")
        with switchboard_sdk.Client(endpoint, "not-a-key") as stranger, self.assertRaises(grpc.RpcError) as caught:
            next(stranger.events.Watch(events_pb2.WatchRequest(), timeout=30))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED)
        self.assertNotIn(switchboard_sdk.reason(caught.exception), ("", "AUTH_MISSING"))

    def test_a_unary_call_has_a_deadline_and_a_stream_none(self):
        # It takes connections and never says a word.
        with socket.create_server(("127.0.0.1", 0)) as silent:
            endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with switchboard_sdk.Client(endpoint, "key", timeout=0.2) as hurried:
                events = hurried.events.Watch(events_pb2.WatchRequest())
                with self.assertRaises(grpc.RpcError) as caught:
                    hurried.agents.ListAgents(agents_pb2.ListAgentsRequest())
                self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
                self.assertEqual(switchboard_sdk.reason(caught.exception), "")
                self.assertIsNone(events.time_remaining())
                events.cancel()

    def test_pages_read_the_whole_list(self):
        created = [self.create_agent("Python pages").id for _ in range(3)]
        request = agents_pb2.ListAgentsRequest(page_size=1)
        listed = [agent.id for agent in switchboard_sdk.pages(self.client.agents.ListAgents, request)]
        for each in created:
            self.assertEqual(listed.count(each), 1)
        self.assertEqual(request.page_token, "")

    def test_an_endpoint_that_is_none_is_refused(self):
        for endpoint in ("127.0.0.1:50051", "ftp://localhost", "http://", "http://localhost/api", "http://a@localhost"):
            with self.subTest(endpoint), self.assertRaises(ValueError):
                switchboard_sdk.Client(endpoint, "key")


if __name__ == "__main__":
    unittest.main()
