//! A list of any length as one stream.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::{self, BoxStream, Stream, StreamExt as _, TryStreamExt as _};
use tonic::Status;

use crate::{Error, Retries};

/// The items of a list, page after page; each page is asked for when the one before is used up.
///
/// It is a [`Stream`], and [`next`](Pages::next) reads it without one's traits. After an error it ends.
#[must_use = "nothing is asked for until it is read"]
pub struct Pages<T> {
    items: BoxStream<'static, Result<T, Error>>,
}

/// Reads a list to its end. The closure takes a `page_token`, at first an empty one, makes the call with it, and gives
/// the page's items and its `next_page_token`.
///
/// A page that fails is asked for again as [`Retries`] says, because reading is harmless.
///
/// ```no_run
/// # async fn example(client: switchboard_sdk::Client) -> Result<(), switchboard_sdk::Error> {
/// use switchboard_sdk::{pages, v1::ListAgentsRequest};
///
/// let mut agents = pages(move |page_token| {
///     let mut agents = client.agents();
///     async move {
///         let page = agents.list_agents(ListAgentsRequest { page_size: 100, page_token }).await?.into_inner();
///         Ok((page.agents, page.next_page_token))
///     }
/// });
/// while let Some(agent) = agents.next().await? {
///     println!("{}", agent.display_name);
/// }
/// # Ok(())
/// # }
/// ```
pub fn pages<T, Fetch, Page>(fetch: Fetch) -> Pages<T>
where
    T: Send + 'static,
    Fetch: FnMut(String) -> Page + Send + 'static,
    Page: Future<Output = Result<(Vec<T>, String), Status>> + Send + 'static,
{
    pages_with(Retries::default(), fetch)
}

fn pages_with<T, Fetch, Page>(retries: Retries, fetch: Fetch) -> Pages<T>
where
    T: Send + 'static,
    Fetch: FnMut(String) -> Page + Send + 'static,
    Page: Future<Output = Result<(Vec<T>, String), Status>> + Send + 'static,
{
    let whole = stream::try_unfold((Some(String::new()), fetch), move |(token, mut fetch)| async move {
        let Some(token) = token else { return Ok(None) };
        let (items, next) = retries.run(|| fetch(token.clone())).await?;
        if !next.is_empty() && next == token {
            // Going on would read the same page for ever.
            return Err(Error::from(Status::internal("the page after a page has the same token")));
        }
        let next = (!next.is_empty()).then_some(next);
        Ok(Some((VecDeque::from(items), (next, fetch))))
    });
    let items = whole.map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten();
    Pages { items: items.boxed() }
}

impl<T> Pages<T> {
    /// The next item; `None` at the end of the list.
    ///
    /// # Errors
    ///
    /// When the next page can't be read.
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        self.items.try_next().await
    }

    /// All items that are left. Mind the memory: a list has no upper limit.
    ///
    /// # Errors
    ///
    /// When a page can't be read; what was read before it is lost.
    pub async fn collect(self) -> Result<Vec<T>, Error> {
        self.items.try_collect().await
    }
}

impl<T> Stream for Pages<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.as_mut().poll_next(context)
    }
}

impl<T> fmt::Debug for Pages<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pages").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn pages_are_read_one_by_one_and_empty_ones_do_not_end_the_list() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let mut items = pages(move |token| {
            seen.lock().unwrap().push(token.clone());
            async move {
                Ok(match token.as_str() {
                    "" => (vec![1, 2], "a".to_owned()),
                    "a" => (vec![], "b".to_owned()),
                    _ => (vec![3], String::new()),
                })
            }
        });
        assert_eq!(items.next().await.unwrap(), Some(1));
        assert_eq!(*asked.lock().unwrap(), [""], "the second page is not asked for before it is needed");
        assert_eq!(items.collect().await.unwrap(), [2, 3]);
        assert_eq!(*asked.lock().unwrap(), ["", "a", "b"]);
    }

    #[tokio::test]
    async fn an_error_ends_the_list() {
        let mut items = pages(|token| async move {
            if token.is_empty() { Ok((vec![1], "a".to_owned())) } else { Err(Status::not_found("gone")) }
        });
        assert_eq!(items.next().await.unwrap(), Some(1));
        assert_eq!(items.next().await.unwrap_err().code(), Code::NotFound);
        assert_eq!(items.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_page_is_asked_for_again() {
        let soon = Retries { first_wait: Duration::from_millis(1), ..Retries::default() };
        let tries = Arc::new(Mutex::new(0));
        let items = pages_with(soon, move |_| {
            let mut tries = tries.lock().unwrap();
            *tries += 1;
            let answer =
                if *tries < 3 { Err(Status::unavailable("stopping")) } else { Ok((vec![1], String::new())) };
            async { answer }
        });
        assert_eq!(items.collect().await.unwrap(), [1]);
    }

    #[tokio::test]
    async fn a_token_that_stays_is_an_error() {
        let items = pages(|_| async { Ok((vec![1], "same".to_owned())) });
        assert_eq!(items.collect().await.unwrap_err().code(), Code::Internal);
    }
}
