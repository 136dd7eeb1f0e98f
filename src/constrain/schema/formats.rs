//! Patterns in addition to llguidance's formats of dates and times. Those formats allow dates that no calendar has: 29
//! February of any year, the year 0, and a second 60 in any minute.
//!
//! Leap seconds, which are real seconds 60, are excluded too: their existence depends on the day and the time zone.
//!
//! The patterns also limit lengths: a mailbox's local part has at most 64 octets (RFC 5321 4.5.3.1.1), a host name 253
//! (RFC 1035 2.3.4). Counting both labels and octets would be much work, so labels here are shorter than the standard
//! allows.
//!
//! Other formats are annotations, as JSON schema has it (2020-12, validation 7.2). They are removed and reported.

use serde_json::{Map, Value, json};

/// The formats that texts are held to.
const ENFORCED: [&str; 10] = ["date", "date-time", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"];

/// A year from 1, and a month with its day; in February only the days that every year has.
const DAY: &str = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-(?:(?:0[13-9]|1[0-2])-[0-9]{2}|02-(?:[01][0-9]|2[0-8]))";
/// The 29th of February of a leap year.
const LEAP_DAY: &str = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29";
/// A time up to the tens of its seconds.
const TIME: &str = "[0-9]{2}:[0-9]{2}:[0-5]";

/// A host name of at most six labels of at most 40 octets.
const DOMAIN: &str = r"(?:[^.]{1,40}\.){0,5}[^.]{1,40}";

/// Removes a format that texts are not held to, and returns its name. A format that is no text is left to llguidance.
pub(super) fn take_unknown(schema: &mut Map<String, Value>) -> Option<String> {
    let name = schema.get("format")?.as_str().filter(|name| !ENFORCED.contains(name))?.to_owned();
    schema.shift_remove("format");
    Some(name)
}

/// The pattern of the names that have a format; `None` if it has none that is short.
pub(super) fn as_pattern(format: &str) -> Option<String> {
    match format {
        "uuid" => Some("^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$".to_owned()),
        _ => None,
    }
}

/// Adds the pattern that narrows a format to its schema.
pub(super) fn narrow(schema: &mut Map<String, Value>) {
    let pattern = match schema.get("format").and_then(Value::as_str) {
        Some("date") => format!("^(?:{DAY}|{LEAP_DAY})$"),
        Some("date-time") => format!("^(?:{DAY}|{LEAP_DAY})[tT]{TIME}"),
        Some("time") => format!("^{TIME}"),
        Some("email") => format!("^[^@]{{1,64}}@{DOMAIN}$"),
        Some("hostname") => format!("^{DOMAIN}$"),
        _ => return,
    };
    // Added to `allOf`, since there may be a pattern already. An `allOf` that is no array is refused when the schema is
    // compiled.
    if let Value::Array(all) = schema.entry("allOf").or_insert_with(|| Value::Array(Vec::new())) {
        all.push(json!({ "pattern": pattern }));
    }
}
