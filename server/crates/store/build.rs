//! Rebuilds the crate when a migration is added: `sqlx::migrate!` embeds the folder and can't say so itself.

#[expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]
fn main() {
    println!("cargo:rerun-if-changed=../../../migrations");
}
