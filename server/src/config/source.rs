//! Where settings come from: the environment over a file, as text by name.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use figment::value::Value;

/// Names the TOML file.
const FILE: &str = "AEGIS_CONFIG";
const PREFIX: &str = "AEGIS_";

/// A setting as it is declared.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Name of the variable.
    pub key: &'static str,
    /// Default, as one would write it.
    pub default: &'static str,
    /// Documentation, a line of text each.
    pub doc: &'static [&'static str],
}

/// Settings that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Concern {
    /// What they are about, a line of text each.
    pub about: &'static [&'static str],
    /// The settings.
    pub settings: &'static [Setting],
}

/// The configuration can't be used; the server must not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value is missing or outside its bounds.
    #[error("{key}: {why}")]
    Setting {
        /// Name of the variable.
        key: &'static str,
        /// What is wrong. It never repeats the value, which may hold a password.
        why: String,
    },
    /// The file has a key that is no setting.
    #[error("{0}: there is no such setting")]
    Unknown(String),
    /// The file can't be read, or is not TOML.
    #[error("{0}")]
    File(String),
}

/// Settings by name, as text.
pub(super) struct Source {
    values: BTreeMap<String, String>,
    /// Variables that are no settings.
    pub unknown: Vec<String>,
}

impl Source {
    pub fn new(
        env: impl IntoIterator<Item = (String, String)>,
        concerns: &[Concern],
    ) -> Result<Self, ConfigError> {
        let mut ours: BTreeMap<String, String> =
            env.into_iter().filter(|(key, _)| key.starts_with(PREFIX)).collect();
        let file = ours.remove(FILE);
        let known: Vec<&str> = concerns.iter().flat_map(|c| c.settings).map(|setting| setting.key).collect();
        let (ours, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            ours.into_iter().partition(|(key, _)| known.contains(&key.as_str()));
        // All values of the environment stay text: nothing is guessed to be a number or a list.
        let ours: BTreeMap<_, _> = ours.into_iter().map(|(key, value)| (in_file(&key), value)).collect();
        let mut figment = Figment::new();
        if let Some(path) = &file {
            figment = figment.merge(Toml::file_exact(path));
        }
        let merged: BTreeMap<String, Value> = figment
            .merge(Serialized::defaults(ours))
            .extract()
            .map_err(|error| ConfigError::File(format!("{}: {error}", file.unwrap_or_default())))?;
        if let Some(key) = merged.keys().find(|key| !known.iter().any(|known| in_file(known) == **key)) {
            return Err(ConfigError::Unknown(key.clone()));
        }
        let values = merged.into_iter().map(|(key, value)| (key, as_text(&value))).collect();
        Ok(Self { values, unknown: others.into_keys().collect() })
    }

    pub fn get<T>(
        &self,
        key: &'static str,
        default: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let text = self.values.get(&in_file(key)).map_or(default, String::as_str);
        read(text.trim()).map_err(|why| ConfigError::Setting { key, why })
    }
}

/// The name in a TOML file.
fn in_file(key: &str) -> String {
    key.strip_prefix(PREFIX).unwrap_or(key).to_ascii_lowercase()
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(_, text) => text.clone(),
        Value::Char(_, one) => one.to_string(),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => number
            .to_u128()
            .map(|n| n.to_string())
            .or_else(|| number.to_i128().map(|n| n.to_string()))
            .or_else(|| number.to_f64().map(|n| n.to_string()))
            .unwrap_or_default(),
        Value::Array(_, items) => items.iter().map(as_text).collect::<Vec<_>>().join(","),
        // No setting is a table; the reader of the setting refuses this.
        Value::Dict(..) | Value::Empty(..) => String::from("{}"),
    }
}

/// The text of `.env.example`.
pub fn env_example(concerns: &[Concern]) -> String {
    let mut text = String::from(
        "# Settings of aegis-server with their defaults. Made by `aegis-server settings`; a test keeps it in step.\n\
         # The same keys, in lower case and without AEGIS_, may stand in a TOML file named by AEGIS_CONFIG.\n",
    );
    for concern in concerns {
        let _ = write!(text, "\n## {}\n", concern.about.join("").trim());
        for Setting { key, default, doc } in concern.settings {
            text.push('\n');
            for line in *doc {
                let _ = writeln!(text, "#{line}");
            }
            let _ = writeln!(text, "{key}={default}");
        }
    }
    text
}
