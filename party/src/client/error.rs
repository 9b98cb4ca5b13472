//! Why a request did not succeed.

use aegis_common::code::Code;
use aegis_common::wire::problem::Problem;

/// A request did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The server said why.
    #[error("{} {}", .0.title, .0.detail)]
    Problem(Box<Problem>),
    /// No answer, or not all of it: whether the request took effect is unknown, and it is sent again.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// The answer is not what the server should say.
    #[error("the server's answer makes no sense: {0}")]
    BadAnswer(String),
    /// The account has a second factor, and nobody is there to give it.
    #[error("the account asks for a second factor: {0}")]
    SecondFactorNeeded(&'static str),
    /// The session can't be kept in the home.
    #[error("the session can't be kept: {0}")]
    Local(String),
    /// Another process of the home is at the session, and stays there.
    #[error("{0}")]
    Locked(String),
}

impl ClientError {
    /// The server's code, if it gave one this program knows.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Problem(problem) => problem.known_code(),
            _ => None,
        }
    }

    /// A short code for programs.
    pub fn wire_code(&self) -> &'static str {
        match self {
            Self::Problem(problem) => problem.known_code().map_or("unreachable", Code::wire),
            Self::Unreachable(_) => "unreachable",
            Self::BadAnswer(_) => "fault",
            Self::SecondFactorNeeded(_) => "second_factor_needed",
            Self::Local(_) => "local",
            Self::Locked(_) => "locked",
        }
    }

    /// Whether the server itself says that the request had no effect.
    pub fn is_refusal(&self) -> bool {
        let says = |problem: &Problem| {
            problem.known_code().is_some_and(|code| code.status() == problem.status && code != Code::Internal)
        };
        matches!(self, Self::Problem(problem) if says(problem))
    }

    /// Whether the token is of no use any more. A wrong password or code is answered by the same status.
    pub(super) fn ends_session(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.status == 401) && !self.is_wrong_proof()
    }

    /// Whether a password or code was wrong.
    pub fn is_wrong_proof(&self) -> bool {
        matches!(self.code(), Some(Code::BadCredentials | Code::BadFactor))
    }

    /// Whether this is the refusal of a statement by the rules of the escrow. Anything else (a proxy's 403 or 404, a
    /// redirect, a login page) says nothing about whether the server has taken the statement.
    pub fn refuses_statement(&self) -> bool {
        let by_rule = |code: Code| {
            matches!(code.status(), 403 | 409 | 413 | 422)
                && !matches!(code, Code::Forbidden | Code::StaleVersion | Code::IdempotencyConflict)
        };
        match self {
            Self::Problem(problem) => {
                problem.known_code().is_some_and(|code| code.status() == problem.status && by_rule(code))
            }
            _ => false,
        }
    }

    /// Whether the same request may succeed later: it was not refused for what it says.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Problem(problem) => {
                matches!(problem.status, 401 | 408 | 425 | 429 | 500..=599)
            }
            Self::Unreachable(_) | Self::BadAnswer(_) | Self::Locked(_) => true,
            Self::SecondFactorNeeded(_) | Self::Local(_) => false,
        }
    }
}
