//! What the vendors of models add to a refusal: in headers, whether trying again can help and when; in the body, a code.

use std::time::Duration;

use domain::vendor::{Retry, VendorError};
use http::HeaderMap;

/// The longest code that is repeated in an error.
const MAX_CODE_CHARS: usize = 64;

/// Reads `retry-after-ms`, which is finer than `Retry-After`, and `x-should-retry`, by which a vendor has the last word.
pub(crate) fn advise(error: &mut VendorError, headers: &HeaderMap) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let milliseconds = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok());
    let pause = milliseconds.and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok());
    if let Some(pause) = pause.filter(|pause| !pause.is_zero())
        && error.retry != Retry::Never
    {
        error.retry = Retry::After(pause.min(Duration::from_hours(24)));
    }
    match text("x-should-retry") {
        Some("false") => error.retry = Retry::Never,
        Some("true") if error.retry == Retry::Never => error.retry = Retry::Backoff,
        _ => {}
    }
}

/// Adds the vendor's code and the number of the request to the sentence, where they are what they should be.
pub(crate) fn name(error: &mut VendorError, code: Option<&str>, request_id: Option<&str>) {
    let fits = |text: &&str| {
        (1..=MAX_CODE_CHARS).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
    };
    let code = code.filter(fits).map(str::to_owned);
    let request = request_id.filter(fits).map(|id| format!("request {id}"));
    let named: Vec<_> = code.into_iter().chain(request).collect();
    if !named.is_empty() {
        error.detail = format!("{} ({})", error.detail, named.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use domain::vendor::{Applied, FailureKind};

    use super::*;

    #[test]
    fn headers_have_the_last_word() {
        let after = |ms| Retry::After(Duration::from_millis(ms));
        for (before, headers, expected) in [
            (Retry::Backoff, &[("retry-after-ms", "250")][..], after(250)),
            (Retry::Never, &[("retry-after-ms", "250")], Retry::Never),
            (Retry::Backoff, &[("retry-after-ms", "0")], Retry::Backoff),
            (Retry::Backoff, &[("retry-after-ms", "-1")], Retry::Backoff),
            (after(5), &[("x-should-retry", "false")], Retry::Never),
            (Retry::Never, &[("x-should-retry", "true")], Retry::Backoff),
            (after(5), &[("x-should-retry", "true")], after(5)),
            (after(5), &[("x-should-retry", "maybe")], after(5)),
        ] {
            let mut error = VendorError {
                vendor: "x",
                operation: "y",
                kind: FailureKind::Other,
                http_status: None,
                detail: "x answered 429".into(),
                excerpt: None,
                applied: Applied::No,
                retry: before,
            };
            let map = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            advise(&mut error, &map.collect());
            assert_eq!(error.retry, expected, "{headers:?}");
            name(&mut error, Some("slow_down"), Some("a b"));
            assert_eq!(error.detail, "x answered 429 (slow_down)");
        }
    }
}
