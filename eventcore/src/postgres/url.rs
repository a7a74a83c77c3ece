//! Parses database URLs so that no part of one appears in an error.
//!
//! A password that is not percent-encoded shifts the boundaries of everything around it: parts of
//! it would be taken for hosts, databases and parameters, which appear in errors and logs. So an
//! ambiguous URL is refused.

use crate::store::EventStoreError;

/// The driver's parameters; this library adds its own.
const OF_DRIVER: [&str; 17] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "tcp_user_timeout",
    "user",
];
const OWN: [&str; 4] = ["schema", "sslmode", "sslrootcert", "target_session_attrs"];

/// A URL whose parts are unambiguous.
pub(super) struct DatabaseUrl<'a> {
    /// Everything before the parameters.
    base: &'a str,
    /// Known names, and values as they are written.
    parameters: Vec<(&'static str, &'a str)>,
}

impl<'a> DatabaseUrl<'a> {
    pub(super) fn new(url: &'a str) -> Result<Self, EventStoreError> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or_else(|| refused("it does not start with `postgres://`"))?;
        if rest.contains('#') {
            return Err(refused("it contains a `#`; write `%23` in the password"));
        }
        let (authority, behind) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if behind.contains('@') {
            return Err(refused(
                "it contains an `@` after a `/` or `?`; in the user name and the password, write `%2F` for `/`, `%3F` \
                 for `?` and `%40` for `@`; elsewhere, write `%40` for `@`",
            ));
        }
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        if user.contains('@') || decoded(hosts).contains('@') {
            return Err(refused(
                "it contains two `@`; write `%40` for the one in the password",
            ));
        }
        let user = user.split(':').next().unwrap_or_default();
        if decoded(user).contains([':', '@']) {
            return Err(refused(
                "the user name contains a percent-encoded `:` or `@`; do not encode the `:` between user name and \
                 password",
            ));
        }
        let (base, parameters) = url.split_once('?').unwrap_or((url, ""));
        let parameters = parameters
            .split('&')
            .filter(|parameter| !parameter.is_empty());
        let parameters = parameters.map(known).collect::<Result<_, _>>()?;
        Ok(Self { base, parameters })
    }

    /// Returns the decoded value of a parameter; the last one, if there are several.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        let found = self.parameters.iter().rfind(|(found, _)| *found == name);
        found.map(|(_, value)| decoded(value))
    }

    /// Returns the driver's configuration, without the parameters of this library.
    pub(super) fn server(&self) -> Result<tokio_postgres::Config, EventStoreError> {
        let read = |parameters: &[String]| {
            let url = [self.base, &parameters.join("&")].join("?");
            url.trim_end_matches('?').parse().ok()
        };
        let of_driver = |name| OF_DRIVER.contains(&name) || name == "target_session_attrs";
        let parameters: Vec<_> = self
            .parameters
            .iter()
            .filter(|(name, _)| of_driver(name))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if let Some(server) = read(&parameters) {
            return Ok(server);
        }
        // The driver's error may contain a value, so it is not passed on.
        if read(&[]).is_none() {
            return Err(refused("a host or a port in it is not valid"));
        }
        let wrong = self
            .parameters
            .iter()
            .find(|(name, value)| of_driver(name) && read(&[format!("{name}={value}")]).is_none());
        let name = wrong.map_or("…", |(name, _)| name);
        Err(refused(&format!("the value of `{name}` is not valid")))
    }
}

/// Parses a parameter, whose name must be known.
fn known(parameter: &str) -> Result<(&'static str, &str), EventStoreError> {
    let (name, value) = parameter.split_once('=').ok_or_else(|| {
        refused("a parameter has no value; write `%26` for an `&` within a value")
    })?;
    let known = OF_DRIVER.iter().chain(&OWN).find(|known| **known == name);
    match known {
        Some(known) => Ok((known, value)),
        None => Err(refused(&format!(
            "it has a parameter other than {}, {}; write `%26` for an `&` within a value",
            OWN.join(", "),
            OF_DRIVER.join(", ")
        ))),
    }
}

pub(super) fn refused(why: &str) -> EventStoreError {
    let source = format!(
        "the database URL is not valid: {why}; its form is \
         postgres://user:password@host:5432/database?sslmode=verify-full"
    );
    EventStoreError::Other {
        source: source.into(),
    }
}

/// Decodes percent-encoding; invalid sequences are left as they are.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        let code = text.get(index + 1..index + 3).filter(|_| *byte == b'%');
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        out.push(code.unwrap_or(*byte));
        index += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}
