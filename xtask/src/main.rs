mod r#gen;
mod paths;
fn main() -> anyhow::Result<()> {
    r#gen::rust::run(&paths::Paths::find()?)
}
