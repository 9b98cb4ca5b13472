//! Where the two programs are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The two programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `aegis-server`
    pub server: PathBuf,
    /// `aegis`
    pub participant: PathBuf,
}

impl Programs {
    /// Finds them in `AEGIS_BIN_DIR`, or beside the running program (a test runs one folder deeper, in `deps`).
    pub fn locate() -> Result<Self> {
        let given = std::env::var_os("AEGIS_BIN_DIR").map(PathBuf::from);
        let own = std::env::current_exe().context("this program does not know its own path")?;
        let beside = own.parent().map(Path::to_owned).unwrap_or_default();
        let above = beside.parent().map(Path::to_owned).unwrap_or_default();
        for folder in given.into_iter().chain([beside, above]) {
            let found = Self { server: folder.join("aegis-server"), participant: folder.join("aegis") };
            if found.server.is_file() && found.participant.is_file() {
                return Ok(found);
            }
        }
        bail!("aegis-server and aegis are not built: cargo build -p aegis-server -p aegis")
    }
}
