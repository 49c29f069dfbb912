//! The wish of a server to be left alone for a while.

use std::time::Duration;

use domain::{Timestamp, vendor::Retry};
use http::{HeaderMap, header::RETRY_AFTER};

/// Longer wishes are mistakes; the retry schedule cuts them far below this anyway.
const LONGEST: Duration = Duration::from_hours(24 * 366);

/// Reads `Retry-After`, in seconds or as a date.
/// <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>
///
/// Without one that lies ahead the advice is our own schedule: a server that says `0` while it fails would otherwise use
/// up all tries in a moment.
pub(super) fn advice(headers: &HeaderMap, now: Timestamp) -> Retry {
    match headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| pause(text.trim(), now))
    {
        Some(pause) if !pause.is_zero() => Retry::After(pause.min(LONGEST)),
        _ => Retry::Backoff,
    }
}

fn pause(text: &str, now: Timestamp) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = Timestamp::from(httpdate::parse_http_date(text).ok()?);
    (date - now).try_into().ok()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn seconds_and_dates_are_honoured_and_nothing_else() {
        let now = datetime!(2026-11-21 12:00:00 UTC);
        let after = |seconds| Retry::After(Duration::from_secs(seconds));
        for (text, expected) in [
            ("7", after(7)),
            (" 120 ", after(120)),
            ("99999999999999999999999", after(366 * 24 * 3600)),
            ("Sat, 21 Nov 2026 12:00:30 GMT", after(30)),
            ("Saturday, 21-Nov-26 12:01:00 GMT", after(60)),
            ("Sat Nov 21 12:00:05 2026", after(5)),
            ("Sat, 21 Nov 2026 11:59:00 GMT", Retry::Backoff),
            ("0", Retry::Backoff),
            ("-1", Retry::Backoff),
            ("1.5", Retry::Backoff),
            ("soon", Retry::Backoff),
            ("", Retry::Backoff),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(advice(&headers, now), expected, "{text}");
        }
        assert_eq!(advice(&HeaderMap::new(), now), Retry::Backoff);
    }
}
