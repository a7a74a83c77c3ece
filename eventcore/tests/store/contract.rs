//! The contract suite on memory, SQLite and PostgreSQL, and on each behind `Arc<dyn EventStore>`.

use std::sync::Arc;

use eventcore::{EventStore, memory::MemoryEventStore, sqlite::SqliteEventStore};

/// A store on a file of its own; the folder is left to the system's temporary files.
async fn sqlite() -> SqliteEventStore {
    let folder = tempfile::tempdir().unwrap().keep();
    SqliteEventStore::open(folder.join("contract.db"))
        .await
        .unwrap()
}

mod memory {
    eventcore::contract_tests!(async { super::MemoryEventStore::new() });
}

mod memory_behind_dyn {
    eventcore::contract_tests!(async {
        super::Arc::new(super::MemoryEventStore::new()) as super::Arc<dyn super::EventStore>
    });
}

mod sqlite_file {
    eventcore::contract_tests!(super::sqlite());
}

mod sqlite_behind_dyn {
    eventcore::contract_tests!(async {
        super::Arc::new(super::sqlite().await) as super::Arc<dyn super::EventStore>
    });
}

mod postgres_schema {
    eventcore::contract_tests!(crate::server::store());
}

mod postgres_behind_dyn {
    eventcore::contract_tests!(async {
        super::Arc::new(crate::server::store().await) as super::Arc<dyn super::EventStore>
    });
}
