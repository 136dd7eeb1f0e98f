//! `GET /slots`: as many slots as sequences can run, of which as many are busy as sequences run. Read-only.
//!
//! A sequence has no slot of its own that a client could name here, so that a busy slot does not say whose sequence it
//! runs, and prompts are never shown.

use super::props::defaults;
use crate::api::{call::Call, error::ApiError, openai::models};
use axum::{Json, extract::RawQuery};
use serde_json::{Value, json};
use std::time::Duration;

/// The query that asks for a 503 if no slot is free.
const FAIL_ON_NO_SLOT: &str = "fail_on_no_slot=1";
/// Time after which a client may ask again for a free slot.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The handler of `GET /slots`.
///
/// # Errors
/// The model is not loaded, or no slot is free and the query asks for an error then.
pub(in crate::api) async fn slots(call: Call, RawQuery(query): RawQuery) -> Result<Json<Vec<Value>>, ApiError> {
    let model = call.first_model();
    let info = models::loaded(&model)?;
    let running = model.handle.stats().gauges.running;
    let asks = query.is_some_and(|query| query.split('&').any(|part| part == FAIL_ON_NO_SLOT));
    if asks && running >= info.max_num_seqs {
        return Err(ApiError::Overloaded { message: "No slot is free.".to_owned(), retry_after: RETRY_AFTER });
    }
    let params = defaults(&model, &info)?;
    let slot = |id: u32| {
        let is_processing = id < running;
        json!({
            "id": id,
            "id_task": if is_processing { 0 } else { -1 },
            "n_ctx": info.max_model_len,
            "speculative": false,
            "is_processing": is_processing,
            "params": params,
            "next_token": {"has_next_token": is_processing, "has_new_line": false, "n_remain": -1, "n_decoded": 0},
        })
    };
    Ok(Json((0..info.max_num_seqs).map(slot).collect()))
}
