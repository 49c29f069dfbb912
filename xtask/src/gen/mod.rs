//! Generated code: what there is to write and where it goes.

pub mod rust;
pub mod sqlx;

use anyhow::bail;

use crate::paths::Paths;
use crate::sdks;

/// Something that is generated.
pub struct Target {
    /// What it is called on the command line.
    pub name: &'static str,
    /// The folder it writes, relative to the checkout.
    pub folder: &'static str,
    /// Writes it.
    pub generate: fn(&Paths) -> anyhow::Result<()>,
}

/// What every machine with Rust and `PostgreSQL` can generate; the other languages are in [`sdks`].
pub const TARGETS: &[Target] = &[
    Target { name: "rust", folder: rust::FOLDER, generate: rust::run },
    Target { name: "sqlx", folder: sqlx::FOLDER, generate: sqlx::run },
];

/// Generates what is named; without a name all that this machine can, naming what it can't.
pub fn run(paths: &Paths, names: &[String]) -> anyhow::Result<()> {
    let known = || TARGETS.iter().map(|target| target.name).chain(sdks::all().iter().map(|sdk| sdk.name));
    if let Some(unknown) = names.iter().find(|name| !known().any(|known| known == name.as_str())) {
        bail!("there is no generator {unknown}; known are {}", known().collect::<Vec<_>>().join(", "));
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|each| each == name);
    for target in TARGETS.iter().filter(|target| wanted(target.name)) {
        println!("== {}", target.name);
        (target.generate)(paths)?;
    }
    for sdk in sdks::all().iter().filter(|sdk| wanted(sdk.name)) {
        match sdks::missing(paths, sdk)? {
            Some(why) if names.is_empty() => println!("skipped: {} ({why})", sdk.name),
            Some(why) => bail!("{} {why}", sdk.name),
            None => {
                println!("== {}", sdk.name);
                (sdk.generate)(paths)?;
            }
        }
    }
    Ok(())
}
