//! `/openapi.json`: OpenAPI 3.1, made from the table of operations, the specs of fields and `schemas.json`.

use super::{
    docs::Body,
    listed::{OPERATIONS, Operation},
};
use crate::api::{
    family::Family,
    fields::spec::{AnySpec, Support},
};
use serde_json::{Map, Value, json};

/// The schemas of answers, JSON text.
const SCHEMAS: &str = include_str!("schemas.json");

/// Stands for the served model's name in examples.
pub(super) const MODEL_PLACEHOLDER: &str = "MODEL";

/// The OpenAPI document, with [`MODEL_PLACEHOLDER`] for the served model.
///
/// # Panics
/// If an example is no JSON, which a test rules out.
#[must_use]
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    for operation in &*OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        match path.get_mut(operation.method) {
            None => path[operation.method] = describe(operation),
            Some(described) => add_body(described, operation),
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "llamero",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "An OpenAI-compatible inference server for GGUF models. In requests `null` equals absence. Fields that are not listed are accepted and named in the answer's `x-llamero-warnings`; with `x-llamero-strict: 1` they are a 400.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        // Relative to the document: a proxy may serve it under a prefix.
        "servers": [{"url": "./"}],
        "security": [{}, {"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": parsed(SCHEMAS),
        },
    })
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("a test parses every example")
}

fn describe(operation: &Operation) -> Value {
    let content: Map<String, Value> =
        operation.answers.iter().map(|(media, schema)| ((*media).to_owned(), json!({"schema": reference(schema)}))).collect();
    let mut responses = json!({"200": {"description": "The answer.", "content": content}});
    for status in operation.refusals {
        let schema = match operation.family {
            Family::OpenAi => "Error",
            Family::Anthropic => "AnthropicError",
            Family::Legacy => "Detail",
        };
        responses[status.to_string()] =
            json!({"description": meaning(*status), "content": {"application/json": {"schema": reference(schema)}}});
    }
    let name = operation.path.trim_start_matches('/').replace(['/', '{', '}', '*'], "_");
    let mut described = json!({"operationId": format!("{}_{name}", operation.method), "summary": operation.about, "responses": responses});
    let parameters = parameters(operation.path);
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if let Some(body) = &operation.body {
        described["requestBody"] = json!({"required": true, "content": {"application/json": {
            "schema": schema(body), "example": parsed(body.example),
        }}});
    }
    described
}

/// The parameters of a path, whose names are in braces.
fn parameters(path: &str) -> Vec<Value> {
    let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})).collect()
}

/// Adds another kind of body to a route that is described already.
fn add_body(described: &mut Value, operation: &Operation) {
    let Some(body) = &operation.body else { return };
    let content = &mut described["requestBody"]["content"]["application/json"];
    let described = &mut content["schema"];
    match described.get_mut("anyOf").and_then(Value::as_array_mut) {
        Some(bodies) => bodies.push(schema(body)),
        None => *described = json!({"anyOf": [described.take(), schema(body)]}),
    }
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "A field is wrong; the error names it.",
        401 => "No key, or one that is not accepted.",
        403 => "This host may not call.",
        404 => "No such model or route.",
        408 => "The body did not arrive in time.",
        413 => "The body is too large.",
        415 => "The body is compressed in a way that is not read.",
        422 => "The same request ended engines more than once, or, at `/generate`, a field is wrong; the error says which.",
        429 => "The key has used up its requests for now; `Retry-After` says for how long.",
        529 => "Too busy; `Retry-After` says when to come back.",
        503 => "Too busy, loading or stopping; `Retry-After` says when to come back.",
        _ => "The server failed.",
    }
}

/// A body's schema. Refused fields are left out: a client that follows the document does not send them.
fn schema(body: &Body) -> Value {
    let fields = body.specs().filter(|field| field.support() != Support::Refused);
    let properties: Map<String, Value> =
        fields.map(|field| (field.name().to_owned(), property(field, body.required.contains(&field.name())))).collect();
    json!({"type": "object", "required": body.required, "properties": properties})
}

fn property(field: &dyn AnySpec, required: bool) -> Value {
    let mut schema = field.schema();
    if schema == json!({}) {
        return json!({"description": field.about()});
    }
    if !required {
        schema = nullable(schema);
    }
    schema["description"] = json!(field.about());
    // The field's own example names no model that is there.
    schema["examples"] = if field.name() == "model" { json!([MODEL_PLACEHOLDER]) } else { json!([parsed(field.example())]) };
    schema
}

/// Allows `null`, which stands for absence.
fn nullable(mut schema: Value) -> Value {
    if let Some(options) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        options.push(json!({"type": "null"}));
    } else if let Some(kind) = schema.get_mut("type") {
        match kind {
            Value::Array(kinds) => kinds.push(json!("null")),
            kind => *kind = json!([kind.take(), "null"]),
        }
        if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
            words.push(Value::Null);
        }
    }
    schema
}
