//! No error and no log repeats a part of the credentials in a database URL, however the URL is written.

use std::fmt::Write;

use eventcore::postgres::PostgresConfig;
use proptest::prelude::*;

/// Letters that no message has two of in a row.
const LETTERS: &str = "QXZJKVW";

/// Characters that mean something in a URL, or nowhere.
const SPECIAL: &str = "@/?#:%&=+,;[]\\ '\"<>|~é\n";

/// A password of letters and of special characters.
fn password() -> impl Strategy<Value = String> {
    let of = |text: &str, size| {
        let chars: Vec<char> = text.chars().collect();
        proptest::collection::vec(proptest::sample::select(chars), size)
    };
    let part = (of(SPECIAL, 0..3), of(LETTERS, 2..5))
        .prop_map(|(special, letters)| special.into_iter().chain(letters));
    let parts = proptest::collection::vec(part, 1..5);
    parts.prop_map(|parts| parts.into_iter().flatten().collect())
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        let _ = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => write!(out, "{}", char::from(byte)),
            _ => write!(out, "%{byte:02X}"),
        };
        out
    })
}

fn everything(error: &dyn std::error::Error) -> String {
    let mut said = format!("{error} {error:?}");
    let mut next = error.source();
    while let Some(source) = next {
        let _ = write!(said, " {source} {source:?}");
        next = source.source();
    }
    said
}

/// Everything that is shown of a URL, also when no server answers at its address, and whether it was accepted.
fn seen(url: &str) -> (String, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    match PostgresConfig::new(url) {
        Err(error) => (everything(&error), false),
        Ok(config) => {
            let location = config.location();
            let error = runtime.block_on(config.connect()).unwrap_err();
            (
                format!("{config:?} {location} {}", everything(&error)),
                true,
            )
        }
    }
}

/// Each two letters in a row, as they are in a password.
fn pairs(password: &str) -> impl Iterator<Item = &str> {
    (0..password.len()).filter_map(|at| {
        let pair = password.get(at..at + 2)?;
        pair.chars().all(|c| LETTERS.contains(c)).then_some(pair)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_part_of_a_password_is_seen(password in password(), other in password()) {
        let (raw, safe) = (&password, encoded(&password));
        // None of these hosts takes a connection.
        let forms = [
            (format!("postgres://me:{safe}@127.0.0.1:1/db"), true),
            (format!("postgresql://me:{safe}@127.0.0.1:1"), true),
            (format!("postgres://me:{safe}@127.0.0.1:1,127.0.0.1:2/db?sslmode=disable"), true),
            (format!("postgres://127.0.0.1:1/db?user=me&password={safe}"), true),
            (format!("postgres://127.0.0.1:1/db?password={safe}&schema=ledger"), true),
            (format!("postgres://{}:{safe}@127.0.0.1:1", encoded(&other).replace("%3A", "").replace("%40", "")), true),
            (format!("postgres://me:{raw}@127.0.0.1:1/db"), false),
            (format!("postgres://me:{raw}@127.0.0.1:1"), false),
            (format!("postgres://me:{raw}@127.0.0.1:1,127.0.0.1:2/db?sslmode=disable"), false),
            (format!("postgres://:{raw}@127.0.0.1:1/db"), false),
            (format!("postgres://me:{raw}:{other}@127.0.0.1:1/db"), false),
            (format!("postgres://me:{raw}@{other}@127.0.0.1:1/db"), false),
            (format!("postgres://127.0.0.1:1/db?user=me&password={raw}"), false),
            (format!("postgres://127.0.0.1:1/db?password={raw}&sslmode=disable"), false),
            (format!("postgres://me:{raw}@127.0.0.1:port/db"), false),
            (format!("postgres://me:{raw}@127.0.0.1:1/db?sslmode=maybe"), false),
            (format!("postgres://me:{raw}@127.0.0.1:1/db?colour=red"), false),
            (format!("postgres://me:{raw}@127.0.0.1:1/db?port=x"), false),
            (format!("postgres://me%3A{safe}@127.0.0.1:1/db"), false),
            (format!("POSTGRES://me:{raw}@127.0.0.1:1/db"), false),
            (format!("mysql://me:{raw}@127.0.0.1:1/db"), false),
            (format!("host=127.0.0.1 port=1 user=me password='{raw}' dbname=db"), false),
            (format!(" postgres://me:{raw}@127.0.0.1:1/db"), false),
        ];
        for (url, is_valid) in forms {
            let (said, taken) = seen(&url);
            prop_assert!(taken || !is_valid, "{url}: {said}");
            for pair in pairs(&password).chain(pairs(&other)) {
                prop_assert!(!said.contains(pair), "{url}: `{pair}` in {said}");
            }
        }
    }
}

#[test]
fn what_is_wrong_with_a_url_is_said() {
    for (url, part) in [
        ("postgres://me:a@b@host/db", "`%40`"),
        ("postgres://me:a/b@host/db", "`%2F`"),
        ("postgres://me:a?b@host/db", "`%3F`"),
        ("postgres://me:a#b@host/db", "`%23`"),
        ("postgres://me%3Aa@host/db", "user name"),
        ("postgres://host:none/db", "host or a port"),
        ("postgres://host/db?colour=red", "parameter other than"),
        ("postgres://host/db?colour", "no value"),
        ("postgres://host/db?sslmode=maybe", "verify-full"),
        (
            "postgres://host/db?connect_timeout=soon",
            "`connect_timeout`",
        ),
        ("postgres://host/db?schema=Ledger", "`Ledger`"),
        ("postgres:///db", "no host"),
        ("host=db user=me", "`postgres://`"),
    ] {
        let said = everything(&PostgresConfig::new(url).unwrap_err());
        assert!(said.contains(part), "{url}: {said}");
    }
}
