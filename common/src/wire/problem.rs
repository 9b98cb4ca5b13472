//! Errors on the wire: problem documents (RFC 9457).

use serde::{Deserialize, Serialize};

use crate::code::Code;

/// An `application/problem+json` document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `urn:aegis:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code's sentence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong in this case.
    pub detail: String,
    /// The code, for programs.
    pub code: String,
    /// Names the request in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The present version of what was to be changed, where a version was stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_version: Option<i64>,
}

impl Problem {
    /// A problem of a code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:aegis:problem:{}", code.wire()),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code: code.wire().to_owned(),
            request_id: None,
            current_version: None,
        }
    }

    /// The code, where this program knows it.
    pub fn known_code(&self) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.wire() == self.code)
    }
}
