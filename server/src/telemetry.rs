//! Logging.
//!
//! Never logged: passwords, tokens, tickets, keys of any kind, addresses, URLs of nodes, bodies, query strings. Accounts
//! and escrows are named by their ids. A request is named by its method, its route pattern and its request id.

use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use crate::config::{Log, LogFormat};

/// Logging can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The directives make no sense.
    #[error("AEGIS_LOG: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody was first.
    #[error("logging is set up already")]
    Twice,
}

/// Other crates' debug and trace output may hold what must not be logged: `monero_rpc` prints passwords at trace,
/// HTTP clients print URLs at debug. So nothing of theirs passes below info, whatever the directives say.
fn is_fit(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("aegis") || *metadata.level() <= LevelFilter::INFO
}

/// A subscriber that writes what the configuration asks for.
pub fn subscriber<W>(log: &Log, writer: W) -> Result<impl Subscriber + Send + Sync + use<W>, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&log.filter)?.and(filter_fn(is_fit));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).with_filter(filter).boxed(),
    };
    Ok(tracing_subscriber::registry().with(lines))
}

/// Logs to standard error from now on.
pub fn init(log: &Log) -> Result<(), TelemetryError> {
    subscriber(log, std::io::stderr)?.try_init().map_err(|_| TelemetryError::Twice)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn other_crates_never_log_below_info_whatever_is_asked() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let lines = Lines::default();
            let log = Log { filter: "trace,monero_rpc=trace".to_owned(), format };
            let out = lines.clone();
            tracing::subscriber::with_default(subscriber(&log, move || out.clone()).unwrap(), || {
                tracing::trace!(target: "monero_rpc", "login secret");
                tracing::debug!(target: "reqwest::connect", "url secret");
                tracing::info!(target: "monero_rpc", "harmless");
                tracing::trace!(target: "aegis_server::store", "ours");
            });
            let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            assert!(!text.contains("secret"), "{text}");
            assert!(text.contains("harmless") && text.contains("ours"), "{text}");
        }
    }

    #[test]
    fn nonsense_directives_are_refused() {
        let log = Log { filter: "aegis=loud".to_owned(), format: LogFormat::Text };
        assert!(subscriber(&log, io::sink).is_err());
    }
}
