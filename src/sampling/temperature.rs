//! The temperature of one draw: fixed, or moved within a range by the model's certainty (llama.cpp's "dynatemp").
//!
//! Owns nothing. The measure of certainty is the entropy of the candidates before any truncation, as in llama.cpp when
//! its chain begins with temperature.

use super::row::LogitRow;
use crate::protocol::SamplingParams;

/// The parameters that decide the temperature of a draw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Temperature {
    base: f32,
    range: f32,
    exponent: f32,
}

impl Temperature {
    /// The temperature that the parameters ask for.
    pub(super) fn new(params: &SamplingParams) -> Self {
        Self { base: params.temperature, range: params.dynatemp_range, exponent: params.dynatemp_exponent }
    }

    /// True if the best candidate is taken and nothing is drawn.
    pub(super) fn is_greedy(&self) -> bool {
        self.base <= 0.0
    }

    /// The row at the temperature of the next draw; `None` if there is no candidate.
    pub(super) fn row<'a>(&self, logits: &'a [f32]) -> Option<LogitRow<'a>> {
        if self.range <= 0.0 {
            return LogitRow::new(logits, self.base);
        }
        let uncertainty = LogitRow::new(logits, 1.0)?.uncertainty();
        let (coldest, hottest) = ((self.base - self.range).max(0.0), self.base + self.range);
        let temperature = coldest + (hottest - coldest) * (uncertainty as f32).powf(self.exponent);
        LogitRow::new(logits, temperature)
    }
}
