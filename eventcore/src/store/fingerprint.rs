//! The fingerprint of a request, which distinguishes a repeated request from another one under the
//! same idempotency key.

use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{CommitReceipt, IdempotencyKey};
use crate::Position;

/// The fingerprint of the request that an [`IdempotencyKey`] identifies: the SHA-256 hash of its
/// JSON form, with the keys of all objects sorted. It does not change between builds or machines.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(request: &(impl Serialize + ?Sized)) -> Result<Self, FingerprintError> {
        let mut json = serde_json::to_value(request).map_err(FingerprintError)?;
        // The keys are already sorted, unless another crate has enabled serde_json's
        // `preserve_order`.
        json.sort_all_objects();
        let json = serde_json::to_vec(&json).map_err(FingerprintError)?;
        Ok(Self(Sha256::digest(json).into()))
    }

    /// Returns the hash, for a store to keep with the key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// The error for a request that has no JSON form, and so no fingerprint; for example, a map whose
/// keys are not strings.
#[derive(Debug, thiserror::Error)]
#[error("the request has no fingerprint, because it cannot be written as JSON")]
pub struct FingerprintError(#[source] serde_json::Error);

/// The error for an idempotency key that another request has used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "idempotency key `{}` was used for another request, whose commit ends at position {position}, and nothing was \
     written; give each request a key of its own, and repeat a request unchanged",
    key.as_str()
)]
pub struct KeyReused {
    /// The key, with the fingerprint of the request that was refused.
    pub key: IdempotencyKey,
    /// The position at which the commit of the other request ended.
    pub position: Position,
    /// The number of events that the other request appended.
    pub events: usize,
}

impl KeyReused {
    /// Creates the error for `key`, under which `earlier` was committed for another request.
    pub fn new(key: &IdempotencyKey, earlier: &CommitReceipt) -> Self {
        Self {
            key: key.clone(),
            position: earlier.position,
            events: earlier.events,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;

    fn hex(request: &(impl Serialize + ?Sized)) -> String {
        format!("{:?}", Fingerprint::of(request).unwrap())
    }

    #[test]
    fn a_fingerprint_is_the_same_for_ever() {
        // The hash of the bytes `["POST","/transfers",{"amount":5,"from":"ada"}]`, computed by
        // another implementation.
        let request = (
            "POST",
            "/transfers",
            serde_json::json!({ "from": "ada", "amount": 5 }),
        );
        assert_eq!(
            hex(&request),
            "Fingerprint(9c5332fa43c3424cddd82c462aeecb7145b0173c720f631f293e5262d31d90a9)"
        );
    }

    #[test]
    fn the_order_of_a_map_does_not_count_and_every_value_does() {
        let numbers = || (0..50).map(|n| (format!("key {n}"), n));
        let hashed: HashMap<_, _> = numbers().collect();
        let sorted: BTreeMap<_, _> = numbers().collect();
        assert_eq!(hex(&hashed), hex(&sorted));
        // Adjacent texts are not concatenated.
        let different = [
            hex(&("ab", "c")),
            hex(&("a", "bc")),
            hex(&("abc",)),
            hex("abc"),
            hex(&1),
            hex("1"),
            hex(&()),
        ];
        for (index, one) in different.iter().enumerate() {
            assert!(!different[index + 1..].contains(one), "{index}");
        }
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        let map = HashMap::from([((1, 2), 3)]);
        let error = Fingerprint::of(&map).unwrap_err();
        assert!(std::error::Error::source(&error).is_some());
    }
}
