//! The one table of error codes, shared by the server and its clients.

/// Declares the codes: variant, wire name, HTTP status, and what it means to the person who meets it.
macro_rules! codes {
    ($($variant:ident $wire:literal $status:literal $title:literal;)*) => {
        /// Why a request, a statement or an event was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name on the wire.
            pub fn wire(self) -> &'static str {
                match self { $(Self::$variant => $wire,)* }
            }

            /// The HTTP status that carries it.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// One sentence for a person.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    // Requests
    Malformed "malformed" 400 "The request could not be read.";
    Invalid "invalid" 422 "A field has a value that is not allowed.";
    BadCursor "bad_cursor" 422 "The cursor is damaged or belongs to another list; begin anew without it.";
    TooLarge "too_large" 413 "The request is larger than allowed.";
    Unauthenticated "unauthenticated" 401 "Log in first: the token is missing, damaged or expired.";
    BadCredentials "bad_credentials" 401 "The username or the password is wrong.";
    WeakPassword "weak_password" 422 "The password is too easy to guess.";
    BadFactor "bad_factor" 401 "The code or proof is wrong, used up or too old.";
    SecondFactorMissing "second_factor_missing" 409 "The account has no such second factor.";
    SecondFactorExists "second_factor_exists" 409 "The account has that already.";
    StepUpRequired "step_up_required" 403 "Prove first that it is you: POST /api/v1/auth/step-up.";
    ScopeMissing "scope_missing" 403 "An API key may not do this, or this one may not.";
    SessionRevoked "session_revoked" 401 "The session is over; log in again.";
    AccountDisabled "account_disabled" 403 "The account can't be used for the time being; ask the operator.";
    WeakSession "weak_session" 403 "Log in with a second factor to do this; set one up first.";
    RegistrationClosed "registration_closed" 403 "This server takes no registrations.";
    InvitationNeeded "invitation_needed" 403 "This server takes registrations by invitation only.";
    BadInvitation "bad_invitation" 403 "The invitation is wrong, used up or too old.";
    BadReset "bad_reset" 403 "The signature does not fit, is too old, was used before, or is for another server.";
    BadKeys "bad_keys" 422 "The keys are not in order.";
    LimitReached "limit_reached" 409 "There are as many as there may be.";
    PasskeysOff "passkeys_off" 409 "This server has no public address for passkeys.";
    Forbidden "forbidden" 403 "Your role does not allow this.";
    NotFound "not_found" 404 "There is no such thing, or it is not yours to see.";
    MethodNotAllowed "method_not_allowed" 405 "This address does not answer to that method.";
    UsernameTaken "username_taken" 409 "That username is taken.";
    RateLimited "rate_limited" 429 "Too many attempts; wait a while.";
    IdempotencyConflict "idempotency_conflict" 409 "That idempotency key was used with another request.";
    IdempotencyMissing "idempotency_missing" 400 "This request needs an Idempotency-Key header.";
    StaleVersion "stale_version" 409 "It has changed since the version you named.";
    Busy "busy" 503 "The server is busy; try again in a moment.";
    StorageFull "storage_full" 507 "The server's disk is full; nothing was changed.";
    Unavailable "unavailable" 503 "A part of the server is not available; nothing was changed.";
    Internal "internal" 500 "Something went wrong inside the server; nothing was acknowledged.";
    NoArbiter "no_arbiter" 409 "No arbiter is available for these parties.";
    ConflictOfInterest "conflict_of_interest" 409 "Arbiters do not trade with the parties of their escrows.";
    UnknownUser "unknown_user" 422 "One of the named users does not exist or cannot take that part.";
    // What is called outside
    UrlNotAllowed "url_not_allowed" 422 "The server does not call that address.";
    TorOff "tor_off" 409 "This server has no Tor proxy, so it reaches nothing over Tor.";
    WalletMissing "wallet_missing" 409 "No wallet is connected.";
    WalletCall "wallet_call" 422 "Only calls that read are passed on to a wallet.";
    WalletUnreachable "wallet_unreachable" 502 "The wallet can't be reached.";
    WalletLogin "wallet_login" 502 "The wallet refuses the login.";
    WalletAnswer "wallet_answer" 502 "The wallet's answer is too long or no answer at all.";
    WalletRefused "wallet_refused" 502 "The wallet refuses the call.";
    NotForSale "not_for_sale" 409 "The listing is not for sale at the moment.";
    OutOfStock "out_of_stock" 409 "There are not so many pieces left.";
    // Addresses and contract
    BadAddress "bad_address" 422 "That is not a valid Monero address.";
    ForeignNetwork "foreign_network" 422 "The address belongs to another Monero network.";
    BadContract "bad_contract" 422 "The terms are not allowed.";
    // Statements
    WrongEscrow "wrong_escrow" 422 "The statement belongs to another escrow or another contract.";
    WrongAuthor "wrong_author" 403 "The author does not play that role in this escrow.";
    BadSignature "bad_signature" 422 "The signature does not fit the statement and its author's key.";
    BrokenChain "broken_chain" 409 "The statement does not continue its author's chain.";
    Fork "fork" 409 "The author has signed another statement in the same place.";
    UnknownSeen "unknown_seen" 409 "The statement refers to one that is not known here.";
    TooManyStatements "too_many_statements" 409 "The author has reached the number of statements allowed in one escrow.";
    // Rounds
    WrongParty "wrong_party" 409 "It is not this party's turn or right to do that.";
    WrongRound "wrong_round" 409 "That is not the round this party owes.";
    WrongAttempt "wrong_attempt" 409 "That is not the present attempt.";
    AttemptsExhausted "attempts_exhausted" 409 "No further attempt is allowed.";
    BadMultisigMessage "bad_multisig_message" 422 "The message is not a multisig message of that round.";
    AddressMismatch "address_mismatch" 409 "The parties attest different addresses; the escrow is stopped.";
    BadAttestation "bad_attestation" 422 "The attestation is not for a ready 2-of-3 wallet of this escrow's network.";
    BadViewKey "bad_view_key" 422 "The view key does not belong to the attested address.";
    // Lifecycle
    WrongState "wrong_state" 409 "The escrow's state does not allow that.";
    AlreadyDone "already_done" 409 "That has been done already.";
    NotDue "not_due" 409 "Nothing is due yet.";
    FundsSeen "funds_seen" 409 "Money has been seen on its way; the escrow can no longer be deleted.";
    BadSplit "bad_split" 422 "The parts of a split must add up to the escrow's amount.";
    UnknownDeposit "unknown_deposit" 409 "No such deposit is known.";
    // Payout
    NotPayable "not_payable" 409 "The deposits are not all final; nothing can be paid now.";
    StaleNonces "stale_nonces" 409 "The signing data is stale; export, exchange and build again.";
    WrongPayout "wrong_payout" 422 "The payout does not pay exactly what the contract and the outcome say.";
    FeeOutOfBand "fee_out_of_band" 422 "The network fee or the residue is above what the contract allows.";
    NothingToPay "nothing_to_pay" 422 "The deposits do not cover the network fee.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn wire_names_are_unique_and_statuses_are_errors() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.wire()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| (400..600).contains(&code.status())));
    }
}
