"""A client for a Switchboard server. The messages of the contract are in ``switchboard.v1``."""

from switchboard_sdk.client import Client
from switchboard_sdk.errors import FieldViolation, field_violations, metadata, reason, retry_after
from switchboard_sdk.pages import pages

__all__ = ["Client", "FieldViolation", "field_violations", "metadata", "pages", "reason", "retry_after"]
