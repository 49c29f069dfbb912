#![allow(unreachable_pub, reason = "a program's modules speak to each other only; `pub` marks what a module offers")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this program speaks to the person who called it")]
mod r#gen;
mod paths;
mod run;
mod server_under_test;
fn main() -> anyhow::Result<()> {
    r#gen::rust::run(&paths::Paths::find()?)
}
