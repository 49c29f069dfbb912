//! What the database can answer besides rows.

/// The database failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A named constraint refused the write.
    #[error("the constraint {0} refused the write")]
    Conflict(String),
    /// A lock was not to be had within the batch's patience, or transactions crossed.
    #[error("the rows are locked")]
    Contended,
    /// A row says what the code can't understand.
    #[error("{table}.{column} of {id} is inconsistent")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// Which row.
        id: String,
    },
    /// The application's role could get around row-level security.
    #[error(
        "the role switchboard_app is a superuser, bypasses row-level security or owns tables; take that from it"
    )]
    Privileged,
    /// A migration failed.
    #[error("a migration failed")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// Anything else: the connection, the server, a mistake in a statement.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

impl Error {
    /// Whether trying again later can help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Contended) || self.is_disconnection()
    }

    /// Whether the connection is gone, so that nobody knows whether the statement was committed.
    pub fn is_disconnection(&self) -> bool {
        match self {
            Self::Database(
                sqlx::Error::Io(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::Tls(_),
            ) => true,
            // Class 08: connection; 53: resources; 57: the operator stopped it, or it took too long; 25P03: the transaction
            // did nothing for too long.
            Self::Database(sqlx::Error::Database(error)) => error
                .code()
                .is_some_and(|code| ["08", "53", "57", "25P03"].iter().any(|class| code.starts_with(class))),
            _ => false,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(database) = &error {
            if let Some(constraint) = database.constraint() {
                return Self::Conflict(constraint.to_owned());
            }
            if matches!(database.code().as_deref(), Some("55P03" | "40001" | "40P01")) {
                return Self::Contended;
            }
        }
        Self::Database(error)
    }
}
