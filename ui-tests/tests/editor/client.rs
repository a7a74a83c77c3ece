//! A client of the language server protocol: enough of one to ask rust-analyzer about one file.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

/// Longer than a busy machine takes to compile the crate and its dependencies.
const PATIENCE: Duration = Duration::from_mins(15);
/// The error of a request whose answer became outdated while it was computed.
const CONTENT_MODIFIED: i64 = -32801;

pub struct Client {
    server: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    requests: i64,
    file: String,
    version: i64,
}

/// A place in a file: the line and the column, both from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

impl Client {
    /// Starts rust-analyzer in the folder of a crate, and returns once it has loaded the crate and its macros.
    pub fn start(folder: &Path, target: &Path) -> Self {
        let mut server = Command::new("rust-analyzer")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(server.stdout.take().unwrap());
        let (sender, messages) = channel();
        thread::spawn(move || read_messages(output, |message| sender.send(message).is_ok()));
        let mut client = Self {
            input: server.stdin.take().unwrap(),
            server,
            messages,
            requests: 0,
            file: uri(&folder.join("src/lib.rs")),
            version: 0,
        };
        let root = uri(folder);
        client.request(
            "initialize",
            &json!({
                "processId": std::process::id(),
                "rootUri": root,
                "workspaceFolders": [{ "uri": root, "name": "editor" }],
                "capabilities": { "experimental": { "serverStatusNotification": true } },
                "initializationOptions": {
                    "cargo": { "targetDir": target },
                    "cachePriming": { "enable": false },
                    "checkOnSave": false,
                },
            }),
        );
        client.notify("initialized", &json!({}));
        loop {
            let message = client.receive();
            let status = &message["params"];
            if message["method"] == "experimental/serverStatus" && status["quiescent"] == true {
                assert_ne!(status["health"], "error", "{status}");
                return client;
            }
        }
    }

    /// Replaces the text of the crate's only file.
    pub fn edit(&mut self, text: &str) {
        self.version += 1;
        let (uri, version) = (self.file.clone(), self.version);
        if version == 1 {
            let document =
                json!({ "uri": uri, "languageId": "rust", "version": version, "text": text });
            self.notify("textDocument/didOpen", &json!({ "textDocument": document }));
        } else {
            let document = json!({ "uri": uri, "version": version });
            let change = json!({ "textDocument": document, "contentChanges": [{ "text": text }] });
            self.notify("textDocument/didChange", &change);
        }
    }

    /// Returns the names that are offered at a place.
    pub fn complete(&mut self, place: Place) -> Vec<String> {
        let answer = self.ask("textDocument/completion", place);
        let items = answer.get("items").unwrap_or(&answer);
        let names = items.as_array().into_iter().flatten();
        names
            .map(|item| {
                let name = item["filterText"].as_str().or(item["label"].as_str());
                name.unwrap().to_owned()
            })
            .collect()
    }

    /// Returns where the name at a place is defined: the end of a path, and the place in that file.
    pub fn definitions(&mut self, place: Place) -> Vec<(String, Place)> {
        let answer = self.ask("textDocument/definition", place);
        let locations = answer.as_array().into_iter().flatten();
        locations
            .map(|location| {
                let start = &location["range"]["start"];
                let place = Place {
                    line: start["line"].as_u64().unwrap(),
                    column: start["character"].as_u64().unwrap(),
                };
                (location["uri"].as_str().unwrap().to_owned(), place)
            })
            .collect()
    }

    fn ask(&mut self, method: &str, place: Place) -> Value {
        let position = json!({ "line": place.line, "character": place.column });
        let document = json!({ "uri": self.file });
        self.request(
            method,
            &json!({ "textDocument": document, "position": position }),
        )
    }

    fn request(&mut self, method: &str, params: &Value) -> Value {
        loop {
            self.requests += 1;
            let id = self.requests;
            self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
            let answer = loop {
                let message = self.receive();
                if message["id"] == id && message.get("method").is_none() {
                    break message;
                }
            };
            match answer.get("error") {
                None => return answer["result"].clone(),
                Some(error) if error["code"] == CONTENT_MODIFIED => {}
                Some(error) => panic!("{method}: {error}"),
            }
        }
    }

    /// Returns the server's next message. Requests of the server are answered with nothing.
    fn receive(&mut self) -> Value {
        let message = self.messages.recv_timeout(PATIENCE);
        let message = message.expect("rust-analyzer answers");
        if let (Some(id), Some(_)) = (message.get("id"), message.get("method")) {
            self.send(&json!({ "jsonrpc": "2.0", "id": id, "result": null }));
        }
        message
    }

    fn notify(&mut self, method: &str, params: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn send(&mut self, message: &Value) {
        let body = message.to_string();
        write!(self.input, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        self.input.flush().unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// Passes on the messages of a server until there are no more, or nobody takes them.
fn read_messages(mut output: impl BufRead, mut take: impl FnMut(Value) -> bool) {
    let mut length = 0;
    let mut line = String::new();
    while output.read_line(&mut line).is_ok_and(|read| read > 0) {
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().unwrap();
        } else if line.trim().is_empty() {
            let mut body = vec![0; length];
            output.read_exact(&mut body).unwrap();
            if !take(serde_json::from_slice(&body).unwrap()) {
                return;
            }
        }
        line.clear();
    }
}
