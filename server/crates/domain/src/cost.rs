//! What calls of engines use and cost. Whole numbers only: tokens, and millionths of a currency's unit.

use serde::{Deserialize, Serialize};

use crate::{
    engine::{Answer, Usage},
    error::Violations,
};

/// What an engine's tokens cost, in millionths of the currency's unit per million tokens. Vendors change their prices, so
/// they are settings of whoever pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// ISO 4217, such as `USD`.
    pub currency: String,
    /// For input.
    pub input: i64,
    /// For the part of the input that came from the vendor's cache.
    pub cached_input: i64,
    /// For output.
    pub output: i64,
    /// For one of the vendor's credits, in millionths of the currency's unit.
    #[serde(default)]
    pub credit: i64,
}

/// More tokens than any call uses.
const MOST_TOKENS: i64 = 1_000_000_000;

/// The highest price: a million units for a million tokens.
const MOST: i64 = 1_000_000_000_000;

impl Price {
    /// What so many tokens cost, rounded up to the next millionth.
    pub fn of(&self, usage: Usage) -> i64 {
        let cached = usage.cached_input_tokens.clamp(0, usage.input_tokens.max(0));
        let part = |tokens: i64, price: i64| i128::from(tokens.max(0)) * i128::from(price);
        let sum = part(usage.input_tokens - cached, self.input)
            + part(cached, self.cached_input)
            + part(usage.output_tokens, self.output);
        i64::try_from((sum + 999_999) / 1_000_000).unwrap_or(i64::MAX)
    }

    /// What so many of the vendor's credits cost.
    pub fn of_credits(&self, credits: i64) -> i64 {
        credits.clamp(0, MOST_TOKENS).saturating_mul(self.credit)
    }

    /// Names all that is wrong with it.
    pub fn check(&self, violations: &mut Violations, at: &str) {
        violations.require(
            is_currency(&self.currency),
            &format!("{at}.currency"),
            "must be three capital letters, such as USD",
        );
        for (field, price) in [
            ("input_micros", self.input),
            ("cached_input_micros", self.cached_input),
            ("output_micros", self.output),
            ("credit_micros", self.credit),
        ] {
            violations.require(
                (0..=MOST).contains(&price),
                &format!("{at}.{field}"),
                "must be 0 to 1,000,000,000,000",
            );
        }
    }
}

/// Whether a text could be a currency of ISO 4217.
pub fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// What calls of engines used and cost together, as far as they told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// How many calls were made that a vendor may ask money for.
    pub calls: i64,
    /// How many of them didn't say what they used: they are missing from the sums.
    pub unknown_calls: i64,
    /// Their input tokens, the cached included. `None`: no call told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<i64>,
    /// Of these, what came from vendors' caches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input_tokens: Option<i64>,
    /// Their output tokens, hidden thinking included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<i64>,
    /// What that cost, in millionths of the currency's unit. `None`: no call has a price, or they have prices in several
    /// currencies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<i64>,
    /// The currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

impl Spent {
    /// What one call of an engine with this price used.
    pub fn call(usage: Option<Usage>, price: Option<&Price>) -> Self {
        let Some(usage) = usage else { return Self { calls: 1, unknown_calls: 1, ..Self::default() } };
        // What a vendor says is no reason for sums to overflow, nor for giving tokens back.
        let input_tokens = usage.input_tokens.clamp(0, MOST_TOKENS);
        let usage = Usage {
            input_tokens,
            cached_input_tokens: usage.cached_input_tokens.clamp(0, input_tokens),
            output_tokens: usage.output_tokens.clamp(0, MOST_TOKENS),
        };
        Self {
            calls: 1,
            unknown_calls: 0,
            input_tokens: Some(usage.input_tokens),
            cached_input_tokens: Some(usage.cached_input_tokens),
            output_tokens: Some(usage.output_tokens),
            cost_micros: price.map(|price| price.of(usage)),
            currency: price.map(|price| price.currency.clone()),
        }
    }

    /// What one call used that was answered. Of a vendor that counts credits only the cost is known, and that only where they
    /// have a price.
    pub fn answered(answer: &Answer, price: Option<&Price>) -> Self {
        let mut spent = Self::call(answer.usage, price);
        if let (Some(credits), Some(price)) = (answer.credits, price.filter(|price| price.credit > 0)) {
            let of_tokens = spent.cost_micros.unwrap_or_default();
            spent.cost_micros = Some(of_tokens.saturating_add(price.of_credits(credits)));
            spent.currency = Some(price.currency.clone());
            spent.unknown_calls = 0;
        }
        spent
    }

    /// Adds what other calls used.
    pub fn add(&mut self, other: &Self) {
        let sum = |ours: Option<i64>, others: Option<i64>| match (ours, others) {
            (Some(ours), Some(others)) => Some(ours.saturating_add(others)),
            (ours, others) => ours.or(others),
        };
        self.calls += other.calls;
        self.unknown_calls += other.unknown_calls;
        self.input_tokens = sum(self.input_tokens, other.input_tokens);
        self.cached_input_tokens = sum(self.cached_input_tokens, other.cached_input_tokens);
        self.output_tokens = sum(self.output_tokens, other.output_tokens);
        match (&self.currency, &other.currency) {
            // Sums of several currencies mean nothing; the word stays, so that nothing is added to it later.
            (Some(ours), Some(others)) if ours != others => {
                self.cost_micros = None;
                self.currency = Some(SEVERAL.to_owned());
            }
            (Some(ours), _) if ours == SEVERAL => {}
            _ => {
                self.cost_micros = sum(self.cost_micros, other.cost_micros);
                self.currency = self.currency.take().or_else(|| other.currency.clone());
            }
        }
    }
}

/// In place of a currency: there are several.
pub const SEVERAL: &str = "several";

#[cfg(test)]
mod tests {
    use super::*;

    fn price(currency: &str) -> Price {
        let currency = currency.to_owned();
        Price { currency, input: 150_000, cached_input: 75_000, output: 600_000, credit: 0 }
    }

    fn usage(input: i64, cached: i64, output: i64) -> Usage {
        Usage { input_tokens: input, cached_input_tokens: cached, output_tokens: output }
    }

    #[test]
    fn costs_are_whole_millionths_rounded_up() {
        for (used, micros) in [
            (usage(0, 0, 0), 0),
            (usage(1, 0, 0), 1),
            (usage(1_000_000, 0, 0), 150_000),
            (usage(1_000_000, 400_000, 1_000_000), 90_000 + 30_000 + 600_000),
            // More cached than there was is a vendor's slip, and no discount.
            (usage(1_000_000, 9_000_000, 0), 75_000),
            (usage(i64::MAX, 0, i64::MAX), 6_917_529_027_641_081_856),
        ] {
            assert_eq!(price("USD").of(used), micros, "{used:?}");
        }
    }

    #[test]
    fn unknown_is_not_nothing() {
        let mut spent = Spent::default();
        spent.add(&Spent::call(None, Some(&price("USD"))));
        assert_eq!(
            (spent.calls, spent.unknown_calls, spent.input_tokens, spent.cost_micros),
            (1, 1, None, None)
        );
        spent.add(&Spent::call(Some(usage(2_000_000, 0, 0)), Some(&price("USD"))));
        assert_eq!((spent.calls, spent.unknown_calls), (2, 1));
        assert_eq!((spent.input_tokens, spent.cost_micros), (Some(2_000_000), Some(300_000)));
        spent.add(&Spent::call(Some(usage(1, 0, 1)), None));
        assert_eq!((spent.input_tokens, spent.cost_micros), (Some(2_000_001), Some(300_000)));
    }

    #[test]
    fn credits_cost_what_one_costs() {
        let answer = Answer { credits: Some(57), ..Answer::default() };
        let priced = Price { credit: 10_000, ..price("USD") };
        let spent = Spent::answered(&answer, Some(&priced));
        assert_eq!((spent.calls, spent.unknown_calls, spent.input_tokens), (1, 0, None));
        assert_eq!((spent.cost_micros, spent.currency.as_deref()), (Some(570_000), Some("USD")));
        // Nobody said what one costs.
        let spent = Spent::answered(&answer, Some(&price("USD")));
        assert_eq!((spent.unknown_calls, spent.cost_micros), (1, None));
        let both = Answer { usage: Some(usage(1_000_000, 0, 0)), ..answer };
        assert_eq!(Spent::answered(&both, Some(&priced)).cost_micros, Some(150_000 + 570_000));
    }

    #[test]
    fn absurd_figures_are_cut() {
        let spent = Spent::call(Some(usage(-5, 7, i64::MAX)), Some(&price("USD")));
        let told = (spent.input_tokens, spent.cached_input_tokens, spent.output_tokens);
        assert_eq!(told, (Some(0), Some(0), Some(MOST_TOKENS)));
        assert_eq!(spent.cost_micros, Some(600_000_000));
    }

    #[test]
    fn several_currencies_are_not_added_up() {
        let mut spent = Spent::call(Some(usage(1_000_000, 0, 0)), Some(&price("USD")));
        spent.add(&Spent::call(Some(usage(1, 0, 0)), Some(&price("EUR"))));
        spent.add(&Spent::call(Some(usage(1, 0, 0)), Some(&price("USD"))));
        assert_eq!((spent.cost_micros, spent.currency.as_deref()), (None, Some(SEVERAL)));
        assert_eq!(spent.input_tokens, Some(1_000_002));
    }

    #[test]
    fn absurd_prices_are_refused_by_field() {
        let currency = "usd".to_owned();
        let wrong = Price { currency, input: -1, cached_input: 0, output: MOST + 1, credit: -1 };
        let mut violations = Violations::default();
        wrong.check(&mut violations, "price");
        let refused = violations.finish().unwrap_err();
        let fields: Vec<_> = refused.fields.iter().map(|field| field.field.as_str()).collect();
        assert_eq!(
            fields,
            ["price.currency", "price.input_micros", "price.output_micros", "price.credit_micros"]
        );
    }
}
