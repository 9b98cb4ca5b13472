//! What passed through a relay.

use std::sync::{Mutex, PoisonError};

use aegis_common::escrow::statement::Statement;
use aegis_common::wire::escrow::StatementRequest;
use anyhow::Result;
use serde_json::Value;

use super::http::Message;

/// One request and its response, as they came in, before any change.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    /// Position in order of arrival, from 0.
    pub index: u64,
    /// e.g. `POST`
    pub method: String,
    /// With its query.
    pub path: String,
    /// Request line and headers.
    pub request_head: Vec<u8>,
    /// The request's body.
    pub request_body: Vec<u8>,
    /// The response's status; zero before there is one.
    pub status: u16,
    /// Status line and headers.
    pub response_head: Vec<u8>,
    /// The response's body.
    pub response_body: Vec<u8>,
    /// After an upgrade: payloads of frames; whether the participant sent it, and its bytes.
    pub frames: Vec<(bool, Vec<u8>)>,
}

impl Exchange {
    pub(super) fn of(index: u64, request: &Message) -> Self {
        let mut words = request.start.split(' ').map(str::to_owned);
        Self {
            index,
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            request_head: request.head(),
            request_body: request.body.clone(),
            ..Self::default()
        }
    }

    pub(super) fn answer(&mut self, response: &Message) {
        self.status = response.status().unwrap_or_default();
        self.response_head = response.head();
        self.response_body = response.body.clone();
    }

    /// The request's body as JSON.
    pub fn request_json(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&self.request_body)?)
    }

    /// The response's body as JSON.
    pub fn response_json(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&self.response_body)?)
    }

    /// The statement it posts, if it posts one.
    pub fn statement(&self) -> Option<Statement> {
        if self.method != "POST" || !self.path.ends_with("/statements") {
            return None;
        }
        let posted: StatementRequest = serde_json::from_slice(&self.request_body).ok()?;
        Some(posted.signed.statement)
    }
}

/// Every exchange in order of arrival.
#[derive(Debug, Default)]
pub struct Record(Mutex<Vec<Exchange>>);

impl Record {
    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Exchange>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, exchange: Exchange) {
        self.all().push(exchange);
    }

    pub(super) fn replace(&self, exchange: Exchange) {
        if let Some(known) = self.all().iter_mut().find(|known| known.index == exchange.index) {
            *known = exchange;
        }
    }

    pub(super) fn frame(&self, index: u64, from_participant: bool, payload: Vec<u8>) {
        if let Some(known) = self.all().iter_mut().find(|known| known.index == index) {
            known.frames.push((from_participant, payload));
        }
    }

    /// The exchanges so far.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.all().clone()
    }

    /// Every byte of both directions, piece by piece.
    pub fn pieces(&self) -> Vec<Vec<u8>> {
        let all = self.exchanges().into_iter().flat_map(|exchange| {
            let frames = exchange.frames.into_iter().map(|(_, payload)| payload);
            [exchange.request_head, exchange.request_body, exchange.response_head, exchange.response_body]
                .into_iter()
                .chain(frames)
        });
        all.filter(|piece| !piece.is_empty()).collect()
    }
}
