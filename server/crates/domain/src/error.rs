//! What can go wrong, in the words of the contract.

use std::{collections::BTreeMap, fmt, time::Duration};

/// The canonical gRPC codes that we use, by name, without tonic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request itself is wrong.
    InvalidArgument,
    /// A position lies outside what exists.
    OutOfRange,
    /// No usable credentials.
    Unauthenticated,
    /// Credentials without the right.
    PermissionDenied,
    /// No such resource that the caller may see.
    NotFound,
    /// It exists, with other content.
    AlreadyExists,
    /// The resource's state forbids it.
    FailedPrecondition,
    /// Too much, too big.
    ResourceExhausted,
    /// Not now; trying again helps.
    Unavailable,
    /// It took too long.
    DeadlineExceeded,
    /// A method or capability that is not there.
    Unimplemented,
    /// A mistake of ours.
    Internal,
}

macro_rules! reasons {
    ($($name:ident = $text:literal, $kind:ident;)+) => {
        /// Why a call failed; `proto/switchboard/v1/error_reason.proto` documents each with its body.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the contract documents each reason, with an example")]
        pub enum Reason { $($name,)+ }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Reason] = &[$(Reason::$name,)+];

            /// The name in the contract, without its `ERROR_REASON_`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => $text,)+ }
            }

            /// The kind of failure it is.
            pub const fn kind(self) -> Kind {
                match self { $(Reason::$name => Kind::$kind,)+ }
            }
        }
    };
}

reasons! {
    FieldInvalid = "FIELD_INVALID", InvalidArgument;
    FieldMaskInvalid = "FIELD_MASK_INVALID", InvalidArgument;
    PageTokenInvalid = "PAGE_TOKEN_INVALID", InvalidArgument;
    CursorInvalid = "CURSOR_INVALID", InvalidArgument;
    CursorAhead = "CURSOR_AHEAD", OutOfRange;
    CursorExpired = "CURSOR_EXPIRED", OutOfRange;
    RequestIdReused = "REQUEST_ID_REUSED", AlreadyExists;
    AuthMissing = "AUTH_MISSING", Unauthenticated;
    AuthMalformed = "AUTH_MALFORMED", Unauthenticated;
    TokenUnknown = "TOKEN_UNKNOWN", Unauthenticated;
    SignatureInvalid = "SIGNATURE_INVALID", Unauthenticated;
    ScopeMissing = "SCOPE_MISSING", PermissionDenied;
    WorkspaceNotFound = "WORKSPACE_NOT_FOUND", NotFound;
    ApiKeyNotFound = "API_KEY_NOT_FOUND", NotFound;
    AgentNotFound = "AGENT_NOT_FOUND", NotFound;
    ChannelNotFound = "CHANNEL_NOT_FOUND", NotFound;
    DialogueNotFound = "DIALOGUE_NOT_FOUND", NotFound;
    TurnNotFound = "TURN_NOT_FOUND", NotFound;
    DeliveryNotFound = "DELIVERY_NOT_FOUND", NotFound;
    InboundWebhookNotFound = "INBOUND_WEBHOOK_NOT_FOUND", NotFound;
    EndpointNotFound = "ENDPOINT_NOT_FOUND", NotFound;
    DispatchNotFound = "DISPATCH_NOT_FOUND", NotFound;
    EventNotFound = "EVENT_NOT_FOUND", NotFound;
    IntegrationNotFound = "INTEGRATION_NOT_FOUND", NotFound;
    IntegrationInUse = "INTEGRATION_IN_USE", FailedPrecondition;
    SecretKeyMissing = "SECRET_KEY_MISSING", FailedPrecondition;
    VendorRefused = "VENDOR_REFUSED", FailedPrecondition;
    VendorUnavailable = "VENDOR_UNAVAILABLE", Unavailable;
    AuthorizationInvalid = "AUTHORIZATION_INVALID", InvalidArgument;
    AuthorizationRefused = "AUTHORIZATION_REFUSED", FailedPrecondition;
    CrmLeadNotFound = "CRM_LEAD_NOT_FOUND", NotFound;
    CrmContactNotFound = "CRM_CONTACT_NOT_FOUND", NotFound;
    SourceNotFound = "SOURCE_NOT_FOUND", NotFound;
    CapabilityMissing = "CAPABILITY_MISSING", Unimplemented;
    ClockNotSimulated = "CLOCK_NOT_SIMULATED", FailedPrecondition;
    RouteNotFound = "ROUTE_NOT_FOUND", NotFound;
    MethodNotAllowed = "METHOD_NOT_ALLOWED", Unimplemented;
    AgentInUse = "AGENT_IN_USE", FailedPrecondition;
    ChannelInactive = "CHANNEL_INACTIVE", FailedPrecondition;
    DeliveryNotDead = "DELIVERY_NOT_DEAD", FailedPrecondition;
    DeliveryNotHeld = "DELIVERY_NOT_HELD", FailedPrecondition;
    DispatchNotDead = "DISPATCH_NOT_DEAD", FailedPrecondition;
    EndpointLimitReached = "ENDPOINT_LIMIT_REACHED", FailedPrecondition;
    MessageConflict = "MESSAGE_CONFLICT", AlreadyExists;
    TargetForbidden = "TARGET_FORBIDDEN", InvalidArgument;
    BodyTooLarge = "BODY_TOO_LARGE", ResourceExhausted;
    BodyTimeout = "BODY_TIMEOUT", DeadlineExceeded;
    ContentTypeUnsupported = "CONTENT_TYPE_UNSUPPORTED", InvalidArgument;
    Overloaded = "OVERLOADED", Unavailable;
    Unavailable = "UNAVAILABLE", Unavailable;
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded;
    Internal = "INTERNAL", Internal;
}

/// One bad field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field's path in the request, such as `agent.engine.vendor`.
    pub field: String,
    /// What is wrong and what would be right, to be read after the field's name.
    pub detail: String,
}

impl FieldViolation {
    /// Names a field and what is wrong with it.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }
}

/// A failure that the caller is told about, whole. It never carries driver text, secrets or message text.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    /// Why, for programs.
    pub reason: Reason,
    /// One sentence for people, with the remedy.
    pub detail: String,
    /// The bad fields, when it is about fields.
    pub fields: Vec<FieldViolation>,
    /// Further facts for programs.
    pub metadata: BTreeMap<String, String>,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// A failure with its sentence.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            fields: Vec::new(),
            metadata: BTreeMap::new(),
            retry_after: None,
        }
    }

    /// A missing resource: `noun` as people call it.
    pub fn not_found(reason: Reason, noun: &str, id: impl fmt::Display) -> Self {
        Self::new(reason, format!("{noun} {id} was not found"))
    }

    /// Bad fields, all of them.
    pub fn fields(reason: Reason, fields: Vec<FieldViolation>) -> Self {
        let detail = match fields.as_slice() {
            [one] => format!("{}: {}", one.field, one.detail),
            many => format!("{} fields are not valid", many.len()),
        };
        Self { fields, ..Self::new(reason, detail) }
    }

    /// One bad field.
    pub fn field(reason: Reason, field: &str, detail: impl Into<String>) -> Self {
        Self::fields(reason, vec![FieldViolation::new(field, detail)])
    }

    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Says when trying again makes sense.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// The kind of failure it is.
    pub const fn kind(&self) -> Kind {
        self.reason.kind()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Error {}

/// Gathers the bad fields of a request, so that all are named at once.
#[derive(Debug, Default)]
pub struct Violations(Vec<FieldViolation>);

impl Violations {
    /// Notes a bad field.
    pub fn add(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.0.push(FieldViolation::new(field, detail));
    }

    /// Notes the field when the condition does not hold.
    pub fn require(&mut self, holds: bool, field: &str, detail: &str) {
        if !holds {
            self.add(field, detail);
        }
    }

    /// Fails with all that was noted, if anything was; else gives the value, whose absence must have been noted.
    pub fn finish_with<T>(self, value: Option<T>) -> Result<T, Error> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Error::fields(Reason::FieldInvalid, self.0)),
        }
    }

    /// Fails with all that was noted, if anything was.
    pub fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::fields(Reason::FieldInvalid, self.0)) }
    }
}
