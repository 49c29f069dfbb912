//! Which browsers may call, from where, and what their scripts may send and read.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// What is allowed on a door, beside what all have.
pub(crate) struct Door<'a> {
    pub(crate) method: Method,
    pub(crate) may_send: &'a [&'static str],
    pub(crate) may_read: &'a [&'static str],
}

/// Lets browsers in from these origins, or from localhost alone where none is named.
pub(crate) fn layer(origins: &[String], door: Door<'_>) -> CorsLayer {
    let names =
        |names: &[&'static str]| names.iter().copied().map(HeaderName::from_static).collect::<Vec<_>>();
    let origins = origins.to_vec();
    let may_send = [header::CONTENT_TYPE, header::AUTHORIZATION].into_iter().chain(names(door.may_send));
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| is_allowed(&origins, origin)))
        .allow_methods([door.method])
        .max_age(Duration::from_mins(10))
        .allow_headers(may_send.collect::<Vec<_>>())
        .expose_headers(names(door.may_read))
}

fn is_allowed(origins: &[String], origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    if origins.is_empty() {
        let host = origin.split_once("://").map_or("", |(_, rest)| rest);
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        return matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    }
    origins.iter().any(|each| each == "*" || each == origin)
}
