//! Invitations: how arbiters and operators join, and everybody where registration is not open.

use aegis_common::ids::InvitationId;
use aegis_common::time::SignedDuration;
use aegis_common::wire::account::{Invitation, InvitationRequest, NewInvitation, bounds};
use serde_json::json;
use uuid::Uuid;

use super::{AccountError, Accounts, Origin, Who, refuse, shown, stored};
use crate::crypto::opaque::token;
use crate::store::{InvitationRow, MAX_INVITATIONS, Note};

impl Accounts {
    /// Makes an invitation; its token is shown this once. `by` is nobody where it comes from the server's machine.
    pub async fn invite(
        &self,
        request: InvitationRequest,
        by: Option<&Who>,
        origin: Origin,
    ) -> Result<NewInvitation, AccountError> {
        if !bounds::INVITATION_HOURS.contains(&request.hours) {
            return refuse("hours", "must lie between 1 and 720");
        }
        let (now, (token, token_hash)) = (self.clock.now(), token()?);
        let row = InvitationRow {
            id: InvitationId(Uuid::now_v7()),
            token_hash,
            role: stored(request.role),
            created_by: by.map(|who| who.user),
            created_at: now,
            expires_at: now + SignedDuration::from_hours(i64::from(request.hours)),
            accepted_by: None,
        };
        let detail = json!({ "invitation": row.id, "role": request.role });
        let note = self.rule(by.map(|who| who.user), "invited", by, origin, detail);
        let note = Note { tell: false, ..note };
        if !self.store.invite(row.clone(), bounds::INVITATIONS, note).await? {
            return Err(AccountError::LimitReached("invitations"));
        }
        tracing::warn!(role = request.role.wire(), "invitation made");
        Ok(NewInvitation { token: token.to_string(), invitation: view(row) })
    }

    /// The newest invitations.
    pub async fn invitations(&self) -> Result<Vec<Invitation>, AccountError> {
        Ok(self.store.invitations(MAX_INVITATIONS).await?.into_iter().map(view).collect())
    }

    /// Takes one back that was not accepted.
    pub async fn withdraw(&self, id: InvitationId, by: &Who, origin: Origin) -> Result<(), AccountError> {
        let detail = json!({ "invitation": id });
        let note = self.rule(Some(by.user), "invitationWithdrawn", Some(by), origin, detail);
        let note = Note { tell: false, ..note };
        if self.store.withdraw(id, note).await? { Ok(()) } else { Err(AccountError::Unknown) }
    }
}

fn view(row: InvitationRow) -> Invitation {
    Invitation {
        id: row.id,
        role: shown(row.role),
        created_by: row.created_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
        accepted_by: row.accepted_by,
    }
}
