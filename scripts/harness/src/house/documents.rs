//! Every path that a document names between backticks exists.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Result;

use super::source::File;

/// Paths in documents that are not there.
pub fn check(root: &Path, files: &[File]) -> Result<Vec<String>> {
    let tops: HashSet<&str> = files.iter().filter_map(|file| file.path.split('/').next()).collect();
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
        let mut fenced = false;
        for (number, line) in file.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
                continue;
            }
            if fenced {
                continue;
            }
            for named in line.split('`').skip(1).step_by(2) {
                for path in paths(named, &tops) {
                    if !root.join(&path).exists() && !root.join(folder).join(&path).exists() {
                        found.push(format!(
                            "{}:{}: names {path}, which does not exist",
                            file.path,
                            number + 1
                        ));
                    }
                }
            }
        }
    }
    Ok(found)
}

/// The paths of this tree in a text between backticks: words with a slash whose first part stands at the root.
/// `{a,b}` stands for both, `*` ends what is checked, `:12` is a line.
fn paths(named: &str, tops: &HashSet<&str>) -> Vec<String> {
    let Some(word) = named.split_whitespace().next() else { return Vec::new() };
    let word = word.trim_start_matches("./");
    let top = word.split('/').next().unwrap_or_default();
    if !word.contains('/') || !tops.contains(top) {
        return Vec::new();
    }
    let word = word.split(':').next().unwrap_or_default();
    let expanded = match (word.find('{'), word.find('}')) {
        (Some(open), Some(close)) if open < close => {
            let (before, after) =
                (word.get(..open).unwrap_or_default(), word.get(close + 1..).unwrap_or_default());
            let inside = word.get(open + 1..close).unwrap_or_default();
            inside.split(',').map(|part| format!("{before}{}{after}", part.trim())).collect()
        }
        _ => vec![word.to_owned()],
    };
    let cut = |path: String| match path.find(['*', '<', '…']) {
        Some(at) => path
            .get(..at)
            .unwrap_or_default()
            .rsplit_once('/')
            .map_or(String::new(), |(kept, _)| kept.to_owned()),
        None => path,
    };
    expanded.into_iter().map(cut).filter(|path| !path.is_empty()).collect()
}
