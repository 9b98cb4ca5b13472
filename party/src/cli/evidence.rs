//! Evidence: words and files that somebody puts on record. The files stay with their author; what is signed is their hashes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aegis_common::escrow::statement::{Act, Exhibit, bounds};
use aegis_common::hash::Hash32;
use clap::Args;
use sha2::{Digest, Sha256};

use super::{Context, Which, trade};
use crate::engine::EngineError;

#[derive(Args)]
pub struct Evidence {
    #[command(flatten)]
    which: Which,
    /// What it shows, or what you have to say.
    #[arg(long)]
    text: String,
    /// A file that you keep and can show, such as a photograph or a receipt; may be given more than once. Its name and its
    /// SHA-256 are put on record, not its content.
    #[arg(long = "file")]
    files: Vec<PathBuf>,
}

pub async fn put(context: &Context, evidence: Evidence) -> Result<(), EngineError> {
    let Evidence { which, text, files } = evidence;
    if files.len() > bounds::EXHIBITS {
        let why = format!("at most {} files can be named at once", bounds::EXHIBITS);
        return Err(EngineError::Person(why));
    }
    let files = files.iter().map(|path| exhibit(path)).collect::<Result<_, _>>()?;
    trade::say(context, which, Ok(Act::Evidence { text, files })).await
}

fn exhibit(path: &Path) -> Result<Exhibit, EngineError> {
    let refused = |why: &dyn std::fmt::Display| EngineError::Person(format!("{}: {why}", path.display()));
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| refused(&"its name can't be put on record"))?.to_owned();
    let (bytes, sha256) = File::open(path).and_then(digest).map_err(|error| refused(&error))?;
    Ok(Exhibit { name, bytes, sha256 })
}

/// Length and SHA-256 of what is read, however long it is.
fn digest(mut from: impl Read) -> io::Result<(u64, Hash32)> {
    let (mut hasher, mut part, mut bytes) = (Sha256::new(), vec![0; 1 << 16], 0);
    loop {
        let read = from.read(&mut part)?;
        if read == 0 {
            return Ok((bytes, Hash32(hasher.finalize().into())));
        }
        hasher.update(&part[..read]);
        bytes += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_without_its_path_and_hashed_as_sha256sum_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipt.txt");
        std::fs::write(&path, "abc").unwrap();
        let exhibit = exhibit(&path).unwrap();
        assert_eq!((exhibit.name.as_str(), exhibit.bytes), ("receipt.txt", 3));
        // FIPS 180-4, example for "abc".
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(exhibit.sha256.to_string(), expected);
        let long = vec![0; (1 << 16) + 1];
        assert_eq!(digest(&long[..]).unwrap(), (65_537, Hash32(Sha256::digest(&long).into())));
    }

    #[test]
    fn what_is_no_file_is_refused_by_its_path() {
        let error = exhibit(Path::new("/nowhere/receipt.txt")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/receipt.txt"), "{error}");
        assert!(exhibit(Path::new("/")).is_err());
        assert!(exhibit(Path::new("/tmp")).is_err(), "a folder");
    }
}
