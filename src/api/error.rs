//! The one error of the HTTP layer, and the one table from errors to status, type, code and headers.
//!
//! OpenAI's envelope is rendered here (`IntoResponse`); the legacy routes take [`ApiError::status`],
//! [`ApiError::headers`] and [`ApiError::detail`] and write FastAPI's shape around them. Conversion has no side
//! effects: nothing is logged here. Sources of the table: the `Error` schema of OpenAI's specification, and
//! openai-python `_base_client.py` for the statuses that clients retry.

use crate::{
    api::{fields::FieldError, request_log::ErrorCode},
    field_path::PathStyle,
    gateway::error::{EmbeddingError, SubmitError, TokenizeError},
    protocol::GenerationError,
};
use axum::{
    Json,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::{fmt, time::Duration};

const INVALID_REQUEST: &str = "invalid_request_error";
const SERVER_ERROR: &str = "server_error";
/// The longest suggested wait that older SDKs honour; beyond it they retry too early (openai-python before 2.52).
const LONGEST_HONOURED_WAIT: Duration = Duration::from_secs(60);
/// Characters of a client's origin that an error repeats.
const MAX_NAME: usize = 128;
/// Suggested wait for another machine, which boots and loads the model; the longest one that all SDKs honour.
const REPLACEMENT_WAIT: Duration = LONGEST_HONOURED_WAIT;
/// Suggested wait when the cause is a short disturbance.
const SHORT_WAIT: Duration = Duration::from_secs(1);

/// The length of a prompt, tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptLength {
    /// The number of its tokens.
    Exactly(u64),
    /// A lower bound: the text was not tokenized.
    AtLeast(u64),
}

impl PromptLength {
    /// The number, or the lower bound.
    #[must_use]
    pub fn tokens(self) -> u64 {
        match self {
            Self::Exactly(tokens) | Self::AtLeast(tokens) => tokens,
        }
    }
}

impl fmt::Display for PromptLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(tokens) => write!(f, "{tokens}"),
            Self::AtLeast(tokens) => write!(f, "at least {tokens}"),
        }
    }
}

/// The reason why a request is answered with something else than its result. The message is written for the client's
/// developer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// A fault of the request that no other variant describes.
    #[error("{message}")]
    BadRequest {
        /// The fault and its remedy.
        message: String,
        /// The field at fault, such as `stop[2]`.
        param: Option<String>,
        /// OpenAI's code, such as `invalid_type`.
        code: Option<&'static str>,
    },
    /// A field of the request is at fault.
    #[error("{0}")]
    Field(#[from] FieldError),
    /// A strict request's prompt and completion do not fit the model together.
    #[error(
        "This model's maximum context length is {max_model_len} tokens, however you requested {} tokens ({prompt_tokens} in your \
         prompt; {max_tokens} for the completion). Please reduce your prompt or completion length.",
        .prompt_tokens.saturating_add(*.max_tokens)
    )]
    ContextLength {
        /// Tokens in the longest prompt.
        prompt_tokens: u64,
        /// Completion tokens that the request asks for.
        max_tokens: u64,
        /// Tokens that fit.
        max_model_len: u64,
        /// The field in which the client sent `max_tokens`.
        param: &'static str,
    },
    /// The prompt alone does not fit the model, or leaves no room for an answer.
    #[error(
        "This model's maximum context length is {max_model_len} tokens, however your prompt has {length} tokens, which leaves no room for \
         an answer. Please reduce its length."
    )]
    PromptTooLong {
        /// Tokens in the longest prompt.
        length: PromptLength,
        /// Tokens that fit.
        max_model_len: u64,
        /// The field that the prompt was made of.
        param: &'static str,
    },
    /// A key is required and none was sent.
    #[error("You didn't provide an API key. Send it as `Authorization: Bearer YOUR_KEY`, `x-api-key` or `api-key`.")]
    MissingKey,
    /// The key is not accepted. No part of it is repeated.
    #[error("Incorrect API key provided.")]
    WrongKey,
    /// The `Host` header names none that this server may be called by (DNS rebinding).
    #[error(
        "The host name '{host}' is not allowed. Call the server as localhost or 127.0.0.1, allow the name with --allowed-hosts, or start \
         the server with API keys."
    )]
    HostNotAllowed {
        /// The name that the client sent.
        host: String,
    },
    /// The request comes from a web page that may not use this server.
    #[error("{}", refused_pages(.origin))]
    OriginNotAllowed {
        /// The origin that the browser sent.
        origin: String,
    },
    /// This server has no model of this name.
    #[error("The model `{model}` does not exist. GET /v1/models lists the models of this server.")]
    ModelNotFound {
        /// The text that the client sent.
        model: String,
    },
    /// A stored response was asked for by its id; this server stores none.
    #[error("Response with id '{id}' not found: this server does not store responses.")]
    ResponseNotFound {
        /// The text that the client sent.
        id: String,
    },
    /// No route has this path.
    #[error("Invalid URL ({method} {path})")]
    RouteNotFound {
        /// The request's method.
        method: String,
        /// The request's path, without its query.
        path: String,
    },
    /// The route exists, but not with this method.
    #[error("Not allowed to {method} on {path}")]
    MethodNotAllowed {
        /// The request's method.
        method: String,
        /// The request's path, without its query.
        path: String,
    },
    /// The route exists, but not as a WebSocket.
    #[error("There are no WebSockets here. Please POST to {path}, with `stream` for server-sent events.")]
    NoWebSocket {
        /// The request's path, without its query.
        path: String,
    },
    /// The body did not arrive in time.
    #[error("The request body did not arrive within the time allowed.")]
    BodyTimeout,
    /// The body is larger than the server accepts.
    #[error("The request body is larger than the {limit_bytes} bytes that this server accepts.")]
    BodyTooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// The body is compressed in a way that this server does not read.
    #[error("The 'Content-Encoding' of the request body is '{coding}'; 'gzip', 'zstd' and 'identity' are accepted, one at a time.")]
    UnsupportedCoding {
        /// The text that the client sent.
        coding: String,
    },
    /// The key has used up its requests for now.
    #[error("Rate limit reached: {requests_per_minute} requests per minute. Please try again in {} ms.", .retry_after.as_millis())]
    RateLimited {
        /// The limit.
        requests_per_minute: u32,
        /// Time until the next request will be accepted.
        retry_after: Duration,
    },
    /// A resource of the server is exhausted, for now.
    #[error("{message}")]
    Overloaded {
        /// The resource that is exhausted.
        message: String,
        /// Suggested wait.
        retry_after: Duration,
    },
    /// The model is being loaded, or loaded again.
    #[error("{message}")]
    ModelLoading {
        /// The model's present state.
        message: String,
        /// Suggested wait.
        retry_after: Duration,
    },
    /// The server is stopping.
    #[error("The server is shutting down.")]
    ShuttingDown,
    /// The server is stopping because the cloud takes the machine back.
    #[error("The server is shutting down, because the cloud takes its machine back (preemption). Another one may be up in a minute.")]
    Preempted,
    /// Several engines died while they computed this request.
    #[error(
        "More than one engine ended while it worked on this request, so it is not tried again for ten minutes. Please change \
         it, or tell whoever runs this server."
    )]
    Quarantined,
    /// The engine died while it worked on this request, and the request could not be resumed.
    #[error("The engine stopped while it worked on this request. Please try again.")]
    EngineDied,
    /// The file of the model was changed while the engine worked on this request.
    #[error(
        "The model file was changed while the model was served, and another model cannot go on with this request. Please send it again."
    )]
    ModelChanged,
    /// The engine refused this request, and would refuse it again.
    #[error("{message}")]
    EngineFailed {
        /// The operation that failed.
        message: String,
    },
    /// A fault of the server. The log has the details under the request's id.
    #[error("The server had an error while processing your request.")]
    Internal,
}

impl ApiError {
    /// A 400 that names the field at fault.
    #[must_use]
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::BadRequest { message: message.into(), param: Some(param.into()), code: Some("invalid_value") }
    }

    /// A 400 for a request that the served model is not made for.
    #[must_use]
    pub fn wrong_kind_of_model(reason: &str) -> Self {
        let message = format!("The model of this server cannot answer this request: {reason}.");
        Self::BadRequest { message, param: Some("model".to_owned()), code: Some("model_not_supported") }
    }

    /// The error for a text of the field `param` that could not be tokenized, or for tokens that could not be turned
    /// into text.
    #[must_use]
    pub fn of_text(param: &str, error: TokenizeError) -> Self {
        match error {
            TokenizeError::Engine(error) => error.into(),
            TokenizeError::EngineDied(_) => Self::EngineDied,
            TokenizeError::Text(error) => FieldError::invalid(param, error.to_string().trim_end_matches('.')).into(),
        }
    }

    /// The table of errors: status, type, code.
    fn row(&self) -> (StatusCode, &'static str, Option<&'static str>) {
        match self {
            Self::BadRequest { code, .. } => (StatusCode::BAD_REQUEST, INVALID_REQUEST, *code),
            Self::Field(error) => (StatusCode::BAD_REQUEST, INVALID_REQUEST, Some(error.code())),
            Self::ContextLength { .. } | Self::PromptTooLong { .. } => {
                (StatusCode::BAD_REQUEST, INVALID_REQUEST, Some("context_length_exceeded"))
            }
            Self::MissingKey | Self::WrongKey => (StatusCode::UNAUTHORIZED, INVALID_REQUEST, Some("invalid_api_key")),
            Self::HostNotAllowed { .. } => (StatusCode::FORBIDDEN, "permission_error", Some("host_not_allowed")),
            Self::OriginNotAllowed { .. } => (StatusCode::FORBIDDEN, "permission_error", Some("origin_not_allowed")),
            Self::ModelNotFound { .. } => (StatusCode::NOT_FOUND, INVALID_REQUEST, Some("model_not_found")),
            Self::ResponseNotFound { .. } | Self::RouteNotFound { .. } => (StatusCode::NOT_FOUND, INVALID_REQUEST, None),
            Self::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, INVALID_REQUEST, None),
            Self::NoWebSocket { .. } => (StatusCode::UPGRADE_REQUIRED, INVALID_REQUEST, None),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "timeout", Some("deadline_exceeded")),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, Some("request_too_large")),
            Self::UnsupportedCoding { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_REQUEST, Some("unsupported_content_encoding")),
            Self::Quarantined => (StatusCode::UNPROCESSABLE_ENTITY, INVALID_REQUEST, Some("request_quarantined")),
            Self::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", Some("rate_limit_exceeded")),
            Self::Overloaded { .. } => (StatusCode::SERVICE_UNAVAILABLE, SERVER_ERROR, Some("overloaded")),
            Self::ModelLoading { .. } => (StatusCode::SERVICE_UNAVAILABLE, SERVER_ERROR, Some("model_loading")),
            Self::ShuttingDown | Self::Preempted => (StatusCode::SERVICE_UNAVAILABLE, SERVER_ERROR, Some("shutting_down")),
            Self::EngineDied => (StatusCode::SERVICE_UNAVAILABLE, SERVER_ERROR, Some("engine_error")),
            Self::ModelChanged => (StatusCode::SERVICE_UNAVAILABLE, SERVER_ERROR, Some("model_changed")),
            Self::EngineFailed { .. } => (StatusCode::INTERNAL_SERVER_ERROR, SERVER_ERROR, Some("engine_error")),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, SERVER_ERROR, Some("internal_error")),
        }
    }

    /// The refusal of a page's origin, of which a very long one is cut.
    #[must_use]
    pub(in crate::api) fn origin_not_allowed(origin: &str) -> Self {
        Self::OriginNotAllowed { origin: origin.chars().take(MAX_NAME).collect() }
    }

    /// The response's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.row().0
    }

    /// OpenAI's `error.type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.row().1
    }

    /// OpenAI's `error.code`.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        self.row().2
    }

    /// The response to a request that failed so, with the code for the log.
    pub(super) fn label(&self, mut response: Response) -> Response {
        if let Some(code) = self.code() {
            response.extensions_mut().insert(ErrorCode(code));
        }
        response
    }

    /// OpenAI's `error.param`: the field at fault.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::BadRequest { param, .. } => param.as_deref(),
            Self::Field(error) => error.param(),
            Self::ContextLength { param, .. } | Self::PromptTooLong { param, .. } => Some(param),
            Self::ModelNotFound { .. } => Some("model"),
            _ => None,
        }
    }

    /// The message, with the place of a fault in this style.
    #[must_use]
    pub fn message(&self, style: PathStyle) -> String {
        match self {
            Self::Field(error) => error.sentence(style),
            other => other.to_string(),
        }
    }

    /// The text of `{"detail": …}` in a legacy route's answer: the message alone.
    #[must_use]
    pub fn detail(&self) -> String {
        self.to_string()
    }

    /// The wait to suggest to the client; `None` for errors that do not pass with time.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Overloaded { retry_after, .. } | Self::ModelLoading { retry_after, .. } => {
                Some(*retry_after)
            }
            Self::ShuttingDown | Self::EngineDied | Self::ModelChanged => Some(SHORT_WAIT),
            Self::Preempted => Some(REPLACEMENT_WAIT),
            _ => None,
        }
    }

    /// `Retry-After` (whole seconds, at least 1), `retry-after-ms`, `x-should-retry`, `WWW-Authenticate`, `Upgrade`,
    /// `Accept-Encoding`, as far as they apply.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(wait) = self.retry_after() {
            let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(milliseconds.div_ceil(1000).max(1)));
            headers.insert(HeaderName::from_static("retry-after-ms"), HeaderValue::from(milliseconds));
        }
        // The SDKs repeat every 5xx twice, so that an error that persists would only occur three times. A proxy may
        // repeat any status.
        let useless = matches!(self, Self::EngineFailed { .. } | Self::Quarantined)
            || self.retry_after().is_some_and(|wait| wait > LONGEST_HONOURED_WAIT);
        if useless {
            headers.insert(HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false"));
        }
        if matches!(self, Self::NoWebSocket { .. }) {
            // A 426 must name the protocol to use (RFC 9110 15.5.22).
            headers.insert(header::UPGRADE, HeaderValue::from_static("HTTP/1.1"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
        if matches!(self, Self::UnsupportedCoding { .. }) {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        headers
    }

    /// The body `{"error":{message,type,param,code}}`; all four keys are always there.
    #[must_use]
    pub fn envelope(&self) -> impl Serialize + use<> {
        #[derive(Serialize)]
        struct Envelope {
            error: Inner,
        }
        #[derive(Serialize)]
        struct Inner {
            message: String,
            r#type: &'static str,
            param: Option<String>,
            code: Option<&'static str>,
        }
        let (_, kind, code) = self.row();
        Envelope { error: Inner { message: self.to_string(), r#type: kind, param: self.param().map(str::to_owned), code } }
    }
}

/// The refusal of the pages of an origin. The origin `null` is never recommended: any website can call under it, from a
/// sandboxed frame.
fn refused_pages(origin: &str) -> String {
    if origin.eq_ignore_ascii_case("null") {
        return "Pages without an origin (opened as a file, or sandboxed) are not allowed to call this server. Serve the page, for \
                example from http://localhost."
            .to_owned();
    }
    format!("Pages of the origin '{origin}' are not allowed to call this server. Allow them with --cors-origins {origin}.")
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.label((self.status(), self.headers(), Json(self.envelope())).into_response())
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        let message = error.to_string();
        match error {
            SubmitError::NotReady { retry_after, .. } => Self::ModelLoading { message, retry_after },
            SubmitError::QueueFull { retry_after, .. }
            | SubmitError::KeyFull { retry_after, .. }
            | SubmitError::TooMuchText { retry_after } => Self::Overloaded { message, retry_after },
            SubmitError::Quarantined => Self::Quarantined,
            SubmitError::TooMany { .. } => Self::BadRequest { message, param: None, code: Some("invalid_value") },
            SubmitError::ShuttingDown => Self::ShuttingDown,
            SubmitError::Preempted => Self::Preempted,
            SubmitError::NotGenerating | SubmitError::NotEmbedding => Self::wrong_kind_of_model(&message),
        }
    }
}

impl From<TokenizeError> for ApiError {
    /// The text of most routes comes from the field `prompt`.
    fn from(error: TokenizeError) -> Self {
        Self::of_text("prompt", error)
    }
}

impl From<EmbeddingError> for ApiError {
    fn from(error: EmbeddingError) -> Self {
        match error {
            EmbeddingError::Engine(error) => error.into(),
            EmbeddingError::EngineDied(_) => Self::EngineDied,
            EmbeddingError::Embed(error) => Self::EngineFailed { message: error.to_string() },
        }
    }
}

impl From<GenerationError> for ApiError {
    fn from(error: GenerationError) -> Self {
        match error {
            GenerationError::KvExhausted | GenerationError::Busy(_) => {
                Self::Overloaded { message: error.to_string(), retry_after: SHORT_WAIT }
            }
            GenerationError::Constraint(_) => Self::BadRequest { message: error.to_string(), param: None, code: Some("invalid_value") },
            GenerationError::Decode { .. } | GenerationError::NoCandidate | GenerationError::Invalid(_) => {
                Self::EngineFailed { message: error.to_string() }
            }
            // The message of an engine that died may name files: it goes to the log only.
            GenerationError::EngineDied(_) => Self::EngineDied,
            GenerationError::ModelChanged => Self::ModelChanged,
            GenerationError::Quarantined => Self::Quarantined,
            GenerationError::ShuttingDown => Self::ShuttingDown,
        }
    }
}

#[cfg(test)]
mod tests;
