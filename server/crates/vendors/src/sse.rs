//! Server-sent events, as vendors of models write them.
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream> (read 2026-11-20)
//!
//! Lines end with LF, CR or CRLF; an event may have many `data` lines; comments and unknown fields mean nothing. Where
//! chunks of the connection end does not matter. What a stream leaves unfinished at its end is given as an event: some
//! servers save themselves the last blank line.

/// Reads a stream of events.
#[derive(Debug)]
pub(crate) struct Parser {
    /// The beginning of a line whose end hasn't come.
    line: Vec<u8>,
    /// Whether the last byte was a CR, so that an LF belongs to it.
    after_cr: bool,
    /// Whether nothing has been read yet: then a byte order mark may come.
    begins: bool,
    name: String,
    data: String,
    has_data: bool,
    most_bytes: usize,
}

/// A stream that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    /// A line, or the data of an event, is longer than the bound.
    #[error("an event is longer than {0} bytes")]
    TooLong(usize),
    /// Events are UTF-8.
    #[error("an event is not UTF-8")]
    NotUtf8,
}

impl Parser {
    /// Makes a parser that takes events of up to so many bytes.
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self {
            line: Vec::new(),
            after_cr: false,
            begins: true,
            name: String::new(),
            data: String::new(),
            has_data: false,
            most_bytes,
        }
    }

    /// Reads a chunk, and tells of each event that it completes: its name, empty where it has none, and its data.
    pub(crate) fn feed<E: From<Wrong>>(
        &mut self,
        mut chunk: &[u8],
        mut each: impl FnMut(&str, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.after_cr && !chunk.is_empty() {
            self.after_cr = false;
            chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', chunk) {
            let (line, rest) = (&chunk[..end], &chunk[end + 1..]);
            chunk = if chunk[end] == b'\r' {
                self.after_cr = rest.is_empty();
                rest.strip_prefix(b"\n").unwrap_or(rest)
            } else {
                rest
            };
            if self.line.is_empty() {
                self.take(line, &mut each)?;
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.take(&whole, &mut each)?;
                whole.clear();
                self.line = whole;
            }
        }
        self.line.extend_from_slice(chunk);
        if self.line.len() > self.most_bytes {
            return Err(Wrong::TooLong(self.most_bytes).into());
        }
        Ok(())
    }

    /// The stream has ended.
    pub(crate) fn finish<E: From<Wrong>>(
        &mut self,
        mut each: impl FnMut(&str, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.take(&line, &mut each)?;
        }
        self.take(b"", &mut each)
    }

    /// Takes a line without its end.
    fn take<E: From<Wrong>>(
        &mut self,
        line: &[u8],
        each: &mut impl FnMut(&str, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        let line = if std::mem::take(&mut self.begins) {
            line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line)
        } else {
            line
        };
        if line.is_empty() {
            let told = if self.has_data { each(&self.name, &self.data) } else { Ok(()) };
            self.name.clear();
            self.data.clear();
            self.has_data = false;
            return told;
        }
        if line[0] == b':' {
            return Ok(());
        }
        let line = std::str::from_utf8(line).map_err(|_| Wrong::NotUtf8)?;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "event" => value.clone_into(&mut self.name),
            _ => {}
        }
        if self.data.len().max(line.len()) > self.most_bytes {
            return Err(Wrong::TooLong(self.most_bytes).into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Events = Vec<(String, String)>;

    fn parse(chunks: &[&[u8]], most_bytes: usize) -> Result<Events, Wrong> {
        let (mut parser, mut events) = (Parser::new(most_bytes), Events::new());
        let mut each = |name: &str, data: &str| {
            events.push((name.to_owned(), data.to_owned()));
            Ok(())
        };
        for chunk in chunks {
            parser.feed(chunk, &mut each)?;
        }
        parser.finish(&mut each)?;
        Ok(events)
    }

    fn data(text: &str) -> Vec<String> {
        parse(&[text.as_bytes()], 100).unwrap().into_iter().map(|(_, data)| data).collect()
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        assert_eq!(data("data: a\n\ndata:b\r\n\r\ndata:  c\r\rdata: d\n\n"), ["a", "b", " c", "d"]);
        assert_eq!(data(": hello\ndata: a\ndata: b\ndata\n\n"), ["a\nb\n"]);
        assert_eq!(data("\u{feff}data: a\n\n\n\n: ping\n\nid: 7\nretry: 10\nother: x\n\n"), ["a"]);
        assert_eq!(data("data: unfinished"), ["unfinished"]);
        assert_eq!(data(""), Vec::<String>::new());
        let named = parse(&[b"event: ping\n\nevent: a\ndata: 1\n\ndata: 2\n\n"], 100).unwrap();
        assert_eq!(named, [("a".into(), "1".into()), (String::new(), "2".into())]);
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        assert_eq!(parse(&[b"data: \xE4\n\n"], 100), Err(Wrong::NotUtf8));
        assert_eq!(parse(&[b"data: 0123", b"456789", b"0123456789"], 20), Err(Wrong::TooLong(20)));
        assert_eq!(parse(&[&b"data: 0\n".repeat(20)], 20), Err(Wrong::TooLong(20)));
        assert!(parse(&[&b": 0\n".repeat(20), b"data: 0\n\n"], 20).is_ok());
    }

    proptest! {
        #[test]
        fn where_chunks_end_does_not_matter(
            lines in prop::collection::vec("(data: ?|event: ?|: |id: |)[äö🦀a-c:\u{feff} ]{0,6}(\n|\r|\r\n)", 0..20),
            garbage in prop::collection::vec(any::<u8>(), 0..8),
            cuts in prop::collection::vec(0_usize..200, 0..12),
        ) {
            let mut bytes = lines.concat().into_bytes();
            bytes.extend(garbage);
            let whole = parse(&[&bytes], 1_000);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(parse(&chunks, 1_000), whole.clone());
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(parse(&single, 1_000), whole);
        }
    }
}
