//! The way over Tor: a SOCKS proxy of our own stands in for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aegis_server::outside::{Call, Door, OutsideError};
use reqwest::header::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Mode, Receiver, Scripted, door_with};

/// Hosts and ports that were asked for.
type Asked = Arc<Mutex<Vec<(String, u16)>>>;

/// A SOCKS5 proxy (RFC 1928) that takes names only, and answers every request on its own.
async fn proxy() -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, asked) = (format!("socks5h://{}", listener.local_addr().unwrap()), Asked::default());
    let told = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&told)));
        }
    });
    (url, asked)
}

async fn serve(mut stream: TcpStream, asked: Asked) -> Option<()> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.ok()?;
    stream.read_exact(&mut vec![0; usize::from(head[1])]).await.ok()?;
    stream.write_all(&[5, 0]).await.ok()?;
    let mut request = [0; 5];
    stream.read_exact(&mut request).await.ok()?;
    assert_eq!(request[..4], [5, 1, 0, 3], "not a connection by name");
    let mut name = vec![0; usize::from(request[4])];
    stream.read_exact(&mut name).await.ok()?;
    let port = stream.read_u16().await.ok()?;
    asked.lock().unwrap().push((String::from_utf8(name).unwrap(), port));
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|four| four == b"\r\n\r\n") {
        stream.read_buf(&mut bytes).await.ok()?;
    }
    stream.write_all(b"HTTP/1.1 204 x\r\nconnection: close\r\n\r\n").await.ok()
}

async fn call(door: &Door, url: &str, by_tor: bool) -> Result<u16, OutsideError> {
    let call = Call { url, by_tor, headers: HeaderMap::new(), body: vec![], within: Duration::from_secs(30) };
    door.post(call).await.map(|answer| answer.status())
}

#[tokio::test]
async fn onion_hosts_and_whoever_wants_it_go_by_tor_and_no_name_is_looked_up_here() {
    let (url, asked) = proxy().await;
    let lookup = Scripted::new(&[&["127.0.0.1"]]);
    let settings = [("AEGIS_TOR_PROXY", url.as_str()), ("AEGIS_OUTSIDE_ALLOW", "127.0.0.1/32")];
    let door = door_with(&settings, Arc::clone(&lookup) as _);
    assert_eq!(call(&door, "http://abc.onion/hook", false).await, Ok(204));
    assert_eq!(call(&door, "http://a.example:8080/hook", true).await, Ok(204));
    let asked_for = [("abc.onion".to_owned(), 80), ("a.example".to_owned(), 8080)];
    assert_eq!(*asked.lock().unwrap(), asked_for);
    assert_eq!(lookup.asked(), 0);
    // Everybody else goes directly.
    let receiver = Receiver::start(Mode::status(200)).await;
    assert_eq!(call(&door, &receiver.url(), false).await, Ok(200));
    assert_eq!(asked.lock().unwrap().len(), 2);
    // Inner addresses are inner ones by Tor as well.
    for inside in ["http://10.0.0.1/", "http://[::1]/", "http://localhost/"] {
        assert_eq!(call(&door, inside, true).await, Err(OutsideError::Address), "{inside}");
    }
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn without_tor_nothing_that_needs_it_is_called() {
    let receiver = Receiver::start(Mode::status(200)).await;
    let lookup = Scripted::new(&[&["127.0.0.1"]]);
    let door = door_with(&[("AEGIS_OUTSIDE_ALLOW", "127.0.0.1/32")], Arc::clone(&lookup) as _);
    for (url, by_tor) in
        [("http://abc.onion/", false), ("http://sub.abc.ONION:8080/", false), (&receiver.url(), true)]
    {
        assert_eq!(call(&door, url, by_tor).await, Err(OutsideError::TorOff), "{url}");
        assert_eq!(door.judge(url, by_tor).map(drop), Err(OutsideError::TorOff));
    }
    assert_eq!(lookup.asked(), 0);
    receiver.assert_untouched().await;
}
