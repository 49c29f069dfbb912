//! What an operator can set. The environment is read here and nowhere else; a bad value stops the start, with all
//! mistakes listed at once.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use domain::{IntegrationId, connection::Connection, delivery::RetrySchedule, endpoint::Schedules};
use http::HeaderName;
use secrecy::SecretString;
use serde_json::json;

/// The settings of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// `DATABASE_URL`: the Postgres database. Not set: a private one in the data directory.
    pub database_url: Option<SecretString>,
    /// `SWITCHBOARD_DATABASE_CONNECTIONS`: the size of the pool. Default 24.
    pub database_connections: u32,
    /// `SWITCHBOARD_DATA_DIR`: where the private database, the key ring and the first credentials are. Default: as root
    /// `/var/lib/switchboard`, else `~/.local/share/switchboard`.
    pub data_dir: Option<PathBuf>,
    /// `SWITCHBOARD_POSTGRES_BIN`: the directory of `PostgreSQL`'s programs. Default: looked for.
    pub postgres_bin: Option<PathBuf>,
    /// `SWITCHBOARD_KEYRING`: the key ring, `kid:<base64>` each, newest first. Not set: a file in the data directory.
    pub keyring: Option<SecretString>,
    /// `SWITCHBOARD_KEYRING_FILE`: a file with the key ring, a key a line, in place of `SWITCHBOARD_KEYRING`.
    pub keyring_file: Option<PathBuf>,
    /// `SWITCHBOARD_HTTP_ADDR`: the public HTTP listener. Default `0.0.0.0:8000`.
    pub http_addr: SocketAddr,
    /// `SWITCHBOARD_PUBLIC_URL`: where the public HTTP listener is reached from outside, such as `https://bots.example.com`:
    /// what vendors are told to call. Not set: addresses are registered at vendors by hand.
    pub public_url: Option<String>,
    /// `SWITCHBOARD_GRPC_ADDR`: the internal gRPC listener. Default `127.0.0.1:50051`.
    pub grpc_addr: SocketAddr,
    /// `SWITCHBOARD_GRPC_TLS_CERT` and `SWITCHBOARD_GRPC_TLS_KEY`: PEM files. Not set: no TLS.
    pub grpc_tls: Option<(PathBuf, PathBuf)>,
    /// `SWITCHBOARD_CORS_ORIGINS`: origins of browsers that may call gRPC-web and read `/v1/events`, separated by commas, or
    /// `*`. Default: none but those on localhost.
    pub cors_origins: Vec<String>,
    /// `SWITCHBOARD_ALLOW_PRIVATE_TARGETS`: private addresses that workspaces' URLs may lead to: `none`, `all`, or CIDRs
    /// separated by commas. Default `none`.
    pub allow_private_targets: String,
    /// `SWITCHBOARD_INBOUND_TOKEN_HEADER`. Default `x-chatbot_auth_token`.
    pub inbound_token_header: HeaderName,
    /// `SWITCHBOARD_OUTBOUND_TOKEN_HEADER`. Default `x-chat_auth_token`.
    pub outbound_token_header: HeaderName,
    /// `SWITCHBOARD_NEW_MESSAGE_WAIT_SECONDS`: how long `new_message` waits for the answer when the caller doesn't say. 0
    /// to 30, default 0.
    pub new_message_wait: Duration,
    /// `SWITCHBOARD_MAX_BODY_BYTES`: the longest body of an HTTP request. Default 262,144.
    pub max_body_bytes: usize,
    /// `SWITCHBOARD_BODY_TIMEOUT_SECONDS`: how long a body may take to arrive. Default 10.
    pub body_timeout: Duration,
    /// `SWITCHBOARD_SEND_TIMEOUT_SECONDS`: how long a receiver may take to answer a delivery. Default 10.
    pub send_timeout: Duration,
    /// `SWITCHBOARD_DELIVERY_PAUSES`: the pauses between attempts at a delivery, such as `1s,5s,5m`. Default
    /// `1s,5s,30s,2m,10m,1h,3h,6h`.
    pub delivery_pauses: Vec<Duration>,
    /// `SWITCHBOARD_SANDBOX_PAUSES`: the pauses between attempts at a dispatch to an endpoint with the schedule SANDBOX.
    /// Default `1s,2s,5s,10s`.
    pub sandbox_pauses: Vec<Duration>,
    /// `SWITCHBOARD_RUN_PAUSES`: the pauses between runs of a failing engine. Default `1s,5s,30s`.
    pub run_pauses: Vec<Duration>,
    /// `SWITCHBOARD_INBOX_CAPACITY`: how many messages may wait to be committed. Default 4,096.
    pub inbox_capacity: usize,
    /// `SWITCHBOARD_CONCURRENCY`: how many turns and deliveries a process works on at once. Default 1,024.
    pub concurrency: usize,
    /// `SWITCHBOARD_HOOK_CONCURRENCY`: how many dispatches to endpoints a process works on at once, beside the rest;
    /// one endpoint alone gets half of it at most. Default 512.
    pub hook_concurrency: usize,
    /// `SWITCHBOARD_SIMULATION`: `on` makes an empty database a simulation, whose clock can be moved; one with other data is
    /// refused. Default `off`.
    pub simulation: bool,
    /// `SWITCHBOARD_MAX_ENDPOINTS`: how many endpoints a workspace may have. Default 100.
    pub max_endpoints: i64,
    /// `SWITCHBOARD_DISPATCH_RETENTION_DAYS`: how long dispatches are kept that were delivered or given up; 0: for ever. Default 0.
    pub dispatch_retention: Option<Duration>,
    /// `SWITCHBOARD_LEASE_SECONDS`: how long a process that fell silent keeps its work. 1 to 300, default 4.
    pub lease: Duration,
    /// `SWITCHBOARD_SHUTDOWN_SECONDS`: how long work in hand may take to end. Default 20.
    pub shutdown: Duration,
    /// `SWITCHBOARD_ENGINE_WAIT_SECONDS`: how long a turn may wait for an engine that works on its answer by itself (Manus).
    /// After that the run has failed. 1 to 86,400, default 1,800.
    pub longest_wait: Duration,
    /// The operator's own accounts at engines, used by agents that name no integration: `OPENAI_API_KEY`,
    /// `ANTHROPIC_API_KEY`, `GEMINI_API_KEY`, `MANUS_API_KEY` and `DIFY_API_KEY`, and each vendor's `…_BASE_URL`. Not set:
    /// such agents fail.
    pub engines: BTreeMap<String, Connection>,
    /// `SWITCHBOARD_CRM_INTEGRATION`: the id of the one integration whose CRM may call `/api/webhooks/crm` without a secret in
    /// the path. Default: none may.
    pub crm_integration: Option<IntegrationId>,
    /// The chat sources of amoCRM's integrations, where their own settings say nothing of them.
    /// `AMOCRM_AUTO_CREATE_SOURCES`: whether a source that isn't found is made. Default `true`.
    /// `AMOCRM_TEMA_EDNA_SOURCE_NAME`: its name. Default `TeMa Edna`.
    /// `AMOCRM_SOURCE_PIPELINE_ID`: the pipeline that it is made with. Not set: that of a source that is there, else the main one.
    /// `AMOCRM_SOURCE_EXTERNAL_ID_PREFIX`: what its external id begins with, up to 27 printable ASCII characters. Default
    /// `tema_edna`.
    /// With any of them set, integrations that don't say whether they want one (`auto_source`) have one, unless the first is
    /// `false`: for a server with one workspace.
    pub amocrm_sources: vendors::amocrm::sources::Defaults,
    /// `SWITCHBOARD_ROLES`: `api`, `worker`, or both, separated by a comma. Default both.
    pub roles: Roles,
    /// `SWITCHBOARD_LOG`: the level, per target if wanted, as in `info,store=debug`. Default `info`, without Postgres's notices.
    pub log: String,
    /// `SWITCHBOARD_LOG_FORMAT`: `text` or `json`. Default `text`.
    pub log_json: bool,
    /// `SWITCHBOARD_FAIL_POINTS`: where this process ends itself, as in `record.after=0.01`. For `cargo xtask torture`.
    #[cfg(feature = "failpoints")]
    pub fail_points: String,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Listens.
    pub api: bool,
    /// Works.
    pub worker: bool,
}

impl Roles {
    /// Reads `api`, `worker` or `api,worker`.
    ///
    /// # Errors
    /// What it must be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut roles = Self { api: false, worker: false };
        for role in text.split(',').map(str::trim) {
            match role {
                "api" => roles.api = true,
                "worker" => roles.worker = true,
                _ => return Err("must be api, worker, or api,worker".to_owned()),
            }
        }
        Ok(roles)
    }
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// Every variable that is not valid, one a line.
    pub fn from_env() -> Result<Self, String> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads variables from anywhere.
    ///
    /// # Errors
    /// Every variable that is not valid, one a line.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut reader = Reader { get: &get, mistakes: Vec::new() };
        let localhost = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let everywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8000);
        let seconds = |range: std::ops::RangeInclusive<u64>| {
            move |text: &str| {
                let value = text.parse().ok().filter(|value| range.contains(value));
                value
                    .map(Duration::from_secs)
                    .ok_or_else(|| format!("must be {} to {}", range.start(), range.end()))
            }
        };
        let header =
            |text: &str| text.parse::<HeaderName>().map_err(|_| "must be the name of a header".to_owned());
        let addr = |text: &str| {
            text.parse().map_err(|_| "must be an address and a port, as 127.0.0.1:8000".to_owned())
        };
        let config = Self {
            database_url: reader.text("DATABASE_URL").map(Into::into),
            database_connections: reader.parse("SWITCHBOARD_DATABASE_CONNECTIONS", 24, number(16..=1_000)),
            data_dir: reader.text("SWITCHBOARD_DATA_DIR").map(Into::into),
            postgres_bin: reader.text("SWITCHBOARD_POSTGRES_BIN").map(Into::into),
            keyring: reader.text("SWITCHBOARD_KEYRING").map(Into::into),
            keyring_file: reader.text("SWITCHBOARD_KEYRING_FILE").map(Into::into),
            http_addr: reader.parse("SWITCHBOARD_HTTP_ADDR", everywhere, addr),
            public_url: reader.parse("SWITCHBOARD_PUBLIC_URL", None, |text| {
                let url = text.trim_end_matches('/');
                let fits = url.starts_with("https://") || url.starts_with("http://");
                if fits && !url.contains(['?', '#', ' ']) {
                    Ok(Some(url.to_owned()))
                } else {
                    Err("must be an http or https URL without a query".to_owned())
                }
            }),
            grpc_addr: reader.parse("SWITCHBOARD_GRPC_ADDR", localhost(50_051), addr),
            grpc_tls: reader.pair("SWITCHBOARD_GRPC_TLS_CERT", "SWITCHBOARD_GRPC_TLS_KEY"),
            cors_origins: reader.parse("SWITCHBOARD_CORS_ORIGINS", Vec::new(), |text| {
                Ok(text.split(',').map(|origin| origin.trim().to_owned()).collect())
            }),
            allow_private_targets: reader.parse(
                "SWITCHBOARD_ALLOW_PRIVATE_TARGETS",
                "none".to_owned(),
                |text| {
                    text.parse::<vendors::http::AllowList>()
                        .map(|_| text.to_owned())
                        .map_err(|error| error.to_string())
                },
            ),
            inbound_token_header: reader.parse(
                "SWITCHBOARD_INBOUND_TOKEN_HEADER",
                HeaderName::from_static("x-chatbot_auth_token"),
                header,
            ),
            outbound_token_header: reader.parse(
                "SWITCHBOARD_OUTBOUND_TOKEN_HEADER",
                HeaderName::from_static("x-chat_auth_token"),
                header,
            ),
            new_message_wait: reader.parse(
                "SWITCHBOARD_NEW_MESSAGE_WAIT_SECONDS",
                Duration::ZERO,
                seconds(0..=30),
            ),
            max_body_bytes: reader.parse("SWITCHBOARD_MAX_BODY_BYTES", 262_144, number(1_024..=67_108_864)),
            body_timeout: reader.parse(
                "SWITCHBOARD_BODY_TIMEOUT_SECONDS",
                Duration::from_secs(10),
                seconds(1..=300),
            ),
            send_timeout: reader.parse(
                "SWITCHBOARD_SEND_TIMEOUT_SECONDS",
                Duration::from_secs(10),
                seconds(1..=120),
            ),
            delivery_pauses: reader.parse(
                "SWITCHBOARD_DELIVERY_PAUSES",
                [1, 5, 30, 120, 600, 3_600, 10_800, 21_600].map(Duration::from_secs).to_vec(),
                pauses,
            ),
            sandbox_pauses: reader.parse(
                "SWITCHBOARD_SANDBOX_PAUSES",
                [1, 2, 5, 10].map(Duration::from_secs).to_vec(),
                pauses,
            ),
            run_pauses: reader.parse(
                "SWITCHBOARD_RUN_PAUSES",
                [1, 5, 30].map(Duration::from_secs).to_vec(),
                pauses,
            ),
            inbox_capacity: reader.parse("SWITCHBOARD_INBOX_CAPACITY", 4_096, number(1..=1_000_000)),
            concurrency: reader.parse("SWITCHBOARD_CONCURRENCY", 1_024, number(1..=100_000)),
            hook_concurrency: reader.parse("SWITCHBOARD_HOOK_CONCURRENCY", 512, number(1..=100_000)),
            simulation: reader.parse("SWITCHBOARD_SIMULATION", false, |text| match text {
                "on" => Ok(true),
                "off" => Ok(false),
                _ => Err("must be on or off".to_owned()),
            }),
            max_endpoints: reader.parse("SWITCHBOARD_MAX_ENDPOINTS", 100, number(1..=100_000)),
            dispatch_retention: reader.parse("SWITCHBOARD_DISPATCH_RETENTION_DAYS", None, |text| {
                let days = number(0..=3_650_u64)(text)?;
                Ok((days > 0).then(|| Duration::from_hours(24 * days)))
            }),
            lease: reader.parse("SWITCHBOARD_LEASE_SECONDS", Duration::from_secs(4), seconds(1..=300)),
            shutdown: reader.parse(
                "SWITCHBOARD_SHUTDOWN_SECONDS",
                Duration::from_secs(20),
                seconds(0..=3_600),
            ),
            longest_wait: reader.parse(
                "SWITCHBOARD_ENGINE_WAIT_SECONDS",
                Duration::from_mins(30),
                seconds(1..=86_400),
            ),
            engines: ["openai", "anthropic", "gemini", "manus", "dify"]
                .into_iter()
                .filter_map(|vendor| Some((vendor.to_owned(), reader.engine(vendor)?)))
                .collect(),
            crm_integration: reader.parse("SWITCHBOARD_CRM_INTEGRATION", None, |text| {
                text.parse().map(Some).map_err(|_| "must be the id of an integration".to_owned())
            }),
            amocrm_sources: reader.amocrm_sources(),
            roles: reader.parse("SWITCHBOARD_ROLES", Roles { api: true, worker: true }, Roles::parse),
            log: reader.parse("SWITCHBOARD_LOG", "info,sqlx::postgres::notice=warn".to_owned(), |text| {
                text.parse::<tracing_subscriber::EnvFilter>()
                    .map(|_| text.to_owned())
                    .map_err(|error| error.to_string())
            }),
            log_json: reader.parse("SWITCHBOARD_LOG_FORMAT", false, |text| match text {
                "json" => Ok(true),
                "text" => Ok(false),
                _ => Err("must be text or json".to_owned()),
            }),
            #[cfg(feature = "failpoints")]
            fail_points: reader.text("SWITCHBOARD_FAIL_POINTS").unwrap_or_default(),
        };
        if config.keyring.is_some() && config.keyring_file.is_some() {
            reader
                .mistakes
                .push("SWITCHBOARD_KEYRING_FILE: must not be set with SWITCHBOARD_KEYRING".to_owned());
        }
        if reader.mistakes.is_empty() { Ok(config) } else { Err(reader.mistakes.join("\n")) }
    }

    /// How failed deliveries are tried again.
    pub fn deliveries(&self) -> RetrySchedule {
        RetrySchedule { pauses: self.delivery_pauses.clone(), longest_pause: Duration::from_hours(24) }
    }

    /// How failed dispatches are tried again.
    pub fn hooks(&self) -> Schedules {
        Schedules::new(self.sandbox_pauses.clone())
    }

    /// How failed runs are tried again.
    pub fn runs(&self) -> RetrySchedule {
        RetrySchedule { pauses: self.run_pauses.clone(), longest_pause: Duration::from_mins(10) }
    }

    /// Where the data directory is.
    ///
    /// # Errors
    /// When there is no home to put it in.
    pub fn data_dir(&self) -> anyhow::Result<PathBuf> {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        Ok(match &self.data_dir {
            Some(dir) => std::path::absolute(dir)?,
            None => postgres::data_dir_default(variable("HOME"), variable("XDG_DATA_HOME"))?,
        })
    }
}

struct Reader<'a, G> {
    get: &'a G,
    mistakes: Vec<String>,
}

impl<G: Fn(&str) -> Option<String>> Reader<'_, G> {
    fn text(&self, name: &str) -> Option<String> {
        (self.get)(name).filter(|text| !text.is_empty())
    }

    fn amocrm_sources(&mut self) -> vendors::amocrm::sources::Defaults {
        const NAMES: [&str; 4] = [
            "AMOCRM_AUTO_CREATE_SOURCES",
            "AMOCRM_TEMA_EDNA_SOURCE_NAME",
            "AMOCRM_SOURCE_PIPELINE_ID",
            "AMOCRM_SOURCE_EXTERNAL_ID_PREFIX",
        ];
        let usual = vendors::amocrm::sources::Defaults::default();
        let said = NAMES.into_iter().any(|name| self.text(name).is_some());
        let [create, name, pipeline, prefix] = NAMES;
        let create = self.parse(create, usual.create, |text| match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        });
        vendors::amocrm::sources::Defaults {
            asked: said && create,
            create,
            name: self.parse(name, usual.name, |text| {
                let fits = !text.trim().is_empty() && text.chars().count() <= domain::source::MAX_NAME_CHARS;
                fits.then(|| text.to_owned()).ok_or_else(|| "must be 1 to 200 characters".to_owned())
            }),
            pipeline_id: self.parse(pipeline, usual.pipeline_id, |text| {
                let good = text.parse::<u64>().is_ok_and(|id| id > 0);
                good.then(|| Some(text.to_owned())).ok_or_else(|| "must be the id of a pipeline".to_owned())
            }),
            prefix: self.parse(prefix, usual.prefix, |text| {
                let good = vendors::amocrm::sources::Defaults::is_prefix(text);
                good.then(|| text.to_owned())
                    .ok_or_else(|| "must be 1 to 27 printable ASCII characters".to_owned())
            }),
        }
    }

    fn engine(&self, vendor: &str) -> Option<Connection> {
        let variable = |name| self.text(&format!("{}_{name}", vendor.to_uppercase()));
        let (key, url) = (variable("API_KEY"), variable("BASE_URL"));
        (key.is_some() || url.is_some()).then(|| Connection {
            settings: url.map_or_else(|| json!({}), |url| json!({ "base_url": url })),
            credentials: key.map(|key| ("api_key".to_owned(), key.into())).into_iter().collect(),
            ..Connection::default()
        })
    }

    fn parse<T>(&mut self, name: &str, default: T, parse: impl Fn(&str) -> Result<T, String>) -> T {
        match self.text(name).map(|text| parse(&text)) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(mistake)) => {
                self.mistakes.push(format!("{name}: {mistake}"));
                default
            }
        }
    }

    fn pair(&mut self, one: &str, other: &str) -> Option<(PathBuf, PathBuf)> {
        match (self.text(one), self.text(other)) {
            (Some(one), Some(other)) => Some((one.into(), other.into())),
            (None, None) => None,
            _ => {
                self.mistakes.push(format!("{one} and {other}: must be set together"));
                None
            }
        }
    }
}

fn number<N: std::str::FromStr + PartialOrd + std::fmt::Display>(
    range: std::ops::RangeInclusive<N>,
) -> impl Fn(&str) -> Result<N, String> {
    move |text| {
        let value = text.parse().ok().filter(|value| range.contains(value));
        value.ok_or_else(|| format!("must be {} to {}", range.start(), range.end()))
    }
}

fn pauses(text: &str) -> Result<Vec<Duration>, String> {
    text.split(',')
        .map(|pause| {
            let pause = pause.trim();
            let at = pause.find(|c: char| !c.is_ascii_digit()).unwrap_or(pause.len());
            let (count, unit) = pause.split_at(at);
            let milliseconds = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return Err("must be pauses such as 500ms,5s,2m,1h".to_owned()),
            };
            let count: u64 = count.parse().map_err(|_| "must be pauses such as 500ms,5s,2m,1h".to_owned())?;
            Ok(Duration::from_millis(count.saturating_mul(milliseconds)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_listed_at_once() {
        let mistakes = Config::read(|name| match name {
            "SWITCHBOARD_HTTP_ADDR" => Some("here".to_owned()),
            "SWITCHBOARD_ROLES" => Some("api,boss".to_owned()),
            "SWITCHBOARD_GRPC_TLS_KEY" => Some("key.pem".to_owned()),
            "SWITCHBOARD_DELIVERY_PAUSES" => Some("5 parsecs".to_owned()),
            "SWITCHBOARD_NEW_MESSAGE_WAIT_SECONDS" => Some("31".to_owned()),
            _ => None,
        })
        .unwrap_err();
        assert_eq!(mistakes.lines().count(), 5, "{mistakes}");
    }

    #[test]
    fn sources_are_as_the_operator_says() {
        let read = |name: &'static str, value: &'static str| {
            Config::read(move |asked| (asked == name).then(|| value.to_owned()))
                .map(|config| config.amocrm_sources)
        };
        let usual = read("SWITCHBOARD_LOG", "info").unwrap();
        assert_eq!((usual.asked, usual.create), (false, true));
        assert_eq!((usual.name.as_str(), usual.prefix.as_str()), ("TeMa Edna", "tema_edna"));
        let named = read("AMOCRM_TEMA_EDNA_SOURCE_NAME", "Shop").unwrap();
        assert_eq!((named.asked, named.name.as_str()), (true, "Shop"));
        let off = read("AMOCRM_AUTO_CREATE_SOURCES", "false").unwrap();
        assert_eq!((off.asked, off.create), (false, false));
        assert!(read("AMOCRM_AUTO_CREATE_SOURCES", "true").unwrap().asked);
        for (name, value) in [
            ("AMOCRM_AUTO_CREATE_SOURCES", "maybe"),
            ("AMOCRM_SOURCE_PIPELINE_ID", "main"),
            ("AMOCRM_SOURCE_EXTERNAL_ID_PREFIX", "источник"),
        ] {
            assert!(read(name, value).unwrap_err().contains(name));
        }
    }

    #[test]
    fn nothing_has_to_be_set() {
        let config = Config::read(|_| None).unwrap();
        assert_eq!(config.http_addr.to_string(), "0.0.0.0:8000");
        assert_eq!(config.grpc_addr.to_string(), "127.0.0.1:50051");
        assert_eq!(pauses("500ms, 2m").unwrap(), [Duration::from_millis(500), Duration::from_mins(2)]);
    }
}
