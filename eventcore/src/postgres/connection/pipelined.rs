//! Pipelined statements, sent before the response to the previous one has arrived: a connection
//! responds in order.

use std::{
    error::Error,
    future::Future,
    iter::repeat,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;
use tokio_postgres::{
    Client, Statement,
    types::{IsNull, ToSql, Type},
};

use crate::postgres::connection::statement::Parameters;

/// A statement that was sent, as a future of its response.
pub(crate) struct Queued(
    pub(crate) Pin<Box<dyn Future<Output = Result<u64, tokio_postgres::Error>> + Send>>,
);

impl Queued {
    /// Sends a statement. Any error is reported with the response.
    pub(crate) fn send(
        client: &Arc<Client>,
        statement: Statement,
        parameters: Parameters<'_>,
    ) -> Self {
        let types = statement.params().iter().map(Some).chain(repeat(None));
        let encoded = parameters
            .iter()
            .zip(types)
            .map(|(parameter, of)| Encoded::new(*parameter, of));
        let encoded: Vec<_> = encoded.collect();
        let client = client.clone();
        let mut answer: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(async move { client.execute_raw(&statement, encoded).await });
        // The driver sends the statement when the future is first polled, not before.
        let answered = answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        match answered {
            Poll::Ready(answer) => Self(Box::pin(std::future::ready(answer))),
            Poll::Pending => Self(answer),
        }
    }
}

/// An encoded parameter value, which need not be borrowed until the response arrives.
#[derive(Debug)]
struct Encoded(Result<Option<BytesMut>, String>);

impl Encoded {
    fn new(value: &(dyn ToSql + Sync), of: Option<&Type>) -> Self {
        // If there are too many values, the driver reports it.
        let Some(of) = of else { return Self(Ok(None)) };
        let mut bytes = BytesMut::new();
        Self(match value.to_sql_checked(of, &mut bytes) {
            Ok(IsNull::Yes) => Ok(None),
            Ok(IsNull::No) => Ok(Some(bytes)),
            Err(error) => Err(error.to_string()),
        })
    }
}

impl ToSql for Encoded {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match &self.0 {
            Ok(Some(bytes)) => {
                out.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
            Ok(None) => Ok(IsNull::Yes),
            Err(error) => Err(error.clone().into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(
        &self,
        of: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(of, out)
    }
}
