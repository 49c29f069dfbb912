//! Pages of lists: the token holds the key after which the next page begins, and a hash of the filter.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{Error, Reason};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

/// What a caller asked for.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// How many at most; 0: the default.
    pub size: i32,
    /// The token of the page before; empty: the first page.
    pub token: String,
}

impl PageRequest {
    const DEFAULT: i32 = 50;
    const MAX: i32 = 1_000;

    /// How many rows to return at most.
    ///
    /// # Errors
    /// `FIELD_INVALID` on `page_size` when it is negative.
    pub fn limit(&self) -> Result<usize, Error> {
        match self.size {
            0 => Ok(Self::DEFAULT as usize),
            size => usize::try_from(size.min(Self::MAX)).map_err(|_| {
                Error::field(
                    Reason::FieldInvalid,
                    "page_size",
                    "must not be negative; 0 gives the default of 50",
                )
            }),
        }
    }

    /// The key after which the page begins. `filter` is all that selects the list, besides size and token.
    ///
    /// # Errors
    /// `PAGE_TOKEN_INVALID`: it is not one of ours, or of a list with other filters.
    pub fn after<K: DeserializeOwned>(&self, filter: &impl Serialize) -> Result<Option<K>, Error> {
        if self.token.is_empty() {
            return Ok(None);
        }
        let refuse = |why: &str| {
            Error::field(
                Reason::PageTokenInvalid,
                "page_token",
                format!("{why}; ask for the first page again"),
            )
        };
        let bytes = URL_SAFE_NO_PAD.decode(&self.token).map_err(|_| refuse("is not a page token"))?;
        let (hash, key): (String, serde_json::Value) =
            serde_json::from_slice(&bytes).map_err(|_| refuse("is not a page token"))?;
        if hash != filter_hash(filter) {
            return Err(refuse("belongs to a list with other filters"));
        }
        serde_json::from_value(key).map(Some).map_err(|_| refuse("belongs to another list"))
    }
}

/// One page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// Its items.
    pub items: Vec<T>,
    /// The token of the next page; empty: this is the last.
    pub next_token: String,
}

impl<T> Page<T> {
    /// Makes a page of rows, of which one more was read than asked for, if there is one more.
    pub fn cut<K: Serialize>(
        mut items: Vec<T>,
        limit: usize,
        filter: &impl Serialize,
        key: impl FnOnce(&T) -> K,
    ) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next_token = match items.last() {
            Some(last) if more => URL_SAFE_NO_PAD.encode(
                serde_json::to_vec(&(filter_hash(filter), key(last)))
                    .expect("keys and hashes are plain JSON"),
            ),
            _ => String::new(),
        };
        Self { items, next_token }
    }
}

fn filter_hash(filter: &impl Serialize) -> String {
    let text = serde_json::to_vec(filter).expect("filters are plain JSON");
    URL_SAFE_NO_PAD.encode(&Sha256::digest(&text)[..9])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(size: i32, token: &str) -> PageRequest {
        PageRequest { size, token: token.to_owned() }
    }

    #[test]
    fn a_token_reads_back_with_its_filter_only() {
        let page = Page::cut(vec![1, 2, 3], 2, &("list", 7), |item| *item);
        assert_eq!(page.items, [1, 2]);
        let next = request(2, &page.next_token);
        assert_eq!(next.after::<i32>(&("list", 7)).unwrap(), Some(2));
        assert_eq!(next.after::<i32>(&("list", 8)).unwrap_err().reason, Reason::PageTokenInvalid);
        assert_eq!(next.after::<String>(&("list", 7)).unwrap_err().reason, Reason::PageTokenInvalid);
        assert_eq!(request(0, "rubbish").after::<i32>(&1).unwrap_err().reason, Reason::PageTokenInvalid);
        assert_eq!(Page::cut(vec![1, 2], 2, &(), |item| *item).next_token, "");
    }

    proptest::proptest! {
        #[test]
        fn no_token_at_all_does_harm(bytes: Vec<u8>, text: String) {
            for token in [URL_SAFE_NO_PAD.encode(&bytes), text] {
                let _ = request(0, &token).after::<uuid::Uuid>(&("list", 7));
            }
        }
    }

    #[test]
    fn sizes_have_a_default_a_ceiling_and_no_negatives() {
        assert_eq!(request(0, "").limit().unwrap(), 50);
        assert_eq!(request(5_000, "").limit().unwrap(), 1_000);
        assert_eq!(request(-1, "").limit().unwrap_err().fields[0].field, "page_size");
    }
}
