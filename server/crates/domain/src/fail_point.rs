//! Named places at which `cargo xtask torture` ends the process, as a power cut would: before and after every write and
//! every outgoing call. Only builds with the feature `failpoints` have them; in others they are nothing.

/// Ends the process here, if so it was told and its chance comes up.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn reached(_: &str, _: &str) {}

#[cfg(feature = "failpoints")]
pub use armed::{install, reached};

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;

    static POINTS: OnceLock<Vec<(String, f64)>> = OnceLock::new();

    /// Arms points: `name=probability` each, separated by commas; `*` stands for all that are not named.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn install(text: &str) -> Result<(), String> {
        let points = text.split(',').filter(|part| !part.trim().is_empty()).map(|part| {
            let parsed = part.split_once('=').and_then(|(name, chance)| {
                let chance: f64 = chance.trim().parse().ok().filter(|chance| (0.0..=1.0).contains(chance))?;
                Some((name.trim().to_owned(), chance))
            });
            parsed.ok_or_else(|| format!("{part} must be name=probability, such as record.after=0.01"))
        });
        POINTS.set(points.collect::<Result<_, _>>()?).map_err(|_| "points are armed already".to_owned())
    }

    /// Ends the process here, if so it was told and its chance comes up. The name is `<what>.<when>`.
    #[expect(clippy::print_stderr, reason = "the last words, which the harness counts")]
    pub fn reached(what: &str, when: &str) {
        let Some(points) = POINTS.get() else { return };
        let name = format!("{what}.{when}");
        let find = |wanted: &str| points.iter().find(|(known, _)| known == wanted);
        let Some((_, chance)) = find(&name).or_else(|| find("*")) else { return };
        #[expect(clippy::cast_precision_loss, reason = "a chance")]
        let drawn = (uuid::Uuid::new_v4().as_u64_pair().1 & 0xffff_ffff) as f64 / f64::from(u32::MAX);
        if drawn < *chance {
            eprintln!("fail point {name}");
            std::process::abort();
        }
    }
}
