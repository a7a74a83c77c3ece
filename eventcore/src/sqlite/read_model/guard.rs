//! The limits of a projection's statements: [`Guard`].
//!
//! A projection's connection opens only the file of its read model, and SQLite calls the guard for
//! each action of a statement while it compiles it. So neither the projection's statements nor its
//! triggers can access the checkpoint or another file, or end the transaction.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use rusqlite::{
    Connection,
    hooks::{AuthAction, AuthContext, Authorization},
};

use crate::projection::{Forbidden, ForbiddenUse};

/// The pragmas that change nothing, neither outside the file nor on the connection. FTS5 uses the
/// first, and R-trees use the page size.
const PRAGMAS: [&str; 4] = [
    "data_version",
    "optimize",
    "defer_foreign_keys",
    "user_version",
];
const PRAGMA_ENDINGS: [&str; 3] = ["_info", "_list", "_check"];

/// Decides what the statements of one connection may do. A clone is another handle to the same
/// guard.
#[derive(Clone, Default)]
pub(crate) struct Guard(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// `true` while the statements being compiled are the store's own.
    lifted: AtomicBool,
    /// The uses that were refused in the current transaction.
    refused: Mutex<Vec<ForbiddenUse>>,
}

/// Allows everything until it is dropped.
pub(crate) struct Lifted<'a>(&'a Inner);

impl Guard {
    pub(crate) fn attach(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let inner = self.0.clone();
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            if inner.lifted.load(Ordering::Relaxed) {
                return Authorization::Allow;
            }
            match refusal(&context) {
                None => Authorization::Allow,
                Some(refusal) => {
                    inner.refused().push(refusal);
                    Authorization::Deny
                }
            }
        }))
    }

    pub(crate) fn lift(&self) -> Lifted<'_> {
        self.0.lifted.store(true, Ordering::Relaxed);
        Lifted(&self.0)
    }

    /// Clears the refused uses.
    pub(crate) fn clear(&self) {
        self.0.refused().clear();
    }

    /// Returns the uses refused since the last [`clear`](Self::clear).
    pub(crate) fn forbidden(&self) -> Option<Forbidden> {
        let mut uses = self.0.refused().clone();
        uses.dedup();
        (!uses.is_empty()).then_some(Forbidden { uses })
    }
}

impl Inner {
    fn refused(&self) -> MutexGuard<'_, Vec<ForbiddenUse>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lifted<'_> {
    fn drop(&mut self) {
        self.0.lifted.store(false, Ordering::Relaxed);
    }
}

fn refusal(context: &AuthContext<'_>) -> Option<ForbiddenUse> {
    const OTHER_FILE: &str =
        "a projection may only write to the file of its read model, which a rebuild replaces";
    const TEMPORARY: &str = "temporary objects stay with the connection and are not part of the read model; use one of \
                             its tables";
    const ENDS: &str =
        "the runner begins and commits the transaction, together with the checkpoint";
    const OURS: &str =
        "tables whose names begin with `eventcore_` hold the checkpoint; use another name";
    use AuthAction as A;
    let refuse = |object: String, reason: &str| {
        let reason = reason.to_owned();
        Some(ForbiddenUse { object, reason })
    };
    match context.action {
        A::Attach { filename } => return refuse(format!("database file `{filename}`"), OTHER_FILE),
        A::Detach { database_name } => {
            return refuse(format!("database `{database_name}`"), OTHER_FILE);
        }
        A::Transaction { .. } => return refuse("the transaction".to_owned(), ENDS),
        A::CreateTempTable { table_name: name }
        | A::CreateTempView { view_name: name }
        | A::DropTempTable { table_name: name }
        | A::DropTempView { view_name: name }
        | A::CreateTempIndex {
            index_name: name, ..
        }
        | A::DropTempIndex {
            index_name: name, ..
        }
        | A::CreateTempTrigger {
            trigger_name: name, ..
        }
        | A::DropTempTrigger {
            trigger_name: name, ..
        } => {
            return refuse(format!("temporary object `{name}`"), TEMPORARY);
        }
        A::Pragma {
            pragma_name,
            pragma_value,
        } => {
            let name = pragma_name.to_ascii_lowercase();
            let is_allowed = PRAGMAS.contains(&name.as_str())
                || name == "page_size" && pragma_value.is_none()
                || PRAGMA_ENDINGS.iter().any(|ending| name.ends_with(ending));
            if !is_allowed {
                return refuse(
                    format!("pragma `{pragma_name}`"),
                    "it would change the connection or the file beyond the transaction",
                );
            }
        }
        A::Unknown { code, .. } => {
            return refuse(
                format!("action {code}"),
                "this version of eventcore does not know it",
            );
        }
        _ => {}
    }
    if let Some(table) = table(&context.action) {
        // `ALTER TABLE` searches the temporary views and triggers, and reads the list of them
        // before the object itself.
        let is_look = matches!(context.action, A::Read { .. } | A::Update { .. })
            || table.starts_with("sqlite_");
        if context.database_name == Some("temp") && !is_look {
            return refuse(format!("temporary object `{table}`"), TEMPORARY);
        }
        let start = table.get(.."eventcore_".len());
        if start.is_some_and(|start| start.eq_ignore_ascii_case("eventcore_")) {
            return refuse(format!("table `{table}`"), OURS);
        }
    }
    None
}

/// Returns the table or view that an action applies to.
fn table<'a>(action: &AuthAction<'a>) -> Option<&'a str> {
    use AuthAction as A;
    match *action {
        A::CreateIndex { table_name, .. }
        | A::CreateTable { table_name }
        | A::CreateTrigger { table_name, .. }
        | A::Delete { table_name }
        | A::DropIndex { table_name, .. }
        | A::DropTable { table_name }
        | A::DropTrigger { table_name, .. }
        | A::Insert { table_name }
        | A::Read { table_name, .. }
        | A::Update { table_name, .. }
        | A::AlterTable { table_name, .. }
        | A::CreateVtable { table_name, .. }
        | A::DropVtable { table_name, .. } => Some(table_name),
        A::CreateView { view_name } | A::DropView { view_name } => Some(view_name),
        _ => None,
    }
}
