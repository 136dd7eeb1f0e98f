//! Properties of the sampler on random logits, against a plain reference that sorts.

use super::*;
use proptest::prelude::*;

/// The result of the reference's steps: the tokens that are left, best first, and the smallest distance of any decision
/// from going the other way by rounding.
struct Book {
    /// Ids, and gaps to the best logit, nats.
    left: Vec<(u32, f64)>,
    margin: f64,
}

impl Book {
    fn weights(&self) -> Vec<f64> {
        self.left.iter().map(|&(_, gap)| gap.exp()).collect()
    }

    fn total(&self) -> f64 {
        self.weights().iter().sum()
    }

    fn keep(&mut self, distance: impl Fn(f64) -> f64) {
        let distances: Vec<f64> = self.left.iter().map(|&(_, gap)| distance(gap)).collect();
        self.margin = distances.iter().map(|distance| distance.abs()).fold(self.margin, f64::min);
        let mut at = distances.iter();
        self.left.retain(|_| at.next().is_some_and(|&distance| distance >= 0.0));
    }

    /// Keeps the shortest prefix whose share passes `p`.
    fn keep_share(&mut self, p: f64, passes: impl Fn(f64) -> bool) {
        let total = self.total();
        let mut mass = 0.0;
        let mut kept = self.left.len();
        for (at, weight) in self.weights().iter().enumerate() {
            mass += weight;
            self.margin = self.margin.min((mass / total - p).abs());
            if passes(mass / total) && kept == self.left.len() {
                kept = at + 1;
            }
        }
        self.left.truncate(kept);
    }

    fn top_n_sigma(&mut self, n: f64) {
        // The sampler itself measures no lower gap.
        let gaps: Vec<f64> = self.left.iter().map(|&(_, gap)| gap.max(-1e18)).collect();
        let count = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / count;
        let sigma = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count).sqrt();
        // With equal logits, none is below another.
        let unit = if sigma > 0.0 { sigma } else { 1.0 };
        self.keep(|gap| if gap == 0.0 { f64::INFINITY } else { gap / unit + n * sigma / unit });
    }

    fn typical_p(&mut self, p: f64) {
        self.left.retain(|&(_, gap)| gap >= -87.0);
        let total = self.total();
        let mean: f64 = self.left.iter().map(|&(_, gap)| gap.exp() * gap).sum::<f64>() / total;
        let distance = |gap: f64| (gap - mean).abs();
        self.left.sort_by(|a, b| distance(a.1).total_cmp(&distance(b.1)).then(a.0.cmp(&b.0)));
        for pair in self.left.windows(2).filter(|pair| pair[0].1 != pair[1].1) {
            self.margin = self.margin.min((distance(pair[1].1) - distance(pair[0].1)) / 10.0);
        }
        self.keep_share(p, |share| share > p);
        self.left.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    }

    fn exclude_above(&mut self, threshold: f64) {
        let total = self.total();
        let shares: Vec<f64> = self.weights().iter().map(|weight| weight / total).collect();
        self.margin = shares.iter().map(|share| (share - threshold).abs()).fold(self.margin, f64::min);
        let above = shares.iter().filter(|share| **share >= threshold).count();
        self.left.drain(..above.saturating_sub(1));
    }
}

fn temperature(params: &SamplingParams, logits: &[f64]) -> f64 {
    if params.dynatemp_range == 0.0 {
        return f64::from(params.temperature);
    }
    let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
    let entropy: f64 = logits.iter().map(|logit| logit.exp() / total).filter(|p| *p > 0.0).map(|p| -p * p.ln()).sum();
    let share = if logits.len() < 2 { 0.0 } else { entropy / (logits.len() as f64).ln() };
    let (temperature, range) = (f64::from(params.temperature), f64::from(params.dynatemp_range));
    let coldest = (temperature - range).max(0.0);
    coldest + (temperature + range - coldest) * share.clamp(0.0, 1.0).powf(f64::from(params.dynatemp_exponent))
}

/// The reference truncation: sorts everything, and adds up in double precision with the library's `exp`. XTC always
/// acts if it is on.
fn book(params: &SamplingParams, logits: &[f32]) -> Book {
    let mut sorted: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).filter(|(_, logit)| *logit > f32::NEG_INFINITY).collect();
    sorted.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
    let best = f64::from(sorted[0].1.min(f32::MAX));
    let below: Vec<f64> = sorted.iter().map(|&(_, logit)| f64::from(logit.min(f32::MAX)) - best).collect();
    let temperature = temperature(params, &below);
    let left = sorted.iter().zip(below).map(|(&(id, _), below)| (id, below / temperature)).collect();
    let mut book = Book { left, margin: f64::INFINITY };
    if params.top_n_sigma > 0.0 {
        book.top_n_sigma(f64::from(params.top_n_sigma));
    }
    if params.top_k > 0 {
        book.left.truncate(params.top_k as usize);
    }
    if params.typical_p < 1.0 {
        book.typical_p(f64::from(params.typical_p));
    }
    if params.top_p < 1.0 {
        let top_p = f64::from(params.top_p);
        book.keep_share(top_p, |share| share >= top_p);
    }
    if params.min_p > 0.0 {
        let (best, min_p) = (book.left[0].1, f64::from(params.min_p));
        book.keep(|gap| (gap - best).exp() - min_p);
    }
    if params.xtc_probability > 0.0 {
        book.exclude_above(f64::from(params.xtc_threshold));
    }
    book.left.sort_by_key(|&(id, _)| id);
    book
}

/// The tokens that the reference leaves, by id.
pub(super) fn reference(params: &SamplingParams, logits: &[f32]) -> Vec<Candidate> {
    let book = book(params, logits);
    let total = book.total();
    book.left.iter().map(|&(id, gap)| Candidate { token: Token(id), probability: gap.exp() / total }).collect()
}

/// The distance of the parameters from a boundary of the reference, where rounding may decide.
fn margin(params: &SamplingParams, logits: &[f32]) -> f64 {
    book(params, logits).margin
}

fn logit() -> impl Strategy<Value = f32> {
    prop_oneof![
        20 => -12.0_f32..12.0,
        10 => (-3_i8..3).prop_map(f32::from),
        1 => prop::sample::select(vec![f32::NAN, f32::NEG_INFINITY, f32::MAX, f32::MIN, 0.0, -0.0, -200.0]),
    ]
}

fn logits() -> impl Strategy<Value = Vec<f32>> {
    let with_candidate = |logits: &Vec<f32>| logits.iter().any(|&logit| logit > f32::NEG_INFINITY);
    let finite = prop::collection::vec(-9.0_f32..9.0, 1..1500);
    prop_oneof![prop::collection::vec(logit(), 1..400), finite].prop_filter("needs a candidate", with_candidate)
}

fn any_params() -> impl Strategy<Value = SamplingParams> {
    let top_k = prop_oneof![Just(0_u32), 1..8_u32, 1..500_u32];
    let top_p = prop_oneof![Just(1.0_f32), 0.01..1.0_f32, 0.98..1.0_f32];
    let min_p = prop_oneof![Just(0.0_f32), 0.0..1.0_f32, 0.0..0.01_f32];
    (0.05..3.0_f32, top_k, top_p, min_p, any::<u64>(), llama_params()).prop_map(|(temperature, top_k, top_p, min_p, seed, llama)| {
        let off = params();
        // Every field is written out, so that a new parameter does not compile until the properties generate it.
        SamplingParams {
            temperature,
            // The range does not reach 0, where the reference's own temperature is all rounding.
            dynatemp_range: llama.dynatemp_range * temperature,
            dynatemp_exponent: llama.dynatemp_exponent,
            top_n_sigma: llama.top_n_sigma,
            top_k,
            typical_p: llama.typical_p,
            top_p,
            min_p,
            xtc_probability: llama.xtc_probability,
            xtc_threshold: llama.xtc_threshold,
            // Penalties and biases change logits before these rules see them, and have tests of their own.
            presence_penalty: off.presence_penalty,
            frequency_penalty: off.frequency_penalty,
            repetition_penalty: off.repetition_penalty,
            repeat_last_n: off.repeat_last_n,
            dry: off.dry,
            logit_bias: off.logit_bias,
            seed,
            repeatable: off.repeatable,
        }
    })
}

/// llama.cpp's own parameters, half of them off. XTC acts always or never, and `dynatemp_range` is a share of the
/// temperature.
fn llama_params() -> impl Strategy<Value = SamplingParams> {
    let range = prop_oneof![3 => Just(0.0_f32), 1 => 0.0..0.8_f32];
    let sigmas = prop_oneof![3 => Just(0.0_f32), 1 => 0.01..4.0_f32];
    let typical_p = prop_oneof![3 => Just(1.0_f32), 2 => 0.0..1.0_f32];
    let xtc = prop_oneof![3 => Just(0.0_f32), 1 => Just(1.0_f32)];
    let threshold = prop_oneof![0.0..0.6_f32, 0.0..0.05_f32];
    (range, 0.0..3.0_f32, sigmas, typical_p, xtc, threshold).prop_map(
        |(dynatemp_range, dynatemp_exponent, top_n_sigma, typical_p, xtc_probability, xtc_threshold)| SamplingParams {
            dynatemp_range,
            dynatemp_exponent,
            top_n_sigma,
            typical_p,
            xtc_probability,
            xtc_threshold,
            ..params()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_truncated_set_is_that_of_a_full_sort(params in any_params(), logits in logits()) {
        prop_assume!(margin(&params, &logits) > 1e-5);

        let kept = candidates(params.clone(), &logits);

        let expected = reference(&params, &logits);
        // A computed temperature has an error of its own.
        let relative = if params.dynatemp_range > 0.0 { 1e-4 } else { 1e-5 };
        prop_assert_eq!(ids(&kept), ids(&expected));
        for (kept, expected) in kept.iter().zip(&expected) {
            let error = (kept.probability - expected.probability).abs();
            prop_assert!(error < relative * expected.probability + 1e-12, "{:?} {:?}", kept, expected);
        }
    }

    #[test]
    fn probabilities_add_up_to_one_and_the_draw_is_one_of_the_candidates(params in any_params(), logits in logits()) {
        let kept = candidates(params.clone(), &logits);

        let drawn = draw(params, &logits).unwrap();

        prop_assert!((kept.iter().map(|kept| kept.probability).sum::<f64>() - 1.0).abs() < 1e-9);
        prop_assert!(kept.iter().any(|kept| kept.token.0 == drawn && kept.probability > 0.0), "{}", drawn);
    }

    #[test]
    fn the_same_seed_and_position_give_the_same_draw(params in any_params(), logits in logits(), position in 0..50_usize) {
        let generated = vec![Token(0); position];
        let draw = || Sampler::new(params.clone(), &[], &generated).sample(&logits, None, &mut Scratch::default());

        prop_assert_eq!(draw(), draw());
    }

    #[test]
    fn a_scratch_that_others_used_changes_nothing(params in any_params(), logits in logits(), other in any_params(), others in logits()) {
        let mut scratch = Scratch::default();
        sampler(other).sample(&others, Some(9), &mut scratch).unwrap();

        let used = sampler(params.clone()).sample(&logits, Some(3), &mut scratch);

        prop_assert_eq!(used, sampler(params).sample(&logits, Some(3), &mut Scratch::default()));
    }

    #[test]
    fn reordering_the_vocabulary_reorders_the_candidates_and_nothing_else(params in any_params(), order in Just((0..300_u32).collect::<Vec<_>>()).prop_shuffle()) {
        // All logits differ, so that ids decide nothing.
        let logits: Vec<f32> = (0..300_u16).map(|id| (f32::from(id) * 0.77).sin() * 5.0 + f32::from(id) * 1e-3).collect();
        prop_assume!(margin(&params, &logits) > 1e-5);
        let shuffled: Vec<f32> = order.iter().map(|&id| logits[id as usize]).collect();

        let mut kept: Vec<u32> = ids(&candidates(params.clone(), &shuffled)).iter().map(|&id| order[id as usize]).collect();

        kept.sort_unstable();
        prop_assert_eq!(kept, ids(&candidates(params, &logits)));
    }

    #[test]
    fn a_top_k_of_one_and_a_vanishing_temperature_are_greedy(seed in any::<u64>(), logits in logits()) {
        let greedy = draw(SamplingParams { temperature: 0.0, ..params() }, &logits);

        prop_assert_eq!(draw(SamplingParams { top_k: 1, seed, ..params() }, &logits), greedy);
        let best = logits[greedy.unwrap() as usize];
        let cold = draw(SamplingParams { temperature: 1e-30, seed, ..params() }, &logits).unwrap();
        prop_assert_eq!(logits[cold as usize], best, "equal best logits share a cold draw");
    }

    #[test]
    fn logprobs_are_ordered_and_bit_equal_for_the_chosen_token(params in any_params(), logits in logits(), count in 0..20_u8) {
        let choice = sampler(params).sample(&logits, Some(count), &mut Scratch::default()).unwrap();

        let Logprobs { chosen, top } = choice.logprobs.unwrap();
        let valid = logits.iter().filter(|logit| **logit > f32::NEG_INFINITY).count();
        prop_assert_eq!(top.len(), valid.min(usize::from(count)));
        prop_assert!(chosen.is_finite() && chosen <= 0.0);
        for pair in top.windows(2) {
            let [(a, first), (b, second)] = pair else { unreachable!("windows of two") };
            prop_assert!(first >= second);
            prop_assert!(logits[a.0 as usize] > logits[b.0 as usize] || a.0 < b.0);
        }
        if let Some((_, listed)) = top.iter().find(|(token, _)| *token == choice.token) {
            prop_assert_eq!(listed.to_bits(), chosen.to_bits());
        }
    }
}
