//! Who may know whom: the table of `server/README.md` in a form that can fail.

use std::collections::BTreeSet;

use anyhow::bail;

use crate::metadata::Metadata;
use crate::steps::Outcome;

/// A crate of ours and its borders.
struct Room {
    name: &'static str,
    /// Which of our crates it may depend on.
    may_know: &'static [&'static str],
    /// What it must not link, be it through others.
    must_not_link: &'static [&'static str],
}

/// Every crate of the workspace. Tests may stand in several rooms, so dependencies for tests don't count.
const ROOMS: &[Room] = &[
    // What a user of the contract takes: nothing of the server.
    Room { name: "switchboard-sdk", may_know: &[], must_not_link: &["sqlx", "reqwest"] },
    // No input or output.
    Room {
        name: "switchboard-domain",
        may_know: &[],
        must_not_link: &["tonic", "prost", "axum", "sqlx", "reqwest", "hyper"],
    },
    // SQL, and nothing but.
    Room {
        name: "switchboard-store",
        may_know: &["switchboard-domain"],
        must_not_link: &["tonic", "prost", "axum", "reqwest"],
    },
    // The only ones who call out; they return values and store nothing.
    Room {
        name: "switchboard-vendors",
        may_know: &["switchboard-domain"],
        must_not_link: &["tonic", "prost", "axum", "sqlx"],
    },
    // Use cases know the vendors' traits, not the vendors, and not by which door a call came.
    Room {
        name: "switchboard-app",
        may_know: &["switchboard-domain", "switchboard-store"],
        must_not_link: &["tonic", "prost", "axum", "reqwest"],
    },
    // The vendors' other half: written from their documentation, not from our adapters.
    Room { name: "switchboard-simulator", may_know: &[], must_not_link: &["tonic", "prost", "sqlx"] },
    // Starts and stops a database without speaking to it.
    Room {
        name: "switchboard-postgres",
        may_know: &[],
        must_not_link: &["tonic", "axum", "sqlx", "reqwest", "tokio"],
    },
    // Puts everything together.
    Room {
        name: "switchboard",
        may_know: &[
            "switchboard-app",
            "switchboard-cli",
            "switchboard-domain",
            "switchboard-postgres",
            "switchboard-sdk",
            "switchboard-simulator",
            "switchboard-store",
            "switchboard-vendors",
        ],
        must_not_link: &[],
    },
    // A customer's program: the SDK and nothing else of ours.
    Room { name: "switchboard-cli", may_know: &["switchboard-sdk"], must_not_link: &["sqlx", "reqwest"] },
    // Starts a database for checked queries and calls the server like a customer.
    Room { name: "xtask", may_know: &["switchboard-postgres", "switchboard-sdk"], must_not_link: &[] },
];

/// Checks the declared edges between our crates and what each of them links.
pub fn check(metadata: &Metadata) -> anyhow::Result<Outcome> {
    let faults = faults(metadata, ROOMS);
    if !faults.is_empty() {
        bail!("{} edges that must not be:\n  {}", faults.len(), faults.join("\n  "));
    }
    Ok(Outcome::PassedWith(format!("{} crates", ROOMS.len())))
}

fn faults(metadata: &Metadata, rooms: &[Room]) -> Vec<String> {
    let ours: BTreeSet<&str> = metadata.members().map(|member| member.name.as_str()).collect();
    let mut faults = Vec::new();
    for member in metadata.members() {
        let Some(room) = rooms.iter().find(|room| room.name == member.name) else {
            faults.push(format!("{}: has no row in xtask/src/check/rooms.rs; give it one", member.name));
            continue;
        };
        for dependency in &member.dependencies {
            let name = dependency.name.as_str();
            if dependency.kind.as_deref() != Some("dev")
                && ours.contains(name)
                && !room.may_know.contains(&name)
            {
                faults.push(format!("{} must not know {name}", room.name));
            }
        }
        for name in room.must_not_link {
            if let Some(way) = metadata.way(member, name) {
                faults.push(format!("{} must not link {name}: {}", room.name, way.join(" > ")));
            }
        }
    }
    for room in rooms.iter().filter(|room| !ours.contains(room.name)) {
        faults.push(format!("{}: has a row in xtask/src/check/rooms.rs and is gone", room.name));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::example::workspace;

    const TWO: &[Room] = &[
        Room { name: "switchboard-domain", may_know: &[], must_not_link: &["sqlx"] },
        Room { name: "switchboard-store", may_know: &["switchboard-domain"], must_not_link: &["tonic"] },
    ];

    #[test]
    fn allowed_edges_pass() {
        let metadata = workspace(&[
            ("switchboard-domain", &["serde"], &[]),
            ("switchboard-store", &["switchboard-domain", "sqlx"], &[]),
            ("serde", &[], &[]),
            ("sqlx", &["serde"], &[]),
        ]);
        assert!(faults(&metadata, TWO).is_empty());
    }

    #[test]
    fn the_wrong_direction_is_a_fault() {
        let metadata = workspace(&[
            ("switchboard-domain", &["switchboard-store"], &[]),
            ("switchboard-store", &["sqlx"], &[]),
            ("sqlx", &[], &[]),
        ]);
        assert_eq!(
            faults(&metadata, TWO),
            [
                "switchboard-domain must not know switchboard-store",
                "switchboard-domain must not link sqlx: switchboard-domain > switchboard-store > sqlx",
            ]
        );
    }

    #[test]
    fn tests_may_stand_in_several_rooms() {
        let metadata = workspace(&[
            ("switchboard-domain", &[], &["switchboard-store", "sqlx"]),
            ("switchboard-store", &[], &["tonic"]),
            ("sqlx", &[], &[]),
            ("tonic", &[], &[]),
        ]);
        assert!(faults(&metadata, TWO).is_empty());
    }

    #[test]
    fn every_crate_needs_its_row_and_every_row_its_crate() {
        let metadata = workspace(&[("switchboard-domain", &[], &[]), ("switchboard-new", &[], &[])]);
        let faults = faults(&metadata, TWO);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("switchboard-new: has no row"));
        assert!(faults[1].starts_with("switchboard-store: has a row"));
    }
}
