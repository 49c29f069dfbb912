//! Rebuilds the crate when a migration is added: `sqlx::migrate!` embeds the folder and can't say so itself.

fn main() {
    println!("cargo:rerun-if-changed=../../../migrations");
}
