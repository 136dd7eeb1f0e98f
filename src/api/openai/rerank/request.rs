//! The requests of `/v1/rerank` (Jina's and Cohere's fields) and of `/v1/score` (vLLM's).

pub(in crate::api) mod specs;

use crate::{
    api::{
        fields::{
            FieldError, Fields,
            ignored::Ignored,
            spec::FieldSpec,
            values::{Shaped, Strings, string},
        },
        openai::{
            embeddings::{
                request::{MAX_INPUTS, not_empty, read_texts, read_truncation},
                run::element,
            },
            shared::limits::USER,
        },
    },
    protocol::EmbeddingInfo,
};
use serde_json::Value;

/// The maximum number of documents, which leaves room for the query among the inputs of a request.
const MAX_DOCUMENTS: usize = MAX_INPUTS - 1;
/// The maximum number of texts on a side, because a pair of embeddings is two inputs.
const MAX_TEXTS: usize = MAX_INPUTS / 2;

/// A request to rank documents by their relevance to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RerankRequest {
    /// The text that the documents are compared with; not empty.
    pub query: String,
    /// 1 to 2047 texts, none of them empty.
    pub documents: Vec<String>,
    /// Number of results, the best first; a larger number than that of documents returns all. Default all.
    pub top_n: usize,
    /// True if results contain the texts. Default true, as in Jina's API and vLLM.
    pub return_documents: bool,
    /// Number of tokens to which longer inputs are cut. By default inputs that are too long are refused.
    pub truncate: Option<usize>,
    /// Names of unknown fields, which had no effect.
    pub unknown: Ignored,
}

impl RerankRequest {
    /// Reads all fields but `model`, which was taken before.
    ///
    /// # Errors
    /// The first field at fault.
    pub fn read(mut f: Fields, info: &EmbeddingInfo) -> Result<Self, FieldError> {
        const DOCUMENTS: &str = specs::DOCUMENTS.name;

        let query = f.require(&specs::QUERY)?;
        let documents = match f.require(&specs::DOCUMENTS)? {
            Value::Array(documents) => read_documents(&mut f, few(DOCUMENTS, documents)?)?,
            other => return Err(FieldError::wrong_type(DOCUMENTS, "an array of strings or of objects with a 'text'", &other)),
        };
        let top_n = f.get(&specs::TOP_N)?.map_or(usize::MAX, |top_n| usize::try_from(top_n).unwrap_or(usize::MAX));
        let return_documents = f.get(&specs::RETURN_DOCUMENTS)?;
        let truncate = read_truncation(&mut f, info)?;
        f.get(&USER)?;
        Ok(Self { query, documents, top_n, return_documents, truncate, unknown: f.finish() })
    }
}

/// A request for the similarity of pairs of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoreRequest {
    /// One text, which is compared with each of `right`, or as many as `right` has.
    pub left: Vec<String>,
    /// The texts that `left` is compared with, 1 to 1024.
    pub right: Vec<String>,
    /// The names of both fields in the request, and true if they came as lists, for errors.
    pub names: [(&'static str, bool); 2],
    /// Number of tokens to which longer inputs are cut. By default inputs that are too long are refused.
    pub truncate: Option<usize>,
    /// Names of unknown fields, which had no effect.
    pub unknown: Ignored,
}

impl ScoreRequest {
    /// Reads all fields but `model`, which was taken before.
    ///
    /// # Errors
    /// The first field at fault.
    pub fn read(mut f: Fields, info: &EmbeddingInfo) -> Result<Self, FieldError> {
        let (left, left_name) = read_side(&mut f, &specs::LEFT)?;
        let (right, right_name) = read_side(&mut f, &specs::RIGHT)?;
        if left.len() > 1 && left.len() != right.len() {
            let reason = format!("it has {} texts and '{}' has {}; send one, or as many", left.len(), right_name.0, right.len());
            return Err(FieldError::invalid(left_name.0, reason));
        }
        let truncate = read_truncation(&mut f, info)?;
        f.get(&USER)?;
        Ok(Self { left, right, names: [left_name, right_name], truncate, unknown: f.finish() })
    }
}

/// The text of a document that is an object. The check that it is not empty is the one for documents that are strings.
const TEXT: FieldSpec<Strings> = string("text");

fn few(name: &str, elements: Vec<Value>) -> Result<Vec<Value>, FieldError> {
    match elements.len() {
        0 => Err(FieldError::invalid(name, "the array is empty")),
        many if many > MAX_DOCUMENTS => {
            Err(FieldError::invalid(name, format!("there are {many} texts; at most {MAX_DOCUMENTS} are accepted")))
        }
        _ => Ok(elements),
    }
}

fn read_documents(f: &mut Fields, documents: Vec<Value>) -> Result<Vec<String>, FieldError> {
    let text = |(index, document): (usize, Value)| {
        let name = element(specs::DOCUMENTS.name, true, index);
        let text = match document {
            Value::String(text) => text,
            Value::Object(object) => {
                let mut object = Fields::new(object);
                let text = object.require(&TEXT).map_err(|error| error.inside(&name))?;
                f.leave("documents[]", object);
                text
            }
            other => return Err(FieldError::wrong_type(&name, "a string or an object with a 'text'", &other)),
        };
        not_empty(&name, text)
    };
    documents.into_iter().enumerate().map(text).collect()
}

/// The texts of one side, which has one of these names. The name and a boolean follow, which is true if the texts came
/// as a list.
fn read_side(f: &mut Fields, names: &[FieldSpec<Shaped>]) -> Result<(Vec<String>, (&'static str, bool)), FieldError> {
    let mut sent: Option<(&'static str, Value)> = None;
    for spec in names {
        match (f.get(spec)?, &sent) {
            (Some(_), Some((other, _))) => {
                return Err(FieldError::invalid(spec.name, format!("it means the same as '{other}'; send one of them")));
            }
            (Some(value), None) => sent = Some((spec.name, value)),
            (None, _) => {}
        }
    }
    let (name, value) = sent.ok_or_else(|| FieldError::missing(names.first().map_or("", |spec| spec.name)))?;
    match value {
        Value::String(text) => Ok((vec![not_empty(name, text)?], (name, false))),
        Value::Array(texts) => {
            let texts = read_texts(name, few(name, texts)?)?;
            if texts.len() > MAX_TEXTS {
                return Err(FieldError::invalid(name, format!("there are {} texts; at most {MAX_TEXTS} are accepted", texts.len())));
            }
            Ok((texts, (name, true)))
        }
        other => Err(FieldError::wrong_type(name, "a string or an array of strings", &other)),
    }
}
