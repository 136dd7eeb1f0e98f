//! Fields and parts of answers that several of OpenAI's routes have.

pub mod answer;
pub mod ending;
pub mod left_out;
pub mod length;
pub mod limits;
pub mod logprobs;
pub mod prompt;
pub mod room;
pub mod sampling;
pub mod structured;
pub mod unmet_choice;
