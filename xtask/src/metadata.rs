//! What cargo knows of the workspace and its dependencies: the part of `cargo metadata` that the checks read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Deserialize;

use crate::paths::Paths;
use crate::run;

/// The workspace with every package that is compiled for it on Linux.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// All packages, our own among them.
    pub packages: Vec<Package>,
    /// The ids of our own packages.
    pub workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

/// A package as its manifest describes it.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Unique.
    pub id: String,
    /// Its name; several versions may share one.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The SPDX expression of its licence. `None`: it names no licence.
    pub license: Option<String>,
    /// Where it comes from. `None`: a folder on this machine.
    pub source: Option<String>,
    /// Its `Cargo.toml`.
    pub manifest_path: PathBuf,
    /// What it declares to depend on.
    pub dependencies: Vec<Dependency>,
}

/// A declared dependency.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// `None` for a normal one, else `dev` or `build`.
    pub kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Debug, Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

impl Metadata {
    /// Asks cargo. Linux on x86-64 stands for all platforms, so that packages for others need not be downloaded.
    pub fn read(paths: &Paths) -> anyhow::Result<Self> {
        let mut cargo = run::cargo(&paths.root);
        cargo.args(["metadata", "--format-version=1", "--filter-platform=x86_64-unknown-linux-gnu"]);
        serde_json::from_str(&run::capture(&mut cargo)?).context("reading the output of cargo metadata")
    }

    /// Our own packages.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// The shortest way by which one of our packages comes to link a package of that name: names, both ends included.
    /// What only tests or build scripts use doesn't count. `None`: it doesn't.
    pub fn way<'a>(&'a self, from: &'a Package, name: &str) -> Option<Vec<&'a str>> {
        let names: BTreeMap<&str, &str> =
            self.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect();
        let nodes: BTreeMap<&str, &Node> =
            self.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let mut came_from: BTreeMap<&str, Option<&str>> = BTreeMap::from([(from.id.as_str(), None)]);
        let mut waiting = VecDeque::from([from.id.as_str()]);
        while let Some(id) = waiting.pop_front() {
            if names.get(id) == Some(&name) {
                let mut way = Vec::new();
                let mut here = Some(id);
                while let Some(id) = here {
                    way.push(names.get(id).copied().unwrap_or(id));
                    here = came_from[id];
                }
                way.reverse();
                return Some(way);
            }
            for edge in nodes.get(id).into_iter().flat_map(|node| &node.deps) {
                let linked = edge.dep_kinds.iter().any(|kind| kind.kind.is_none());
                if linked && !came_from.contains_key(edge.pkg.as_str()) {
                    came_from.insert(&edge.pkg, Some(id));
                    waiting.push_back(&edge.pkg);
                }
            }
        }
        None
    }
}

/// A workspace for tests of the rules.
#[cfg(test)]
pub mod example {
    use super::*;

    /// Makes one of `(name, normal dependencies, dev dependencies)`; names that begin with `switchboard` are members.
    pub fn workspace(packages: &[(&str, &[&str], &[&str])]) -> Metadata {
        let kinds = |normal: &[&str], dev: &[&str]| -> Vec<(String, Option<String>)> {
            let normal = normal.iter().map(|name| ((*name).to_owned(), None));
            normal.chain(dev.iter().map(|name| ((*name).to_owned(), Some("dev".to_owned())))).collect()
        };
        Metadata {
            packages: packages
                .iter()
                .map(|(name, normal, dev)| Package {
                    id: (*name).to_owned(),
                    name: (*name).to_owned(),
                    version: "1.0.0".to_owned(),
                    license: Some("MIT".to_owned()),
                    source: None,
                    manifest_path: PathBuf::from("/checkout").join(name).join("Cargo.toml"),
                    dependencies: kinds(normal, dev)
                        .into_iter()
                        .map(|(name, kind)| Dependency { name, kind })
                        .collect(),
                })
                .collect(),
            workspace_members: packages
                .iter()
                .map(|(name, ..)| (*name).to_owned())
                .filter(|name| name.starts_with("switchboard"))
                .collect(),
            resolve: Resolve {
                nodes: packages
                    .iter()
                    .map(|(name, normal, dev)| Node {
                        id: (*name).to_owned(),
                        deps: kinds(normal, dev)
                            .into_iter()
                            .map(|(pkg, kind)| Edge { pkg, dep_kinds: vec![EdgeKind { kind }] })
                            .collect(),
                    })
                    .collect(),
            },
        }
    }
}
