//! A headless Chromium over the DevTools protocol.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const SOON: Duration = Duration::from_secs(60);

/// A browser with one tab and one authenticator; ended when dropped.
pub struct Chromium {
    child: Child,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    authenticator: String,
    next: u64,
    _profile: tempfile::TempDir,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Chromium {
    pub async fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut program = Command::new("chromium");
        // Without a sandbox, which root has none of: the only page it opens is our own.
        program.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        program.args(["--no-first-run", "--disable-extensions", "--remote-debugging-port=0", "about:blank"]);
        program.arg(format!("--user-data-dir={}", profile.path().display()));
        let mut child = program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("chromium");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let told = lines.find_map(|line| line.strip_prefix("DevTools listening on ws://").map(str::to_owned));
        let told = told.expect("an address of the browser");
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let host = told.split('/').next().unwrap();
        let pages: Value =
            reqwest::get(format!("http://{host}/json/list")).await.unwrap().json().await.unwrap();
        let page = pages.as_array().unwrap().iter().find(|page| page["type"] == "page").unwrap();
        let url = page["webSocketDebuggerUrl"].as_str().unwrap();
        let (socket, _) = connect_async(url).await.unwrap();
        let mut browser = Self { child, socket, authenticator: String::new(), next: 1, _profile: profile };
        browser.call("WebAuthn.enable", json!({})).await;
        let options = json!({
            "protocol": "ctap2",
            "transport": "internal",
            "hasUserVerification": true,
            "isUserVerified": true,
            "automaticPresenceSimulation": true,
        });
        let added = browser.call("WebAuthn.addVirtualAuthenticator", json!({ "options": options })).await;
        browser.authenticator = added["authenticatorId"].as_str().unwrap().to_owned();
        browser
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.next;
        self.next += 1;
        let text = json!({ "id": id, "method": method, "params": params }).to_string();
        self.socket.send(Message::text(text)).await.unwrap();
        let answer = timeout(SOON, async {
            loop {
                let Message::Text(text) = self.socket.next().await.unwrap().unwrap() else { continue };
                let said: Value = serde_json::from_str(&text).unwrap();
                if said["id"] == id {
                    return said;
                }
            }
        });
        let answer = answer.await.expect("an answer in time");
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Opens a page and waits until it is there.
    pub async fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url })).await;
        let begun = Instant::now();
        let ready = "document.readyState === 'complete' && location.href !== 'about:blank'";
        while self.evaluate(ready).await != json!(true) {
            assert!(begun.elapsed() < SOON, "{url} does not load");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({
            "expression": expression,
            "awaitPromise": true,
            "returnByValue": true,
            // As if somebody had clicked: a browser asks for that before it asks an authenticator.
            "userGesture": true,
        });
        let done = self.call("Runtime.evaluate", params).await;
        assert!(done["exceptionDetails"].is_null(), "{done}");
        done["result"]["value"].clone()
    }

    /// Runs the body of a function in the page, and gives what it returns.
    pub async fn run(&mut self, body: &str) -> Value {
        self.evaluate(&format!("(async () => {{ {body} }})()")).await
    }

    /// How many credentials the authenticator holds.
    pub async fn credentials(&mut self) -> usize {
        let params = json!({ "authenticatorId": self.authenticator });
        let held = self.call("WebAuthn.getCredentials", params).await;
        held["credentials"].as_array().unwrap().len()
    }
}
