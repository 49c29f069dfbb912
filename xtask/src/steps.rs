//! Steps of a check: each has a name and a result, and at the end all are listed.

use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What a step that did not fail says.
#[derive(Debug)]
pub enum Outcome {
    /// It did its work.
    Passed,
    /// It did its work, and this is worth a word in the summary.
    PassedWith(String),
    /// There was nothing to work on; why.
    Skipped(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    Skipped,
}

#[derive(Debug)]
struct Done {
    name: String,
    verdict: Verdict,
    note: String,
    took: Duration,
}

/// The steps done so far.
#[derive(Debug)]
pub struct Steps {
    done: Vec<Done>,
    started: Instant,
    ci: bool,
}

impl Steps {
    /// Begins; the environment variable `CI` decides whether everything must be there.
    pub fn new() -> Self {
        let ci = env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
        Self { done: Vec::new(), started: Instant::now(), ci }
    }

    /// Does a step. A failure is shown at once and doesn't keep the next ones from being done. Answers whether it did
    /// not fail.
    pub fn step(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<Outcome>) -> bool {
        println!("\n== {name}");
        let started = Instant::now();
        let (verdict, note) = match work() {
            Ok(Outcome::Passed) => (Verdict::Passed, String::new()),
            Ok(Outcome::PassedWith(note)) => (Verdict::Passed, note),
            Ok(Outcome::Skipped(why)) => {
                println!("skipped: {name} ({why})");
                (Verdict::Skipped, why)
            }
            Err(error) => {
                println!("failed: {name}\n{error:#}");
                // The summary has a line per step; the rest of the words stand above.
                let note = error.to_string().lines().next().unwrap_or_default().to_owned();
                (Verdict::Failed, note)
            }
        };
        self.done.push(Done { name: name.to_owned(), verdict, note, took: started.elapsed() });
        verdict != Verdict::Failed
    }

    /// Notes that a step can't be done on this machine: skipped at home, failed in CI, where everything must be there.
    pub fn missing(&mut self, name: &str, why: &str) {
        self.step(name, {
            let ci = self.ci;
            let why = why.to_owned();
            move || {
                if ci {
                    anyhow::bail!("{why}, and with CI set nothing may be skipped");
                }
                Ok(Outcome::Skipped(why))
            }
        });
    }

    /// Prints the summary, whose last line is `N passed, N failed, N skipped`.
    pub fn finish(self) -> ExitCode {
        println!("\n{}", self.summary());
        if self.done.iter().any(|done| done.verdict == Verdict::Failed) {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }

    fn summary(&self) -> String {
        let width = self.done.iter().map(|done| done.name.chars().count()).max().unwrap_or_default();
        let mut text = String::new();
        for done in &self.done {
            let verdict = match done.verdict {
                Verdict::Passed => "passed",
                Verdict::Failed => "failed",
                Verdict::Skipped => "skipped",
            };
            let line = format!(
                "{verdict:<7} {:>7.1} s  {:<width$}  {}",
                done.took.as_secs_f64(),
                done.name,
                done.note
            );
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let count = |verdict| self.done.iter().filter(|done| done.verdict == verdict).count();
        text + &format!(
            "{:>15.1} s  in all\n{} passed, {} failed, {} skipped",
            self.started.elapsed().as_secs_f64(),
            count(Verdict::Passed),
            count(Verdict::Failed),
            count(Verdict::Skipped)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(ci: bool) -> Steps {
        let mut steps = Steps { done: Vec::new(), started: Instant::now(), ci };
        assert!(steps.step("format", || Ok(Outcome::Passed)));
        assert!(!steps.step("lints", || anyhow::bail!("two\nlines")));
        steps.missing("go", "needs go");
        steps
    }

    #[test]
    fn the_last_line_counts_the_steps() {
        assert!(steps(false).summary().ends_with("\n1 passed, 1 failed, 1 skipped"));
    }

    #[test]
    fn with_ci_set_nothing_is_skipped() {
        assert!(steps(true).summary().ends_with("\n1 passed, 2 failed, 0 skipped"));
    }

    #[test]
    fn a_summary_has_one_line_per_step() {
        let summary = steps(false).summary();
        assert_eq!(summary.lines().count(), 5, "{summary}");
        assert!(summary.contains("lints   two\n"), "{summary}");
    }
}
