//! What we may ship: licences and sources of every dependency, and packages that must not come in.

use std::collections::BTreeSet;

use anyhow::bail;
use spdx::{Expression, ParseMode};

use crate::metadata::{Metadata, Package};
use crate::paths::Paths;
use crate::steps::Outcome;

/// Licences whose terms an Apache-2.0 program that is passed on as a binary fulfils by naming them.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    // Data, not code: the root certificates of webpki-roots.
    "CDLA-Permissive-2.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages that are allowed in spite of their licence: name and reason.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// The public registry, as cargo's lock file names it whatever mirror a machine uses.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Packages that must not be in the tree: name and reason.
const BANNED: &[(&str, &str)] = &[
    ("aws-lc-sys", "ring is the one TLS provider; this one needs a C build with cmake"),
    ("aws-lc-rs", "ring is the one TLS provider"),
    ("openssl-sys", "rustls is the one TLS stack; this one needs the system's OpenSSL"),
    ("native-tls", "rustls is the one TLS stack"),
    ("cmake", "a build needs cargo and a C compiler, nothing else"),
];

/// Checks all packages and lists every fault.
pub fn check(metadata: &Metadata, paths: &Paths) -> anyhow::Result<Outcome> {
    let mut faults = Vec::new();
    let mut excepted = BTreeSet::new();
    for package in &metadata.packages {
        let called = format!("{} {}", package.name, package.version);
        if EXCEPTIONS.iter().any(|(name, _)| *name == package.name) {
            excepted.insert(package.name.as_str());
        } else if let Err(fault) = licence(package.license.as_deref()) {
            faults.push(format!("{called}: {fault}"));
        }
        if let Err(fault) = source(package, paths) {
            faults.push(format!("{called}: {fault}"));
        }
        if let Some((_, reason)) = BANNED.iter().find(|(name, _)| *name == package.name) {
            faults.push(format!("{called}: {reason}\n    {}", ways(metadata, &package.name)));
        }
    }
    for (name, _) in EXCEPTIONS.iter().filter(|(name, _)| !excepted.contains(name)) {
        faults.push(format!("{name}: has an exception and is not in the tree; remove the exception"));
    }
    if !faults.is_empty() {
        bail!("{} faults in the dependencies:\n  {}", faults.len(), faults.join("\n  "));
    }
    Ok(Outcome::PassedWith(format!("{} packages", metadata.packages.len())))
}

/// Whether a licence expression can be fulfilled by allowed licences alone.
fn licence(expression: Option<&str>) -> Result<(), String> {
    let Some(expression) = expression else {
        return Err("names no licence".to_owned());
    };
    // Old packages write `MIT/Apache-2.0`, which means OR.
    let parsed = Expression::parse_mode(expression, ParseMode::LAX)
        .map_err(|error| format!("its licence {expression} is not an SPDX expression: {}", error.reason))?;
    if parsed.evaluate(|required| LICENCES.contains(&required.to_string().as_str())) {
        Ok(())
    } else {
        Err(format!("its licence {expression} is not among the allowed ones"))
    }
}

/// Whether a package comes from the public registry or lies in the checkout.
fn source(package: &Package, paths: &Paths) -> Result<(), String> {
    match package.source.as_deref() {
        Some(REGISTRY) => Ok(()),
        Some(other) => Err(format!("comes from {other}; only crates.io and the checkout are allowed")),
        None if package.manifest_path.starts_with(&paths.root) => Ok(()),
        None => Err(format!("lies outside of the checkout: {}", package.manifest_path.display())),
    }
}

/// Who of us brings a package, and by which way.
fn ways(metadata: &Metadata, name: &str) -> String {
    let ways: Vec<String> = metadata
        .members()
        .filter_map(|member| metadata.way(member, name))
        .map(|way| way.join(" > "))
        .collect();
    if ways.is_empty() {
        "by a dependency for tests or build scripts: see `cargo tree --invert`".to_owned()
    } else {
        ways.join("\n    ")
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::metadata::example::workspace;

    #[test]
    fn one_allowed_licence_of_a_choice_is_enough() {
        for allowed in [
            "MIT",
            "MIT OR GPL-3.0-only",
            "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
            "MIT/Apache-2.0",
            "Apache-2.0 / MIT",
            "Apache-2.0 WITH LLVM-exception",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "(GPL-2.0-only OR MIT) AND (ISC OR AGPL-3.0-only)",
        ] {
            assert_eq!(licence(Some(allowed)), Ok(()), "{allowed}");
        }
    }

    #[test]
    fn every_licence_of_a_sum_must_be_allowed() {
        for refused in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "MIT AND (GPL-3.0-only OR AGPL-3.0-only)",
            "Apache-2.0 WITH Classpath-exception-2.0",
            "SSPL-1.0",
            "Made-Up-1.0",
            "",
        ] {
            assert!(licence(Some(refused)).is_err(), "{refused}");
        }
        assert!(licence(None).is_err());
    }

    fn paths() -> Paths {
        Paths { root: PathBuf::from("/checkout"), target: PathBuf::from("/checkout/target") }
    }

    #[test]
    fn sources_are_the_registry_and_the_checkout() {
        let mut metadata = workspace(&[("a", &[], &[])]);
        let package = &mut metadata.packages[0];
        assert_eq!(source(package, &paths()), Ok(()));
        package.manifest_path = PathBuf::from("/elsewhere/Cargo.toml");
        assert!(source(package, &paths()).is_err());
        package.source = Some(REGISTRY.to_owned());
        assert_eq!(source(package, &paths()), Ok(()));
        package.source = Some("git+https://example.com/a?rev=1#1".to_owned());
        assert!(source(package, &paths()).is_err());
    }

    #[test]
    fn a_banned_package_is_named_with_its_way() {
        let metadata = workspace(&[
            ("switchboard", &["http-client"], &[]),
            ("http-client", &["openssl-sys"], &[]),
            ("openssl-sys", &[], &[]),
        ]);
        let fault = check(&metadata, &paths()).unwrap_err().to_string();
        assert!(fault.contains("switchboard > http-client > openssl-sys"), "{fault}");
    }
}
