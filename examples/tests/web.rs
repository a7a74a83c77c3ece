//! The web service end to end: a real process, real requests over HTTP.

mod program;

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

/// A running service, ended when it is dropped.
struct Service {
    process: Child,
    address: String,
    agent: ureq::Agent,
}

impl Service {
    fn start(folder: &Path) -> Self {
        let arguments = ["--database", "web.db", "--listen", "127.0.0.1:0"];
        let mut process = program::program(env!("CARGO_BIN_EXE_web"), folder, &arguments)
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = process.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .expect("the address")
            .to_owned();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .into();
        Self {
            process,
            address,
            agent,
        }
    }

    fn post(&self, path: &str, key: Option<&str>, body: Value) -> (u16, Value) {
        let mut request = self.agent.post(format!("{}{path}", self.address));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let mut answer = request.send_json(body).unwrap();
        (
            answer.status().as_u16(),
            answer.body_mut().read_json().unwrap(),
        )
    }

    /// Withdraws an amount, with `If-Match` and `Idempotency-Key`.
    fn withdraw(&self, if_match: &str, key: &str, amount: u64) -> (u16, Value) {
        let request = self
            .agent
            .post(format!("{}/accounts/ada/withdrawals", self.address))
            .header("if-match", if_match)
            .header("idempotency-key", key);
        let mut answer = request.send_json(json!({ "amount": amount })).unwrap();
        (
            answer.status().as_u16(),
            answer.body_mut().read_json().unwrap(),
        )
    }

    fn etag(&self, path: &str) -> String {
        let answer = self
            .agent
            .get(format!("{}{path}", self.address))
            .call()
            .unwrap();
        answer.headers()["etag"].to_str().unwrap().to_owned()
    }

    fn get(&self, path: &str) -> (u16, Value) {
        let mut answer = self
            .agent
            .get(format!("{}{path}", self.address))
            .call()
            .unwrap();
        (
            answer.status().as_u16(),
            answer.body_mut().read_json().unwrap(),
        )
    }

    /// Returns the lines of the live feed.
    fn live(&self, last: Option<&str>) -> impl Iterator<Item = String> + use<> {
        let mut request = self.agent.get(format!("{}/events", self.address));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let body: Box<dyn Read> = Box::new(request.call().unwrap().into_body().into_reader());
        BufReader::new(body).lines().map(Result::unwrap)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn position(answer: &Value) -> u64 {
    answer["position"].as_u64().expect("a position")
}

#[test]
fn commands_are_posted_and_read_back_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    for (account, owner) in [("ada", "Ada"), ("grace", "Grace")] {
        let body = json!({ "account": account, "owner": owner });
        assert_eq!(service.post("/accounts", None, body).0, 200);
    }
    service.post("/accounts/ada/deposits", None, json!({ "amount": 70 }));
    let transfer = json!({ "from": "ada", "to": "grace", "amount": 30 });
    let (status, done) = service.post("/transfers", None, transfer);
    assert_eq!((status, position(&done)), (200, 5));

    let (status, accounts) = service.get(&format!("/accounts?after={}", position(&done)));
    let expected = json!([
        { "account": "ada", "owner": "Ada", "balance": 40 },
        { "account": "grace", "owner": "Grace", "balance": 30 },
    ]);
    assert_eq!((status, accounts), (200, expected));
    let (status, ada) = service.get("/accounts/ada");
    assert_eq!((status, ada["balance"].as_i64()), (200, Some(40)));
}

#[test]
fn a_request_with_a_key_is_carried_out_once_even_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.post(
        "/accounts",
        None,
        json!({ "account": "ada", "owner": "Ada" }),
    );
    let deposit = || json!({ "amount": 5 });
    let first = service.post("/accounts/ada/deposits", Some("payment-1"), deposit());
    assert_eq!(first, (200, json!({ "position": 2, "repeated": false })));
    drop(service);

    let service = Service::start(folder.path());
    let again = service.post("/accounts/ada/deposits", Some("payment-1"), deposit());
    assert_eq!(again, (200, json!({ "position": 2, "repeated": true })));
    assert_eq!(service.get("/accounts/ada").1["balance"], 5);

    // A request that differs in anything is not a repetition, and may not use the key.
    for (path, body) in [
        ("/accounts/ada/deposits", json!({ "amount": 6 })),
        ("/accounts/ada/deposits", json!({ "amount": 5, "note": "" })),
        ("/accounts/grace/deposits", deposit()),
        ("/accounts", json!({ "account": "grace", "owner": "Grace" })),
    ] {
        let (status, answer) = service.post(path, Some("payment-1"), body);
        assert_eq!(status, 422, "{path}: {answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(
            error.contains("`payment-1` was used for another request"),
            "{error}"
        );
    }
    let again = service.post("/accounts/ada/deposits", Some("payment-1"), deposit());
    assert_eq!(again, (200, json!({ "position": 2, "repeated": true })));
}

#[test]
fn a_command_can_demand_the_version_that_was_shown() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let body = json!({ "account": "ada", "owner": "Ada" });
    service.post("/accounts", None, body);
    service.post("/accounts/ada/deposits", None, json!({ "amount": 9 }));
    let shown = service.etag("/accounts/ada");
    assert_eq!(shown, "\"2\"");
    assert_eq!(service.withdraw(&shown, "first", 4).0, 200);
    let (status, answer) = service.withdraw(&shown, "second", 4);
    assert_eq!(status, 412, "{answer}");
    // A repetition is answered like the request itself, although the version has moved.
    let done = json!({ "position": 3, "repeated": true });
    assert_eq!(service.withdraw(&shown, "first", 4), (200, done));
    let shown = service.etag("/accounts/ada");
    assert_eq!(service.withdraw(&shown, "second", 4).0, 200);
    assert_eq!(service.get("/accounts/ada").1["balance"], 1);
    for wrong in ["4", "\"4\", \"5\"", "W/\"4\""] {
        assert_eq!(service.withdraw(wrong, "third", 1).0, 400, "{wrong}");
    }
}

#[test]
fn what_is_refused_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let open = || json!({ "account": "ada", "owner": "Ada" });
    service.post("/accounts", None, open());
    let cases = [
        (service.post("/accounts", None, open()), 409, "already open"),
        (
            service.post("/accounts/nobody/deposits", None, json!({ "amount": 1 })),
            404,
            "no account `nobody`",
        ),
        (
            service.post(
                "/transfers",
                None,
                json!({ "from": "ada", "to": "ada", "amount": 1 }),
            ),
            400,
            "must not be the same",
        ),
        (
            service.post("/accounts/a*b/deposits", None, json!({ "amount": 1 })),
            400,
            "'*'",
        ),
        (service.get("/accounts/nobody"), 404, "no account `nobody`"),
        (service.get("/accounts/a*b"), 400, "'*'"),
    ];
    for ((status, answer), expected, part) in cases {
        assert_eq!(status, expected, "{answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn events_go_live_to_whoever_listens_and_a_listener_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.post(
        "/accounts",
        None,
        json!({ "account": "ada", "owner": "Ada" }),
    );
    let mut data = service.live(None).filter_map(|line| {
        let data = line.strip_prefix("data: ")?;
        Some(serde_json::from_str::<Value>(data).unwrap())
    });
    assert_eq!(data.next().unwrap()["type"], "AccountOpened");
    // The listener is connected, so this event is pushed.
    service.post("/accounts/ada/deposits", None, json!({ "amount": 5 }));
    let pushed = data.next().unwrap();
    assert_eq!(pushed["payload"], json!({ "amount": 5 }));
    assert_eq!(position(&pushed), 2);

    let mut resumed = service.live(Some("1"));
    let id = resumed.find_map(|line| line.strip_prefix("id: ").map(str::to_owned));
    assert_eq!(id.as_deref(), Some("2"));
}

#[test]
fn there_is_a_page_for_people() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let mut page = service.agent.get(&service.address).call().unwrap();
    let page = page.body_mut().read_to_string().unwrap();
    assert!(page.contains("<h1>A bank on eventcore</h1>"));
}
