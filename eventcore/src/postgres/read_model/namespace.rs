//! The schemas that read models may use, and the privileges that their roles need.

use tokio_postgres::Row;

use crate::postgres::{
    connection::statement::identifier, error::Failure, read_model::open::OpenTransaction,
};
use crate::projection::{Forbidden, ForbiddenUse};

/// PostgreSQL truncates longer names.
const MAX_NAME_BYTES: usize = 63;

const NAMESPACE: &str = include_str!("../sql/read_model/namespace.sql");

/// A schema, which need not exist, and the role's privileges.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    role: String,
    database: String,
    /// `true` if the role may create schemas in the database.
    may_create: bool,
    pub(super) oid: Option<u32>,
    owner: Option<String>,
    /// The name of one of the objects in it.
    holds: Option<String>,
}

impl Namespace {
    pub(super) async fn look(open: &mut OpenTransaction, schema: &str) -> Result<Self, Failure> {
        let rows = open.query(NAMESPACE, &[&schema]).await?;
        let found = rows.first().map(Self::from_row).transpose()?;
        // The query always returns a row.
        Ok(found.unwrap_or_default())
    }

    fn from_row(row: &Row) -> Result<Self, Failure> {
        Ok(Self {
            role: row.try_get(0)?,
            database: row.try_get(1)?,
            may_create: row.try_get(2)?,
            oid: row.try_get(3)?,
            owner: row.try_get(4)?,
            holds: row.try_get(5)?,
        })
    }

    /// Checks that a projection may create this schema for its own use.
    pub(super) fn check_free(&self, schema: &str, store: &str) -> Result<(), Forbidden> {
        let named = format!("schema `{schema}`");
        let is_reserved =
            ["public", "information_schema", store].contains(&schema) || schema.starts_with("pg_");
        if is_reserved {
            return Err(forbidden(
                named,
                "it is reserved; give the projection another name".to_owned(),
            ));
        }
        if schema.len() > MAX_NAME_BYTES {
            return Err(forbidden(
                named,
                format!(
                    "its name is longer than {MAX_NAME_BYTES} bytes; give the projection a shorter name"
                ),
            ));
        }
        if let Some(holds) = &self.holds {
            return Err(forbidden(
                named,
                format!(
                    "it contains objects that this projection did not create, such as {holds}; remove them, or give \
                     the projection another name"
                ),
            ));
        }
        if self.oid.is_some() {
            return self.check_owned(schema);
        }
        if self.may_create {
            return Ok(());
        }
        let (role, schema) = (identifier(&self.role), identifier(schema));
        let mut missing = self.missing_create();
        if let Some(missing) = missing.uses.first_mut() {
            let other = format!(", or `CREATE SCHEMA {schema} AUTHORIZATION {role}`");
            missing.reason.push_str(&other);
        }
        Err(missing)
    }

    /// Checks that a rebuild can create its own schema and replace this one with it.
    pub(super) fn check_replaceable(&self, schema: &str) -> Result<(), Forbidden> {
        if !self.may_create {
            return Err(self.missing_create());
        }
        if self.oid.is_some() {
            return self.check_owned(schema);
        }
        Ok(())
    }

    fn check_owned(&self, schema: &str) -> Result<(), Forbidden> {
        match &self.owner {
            Some(owner) if *owner != self.role => Err(forbidden(
                format!("schema `{schema}`"),
                format!(
                    "it belongs to role `{owner}`, but this connection uses `{}`; connect as `{owner}`, or run \
                     `ALTER SCHEMA {} OWNER TO {}`",
                    self.role,
                    identifier(schema),
                    identifier(&self.role),
                ),
            )),
            _ => Ok(()),
        }
    }

    fn missing_create(&self) -> Forbidden {
        let (database, role) = (identifier(&self.database), identifier(&self.role));
        forbidden(
            format!("database `{}`", self.database),
            format!(
                "the role `{}` may not create schemas in it; run `GRANT CREATE ON DATABASE {database} TO {role}`",
                self.role
            ),
        )
    }
}

/// Creates an error with one forbidden use.
pub(super) fn forbidden(object: String, reason: String) -> Forbidden {
    Forbidden {
        uses: vec![ForbiddenUse { object, reason }],
    }
}
