//! Generated files: written only where they differ, and compared with what was there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::paths::Paths;
use crate::run;

/// Makes `to` hold exactly the files of `from`, both flat folders. A file that is the same stays untouched, so that
/// nothing is compiled again for its new date.
pub fn sync(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    let (new, old) = (names(from)?, names(to)?);
    for name in old.difference(&new) {
        let path = to.join(name);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    for name in &new {
        let (source, target) = (from.join(name), to.join(name));
        let content = fs::read(&source).with_context(|| format!("reading {}", source.display()))?;
        if fs::read(&target).ok().as_ref() != Some(&content) {
            fs::write(&target, content).with_context(|| format!("writing {}", target.display()))?;
        }
    }
    Ok(())
}

fn names(folder: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        names.insert(entry?.file_name().into());
    }
    Ok(names)
}

/// Generates and fails when that changed a file of `folder` (relative to the checkout). What was generated stays, ready
/// to be committed.
///
/// It compares with the files as they were rather than with the last commit, so that it tells the truth in a checkout
/// with work in it. In CI, where the checkout is a commit, the two are the same.
pub fn drift(
    paths: &Paths,
    folder: &str,
    generate: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let before = snapshot(paths, folder)?;
    generate()?;
    let differences = differences(&before, &snapshot(paths, folder)?);
    if differences.is_empty() {
        return Ok(());
    }
    bail!(
        "generated code was not up to date; it is now, so commit it (`cargo xtask gen`):\n  {}",
        differences.join("\n  ")
    )
}

type Snapshot = BTreeMap<String, Vec<u8>>;

/// The files of a folder that git tracks or would track.
fn snapshot(paths: &Paths, folder: &str) -> anyhow::Result<Snapshot> {
    let mut git = run::git(&paths.root);
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", folder]);
    let mut files = Snapshot::new();
    for name in run::capture(&mut git)?.split_terminator('\0') {
        // Deleted but still in the index: not there.
        if let Ok(content) = fs::read(paths.join(name)) {
            files.insert(name.to_owned(), content);
        }
    }
    Ok(files)
}

fn differences(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| match (before.get(name), after.get(name)) {
            (None, _) => Some(format!("new      {name}")),
            (_, None) => Some(format!("removed  {name}")),
            (Some(old), Some(new)) if old != new => Some(format!("changed  {name}")),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_difference_is_named() {
        let files = |list: &[(&str, &str)]| -> Snapshot {
            list.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
        };
        let before = files(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let after = files(&[("a", "1"), ("b", "2"), ("d", "1")]);
        assert_eq!(differences(&before, &after), ["changed  b", "removed  c", "new      d"]);
        assert!(differences(&before, &before).is_empty());
    }

    #[test]
    fn a_file_that_is_the_same_keeps_its_date() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (name, old, new) in [("same", "1", "1"), ("changed", "1", "2")] {
            fs::write(to.path().join(name), old).unwrap();
            fs::write(from.path().join(name), new).unwrap();
        }
        fs::write(to.path().join("gone"), "1").unwrap();
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_hours(1);
        let same = fs::File::options().write(true).open(to.path().join("same")).unwrap();
        same.set_modified(long_ago).unwrap();

        sync(from.path(), to.path()).unwrap();
        assert_eq!(names(to.path()).unwrap(), names(from.path()).unwrap());
        assert_eq!(fs::read_to_string(to.path().join("changed")).unwrap(), "2");
        assert_eq!(fs::metadata(to.path().join("same")).unwrap().modified().unwrap(), long_ago);
    }
}
