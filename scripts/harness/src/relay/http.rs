//! As much of HTTP/1.1 as a relay needs (RFC 9112): heads, and bodies by length, in chunks, or until the end.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Longest head in bytes.
const MAX_HEAD: u64 = 64 << 10;
/// Longest body in bytes.
const MAX_BODY: usize = 64 << 20;

/// A request or a response.
#[derive(Debug, Clone)]
pub struct Message {
    /// Request line or status line.
    pub start: String,
    /// Name and value, in order.
    pub headers: Vec<(String, String)>,
    /// The whole body, without chunking.
    pub body: Vec<u8>,
    // A response without a body must not be given a length (1xx, 204, answers to HEAD keep theirs).
    bodiless: bool,
    closes: bool,
}

impl Message {
    /// A JSON response.
    pub fn answer(status: u16, body: Vec<u8>) -> Self {
        let mut message = Self {
            start: format!("HTTP/1.1 {status} Relay"),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: Vec::new(),
            bodiless: false,
            closes: false,
        };
        message.set_body(body);
        message
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Removes a header.
    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// Gives it another body and the length that goes with it.
    pub fn set_body(&mut self, body: Vec<u8>) {
        self.remove("content-length");
        self.remove("transfer-encoding");
        self.headers.push(("content-length".to_owned(), body.len().to_string()));
        self.bodiless = false;
        self.body = body;
    }

    /// Whether the connection ends after it.
    pub fn closes(&self) -> bool {
        self.closes || self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The head alone.
    pub fn head(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// All of it, as it is sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        if !self.bodiless {
            bytes.extend(&self.body);
        }
        bytes
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        self.start.split(' ').nth(1).and_then(|status| status.parse().ok())
    }
}

async fn line(from: &mut (impl AsyncBufRead + Unpin), left: &mut u64) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = (&mut *from).take(*left).read_until(b'\n', &mut bytes).await?;
    *left = left.saturating_sub(read as u64);
    if bytes.is_empty() {
        return Ok(None);
    }
    ensure!(bytes.ends_with(b"\n"), "a head ends early or is too long");
    Ok(Some(String::from_utf8(bytes)?.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Reads a request (`answers` is none) or the response to a request of that method. `None` where the connection ends before it.
pub async fn read(from: &mut (impl AsyncBufRead + Unpin), answers: Option<&str>) -> Result<Option<Message>> {
    let mut left = MAX_HEAD;
    let Some(start) = line(from, &mut left).await? else { return Ok(None) };
    let mut headers = Vec::new();
    loop {
        let text = line(from, &mut left).await?.context("a head ends early")?;
        if text.is_empty() {
            break;
        }
        let (name, value) = text.split_once(':').context("a header without a colon")?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut message = Message { start, headers, body: Vec::new(), bodiless: false, closes: false };
    let status = message.status().filter(|_| answers.is_some());
    let bodiless = status.is_some_and(|status| (100..200).contains(&status) || [204, 304].contains(&status));
    if bodiless || answers == Some("HEAD") {
        message.bodiless = true;
        return Ok(Some(message));
    }
    let length = message.header("content-length").map(str::parse::<usize>).transpose()?;
    let chunked =
        message.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    if chunked {
        let body = chunks(from).await?;
        message.set_body(body);
    } else if let Some(length) = length {
        ensure!(length <= MAX_BODY, "a body is too long");
        message.body = vec![0; length];
        from.read_exact(&mut message.body).await?;
    } else if status.is_some() {
        let mut body = Vec::new();
        (&mut *from).take(MAX_BODY as u64).read_to_end(&mut body).await?;
        message.set_body(body);
        message.closes = true;
    }
    Ok(Some(message))
}

async fn chunks(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(from, &mut MAX_HEAD.clone()).await?.context("a chunk ends early")?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)?;
        if body.len() + size > MAX_BODY {
            bail!("a body is too long");
        }
        let begun = body.len();
        body.resize(begun + size, 0);
        from.read_exact(body.get_mut(begun..).unwrap_or_default()).await?;
        // The line end after a chunk; after the last one trailers and an empty line.
        while let Some(text) = line(from, &mut MAX_HEAD.clone()).await? {
            if text.is_empty() {
                break;
            }
        }
        if size == 0 {
            return Ok(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_chunked_body_becomes_one_with_a_length() {
        let text =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nrest";
        let mut from: &[u8] = text;
        let message = read(&mut from, Some("GET")).await.unwrap().unwrap();
        assert_eq!(message.to_bytes(), b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde");
        assert_eq!(from, b"rest");
    }

    #[tokio::test]
    async fn a_body_too_long_and_a_cut_head_are_errors() {
        let long = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", MAX_BODY + 1);
        assert!(read(&mut long.as_bytes(), None).await.is_err());
        assert!(read(&mut &b"POST / HTTP/1.1\r\nA: b\r\n"[..], None).await.is_err());
        assert!(read(&mut &b""[..], None).await.unwrap().is_none());
    }
}
