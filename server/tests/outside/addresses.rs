//! Server-side request forgery: every way to name an inner address, held against sockets that would notice a connection.

use std::sync::Arc;
use std::time::Duration;

use aegis_server::outside::{Call, Door, OutsideError, System};
use reqwest::header::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Mode, Receiver, Scripted, door, door_with};

async fn call(door: &Door, url: &str) -> Result<u16, OutsideError> {
    let call =
        Call { url, by_tor: false, headers: HeaderMap::new(), body: vec![], within: Duration::from_secs(30) };
    door.post(call).await.map(|answer| answer.status())
}

fn strict(answers: &[&[&str]]) -> (Door, Arc<Scripted>) {
    let lookup = Scripted::new(answers);
    (door_with(&[], Arc::clone(&lookup) as _), lookup)
}

#[tokio::test]
async fn an_inner_address_is_refused_however_it_is_written_and_nothing_is_connected() {
    let trap = Receiver::start(Mode::status(200)).await;
    let inner = Receiver::on("[::1]:0", Mode::status(200)).await;
    let (p, q) = (trap.address.port(), inner.address.port());
    let (door, lookup) = strict(&[&["8.8.8.8"]]);
    for url in [
        format!("http://127.0.0.1:{p}/"),
        format!("http://127.0.0.1.:{p}/"),
        format!("http://127.1:{p}/"),
        format!("http://127.0.1:{p}/"),
        format!("http://2130706433:{p}/"),
        format!("http://0x7f000001:{p}/"),
        format!("http://0x7f.0.0.1:{p}/"),
        format!("http://0X7F.1:{p}/"),
        format!("http://017700000001:{p}/"),
        format!("http://0177.0.0.1:{p}/"),
        format!("http://0177.0.0x0.1:{p}/"),
        format!("http://127.0.0.2:{p}/"),
        format!("http://0:{p}/"),
        format!("http://0.0.0.0:{p}/"),
        format!("http://127\u{3002}0\u{3002}0\u{3002}1:{p}/"),
        format!("http://127\u{ff0e}0\u{ff0e}0\u{ff0e}1:{p}/"),
        format!("http://127\u{ff61}0\u{ff61}0\u{ff61}1:{p}/"),
        format!("http://\u{ff11}\u{ff12}\u{ff17}.0.0.1:{p}/"),
        format!("http://%31%32%37.0.0.1:{p}/"),
        format!("http:\\\\127.0.0.1:{p}\\"),
        format!("http:127.0.0.1:{p}/"),
        format!("\thttp://127.0.\n0.1:{p}/ "),
        format!("HTTP://127.0.0.1:{p}/"),
        format!("http://@127.0.0.1:{p}/"),
        format!("http://[::1]:{q}/"),
        format!("http://[0:0:0:0:0:0:0:1]:{q}/"),
        format!("http://[::]:{q}/"),
        format!("http://[::ffff:127.0.0.1]:{p}/"),
        format!("http://[::ffff:7f00:1]:{p}/"),
        format!("http://[::127.0.0.1]:{p}/"),
        format!("http://[64:ff9b::127.0.0.1]:{p}/"),
        format!("http://[2002:7f00:1::]:{p}/"),
        format!("http://[2001:0:7f00:1::]:{p}/"),
        format!("http://[fe80::1]:{p}/"),
        format!("http://[fec0::1]:{p}/"),
        format!("http://[fd00::1]:{p}/"),
        format!("http://[ff02::1]:{p}/"),
        format!("http://localhost:{p}/"),
        format!("http://LocalHost:{p}/"),
        format!("http://LOC\u{ff21}LHOST:{p}/"),
        format!("http://a.localhost:{p}/"),
        format!("http://10.0.0.1:{p}/"),
        format!("http://192.168.0.1:{p}/"),
        format!("http://169.254.169.254:{p}/latest/meta-data"),
        format!("http://100.64.0.1:{p}/"),
        format!("http://255.255.255.255:{p}/"),
    ] {
        assert_eq!(call(&door, &url).await, Err(OutsideError::Address), "{url}");
    }
    assert_eq!(lookup.asked(), 0, "a name was looked up");
    trap.assert_untouched().await;
    inner.assert_untouched().await;
}

#[tokio::test]
async fn urls_with_logins_odd_ports_other_schemes_long_texts_and_trailing_dots_are_refused() {
    let trap = Receiver::start(Mode::status(200)).await;
    let p = trap.address.port();
    let (door, lookup) = strict(&[&["127.0.0.1"]]);
    let long = format!("http://a.example/{}", "x".repeat(500));
    for url in [
        &format!("http://user@127.0.0.1:{p}/"),
        &format!("http://user:pass@a.example:{p}/"),
        &format!("http://:pass@a.example:{p}/"),
        &format!("http://a.example:{p}@127.0.0.1:{p}/"),
        &format!("http://127.0.0.1:{p}\\@a.example/"),
        &format!("http://a.example.:{p}/"),
        &format!("http://localhost.:{p}/"),
        &format!("http://a.example\u{3002}:{p}/"),
        &format!("ftp://a.example:{p}/"),
        &format!("gopher://127.0.0.1:{p}/"),
        &"file://127.0.0.1/etc/passwd".to_owned(),
        &format!("ws://a.example:{p}/"),
        &format!("127.0.0.1:{p}/"),
        &format!("//127.0.0.1:{p}/"),
        &format!("http://[fe80::1%25lo]:{p}/"),
        &format!("http://[::1:{p}/"),
        &format!("http://a b.example:{p}/"),
        &format!("http://127.0.0.1:{p}:80/"),
        &"http://a.example:0/".to_owned(),
        &"http://a.example:22/".to_owned(),
        &"http://a.example:25/".to_owned(),
        &"https://a.example:587/".to_owned(),
        &"http://a.example:65536/".to_owned(),
        &"http://".to_owned(),
        &String::new(),
        &long,
    ] {
        let refused = call(&door, url).await;
        assert!(matches!(refused, Err(OutsideError::Url(_) | OutsideError::Address)), "{url}: {refused:?}");
    }
    assert_eq!(lookup.asked(), 0, "a name was looked up");
    trap.assert_untouched().await;
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_when_it_is_connected() {
    let trap = Receiver::start(Mode::status(200)).await;
    let url = format!("http://a.example:{}/", trap.address.port());
    for inside in
        ["127.0.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "10.0.0.1", "fd00::1"]
    {
        let (door, lookup) = strict(&[&[inside]]);
        assert_eq!(call(&door, &url).await, Err(OutsideError::Address), "{inside}");
        assert_eq!(lookup.asked(), 1, "{inside}");
    }
    let (door, _) = strict(&[&[]]);
    assert_eq!(call(&door, &url).await, Err(OutsideError::Address), "a name without addresses");
    trap.assert_untouched().await;
}

#[tokio::test]
async fn a_name_that_changes_its_address_between_two_look_ups_is_judged_anew() {
    let first = Receiver::on("127.0.0.2:0", Mode::status(200)).await;
    let port = first.address.port();
    let trap = Receiver::on(&format!("127.0.0.1:{port}"), Mode::status(200)).await;
    // The second answer has an address that may be called as well: the other is not tried even where that one fails.
    let lookup = Scripted::new(&[&["127.0.0.2"], &["127.0.0.1"], &["127.0.0.1", "127.0.0.2"]]);
    let door = door_with(&[("AEGIS_OUTSIDE_ALLOW", "127.0.0.2/32")], Arc::clone(&lookup) as _);
    let url = format!("http://a.example:{port}/");
    assert_eq!(call(&door, &url).await, Ok(200));
    assert_eq!(call(&door, &url).await, Err(OutsideError::Address));
    assert_eq!(call(&door, &url).await, Ok(200));
    first.set(Mode::Close);
    assert_eq!(call(&door, &url).await, Err(OutsideError::Broken));
    assert_eq!(lookup.asked(), 4);
    trap.assert_untouched().await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let trap = Receiver::on("127.0.0.2:0", Mode::status(200)).await;
    for status in [301, 302, 303, 307, 308] {
        let to = format!("HTTP/1.1 {status} x\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", trap.url());
        let receiver = Receiver::start(Mode::Answer(to)).await;
        assert_eq!(call(&door(), &receiver.url()).await, Ok(status));
        assert_eq!(receiver.connections(), 1);
    }
    trap.assert_untouched().await;
}

#[tokio::test]
async fn what_the_operator_allows_is_called_and_nothing_beside_it() {
    let here = Receiver::start(Mode::status(200)).await;
    let port = here.address.port();
    let beside = Receiver::on(&format!("127.0.0.2:{port}"), Mode::status(200)).await;
    assert_eq!(call(&door(), &here.url()).await, Ok(200));
    assert_eq!(call(&door(), &beside.url()).await, Err(OutsideError::Address));
    // A name is allowed as a whole, and no other.
    let named = door_with(&[("AEGIS_OUTSIDE_ALLOW", "localhost, Hooks.Example")], Arc::new(System));
    assert_eq!(call(&named, &format!("http://localhost:{port}/")).await, Ok(200));
    assert_eq!(call(&named, &format!("http://a.localhost:{port}/")).await, Err(OutsideError::Address));
    assert_eq!(call(&named, &here.url()).await, Err(OutsideError::Address));
    beside.assert_untouched().await;
}

#[tokio::test]
async fn failures_are_told_apart() {
    let silent = Receiver::start(Mode::Hold).await;
    let call_within = async |url: &str, millis| {
        let within = Duration::from_millis(millis);
        let call = Call { url, by_tor: false, headers: HeaderMap::new(), body: vec![], within };
        door().post(call).await.map(|answer| answer.status())
    };
    assert_eq!(call_within(&silent.url(), 200).await, Err(OutsideError::Timeout));
    silent.set(Mode::Answer("no HTTP at all\r\n\r\n".to_owned()));
    assert_eq!(call(&door(), &silent.url()).await, Err(OutsideError::Broken));
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", plain.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"this is no TLS").await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
    });
    assert_eq!(call(&door(), &url).await, Err(OutsideError::Tls));
    let nobody = format!("http://127.0.0.1:{}/", crate::monero::free_port());
    assert_eq!(call(&door(), &nobody).await, Err(OutsideError::Connection));
}

/// Runs itself once more with proxies in the environment.
#[tokio::test]
async fn proxies_of_the_environment_are_not_used() {
    const MARK: &str = "AEGIS_TEST_TARGET";
    if let Ok(target) = std::env::var(MARK) {
        assert_eq!(call(&door(), &target).await, Ok(200));
        return;
    }
    let (target, proxy) =
        (Receiver::start(Mode::status(200)).await, Receiver::start(Mode::status(200)).await);
    let mut again = tokio::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "addresses::proxies_of_the_environment_are_not_used"]).env(MARK, target.url());
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        again.env(name, format!("http://{}", proxy.address));
    }
    let done = again.output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    assert_eq!(target.connections(), 1);
    proxy.assert_untouched().await;
}
