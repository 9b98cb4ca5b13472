//! The participant's account.

use aegis_common::address::{Address, Network};
use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// Where and as whom the participant acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Account name on the server.
    pub username: String,
    /// The server's base URL.
    pub server_url: String,
    /// The account's password.
    pub account_password: Secret,
    /// The one that is to take its place: which of the two holds is only known once the server has taken one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_password: Option<Secret>,
    /// The chain the participant uses.
    pub network: Network,
    /// Where payouts go.
    pub payout_address: Address,
    /// The server has this account.
    #[serde(default)]
    pub registered: bool,
}

impl Profile {
    /// The passwords that the account may have, likeliest first.
    pub fn passwords(&self) -> Vec<Secret> {
        self.new_password.iter().chain([&self.account_password]).cloned().collect()
    }

    /// Keeps the new password alone once it is proven to hold. That the old one does proves nothing: what sets the new one may
    /// still be under way.
    pub fn settle_password(&mut self, proven: &Secret) {
        if self.new_password.as_ref() == Some(proven) {
            self.set_password(proven);
        }
    }

    /// Keeps the password that the account surely has, whatever was kept before.
    pub fn set_password(&mut self, password: &Secret) {
        (self.account_password, self.new_password) = (password.clone(), None);
    }

    /// Forgets a new password that the server has refused.
    pub fn drop_password(&mut self, refused: &Secret) {
        self.new_password.take_if(|new| new == refused);
    }
}

#[cfg(test)]
mod tests {
    use aegis_common::testing::address;

    use super::*;

    #[test]
    fn of_two_passwords_both_stay_until_the_server_takes_the_new_one() {
        let [old, new, other] = ["old", "new", "other"].map(Secret::new);
        let changing = Profile {
            username: "alice".to_owned(),
            server_url: "https://aegis.example".to_owned(),
            account_password: old.clone(),
            new_password: Some(new.clone()),
            network: Network::Regtest,
            payout_address: address(1),
            registered: true,
        };
        assert_eq!(changing.passwords(), [new.clone(), old.clone()]);
        let after = |change: &dyn Fn(&mut Profile)| {
            let mut profile = changing.clone();
            change(&mut profile);
            profile.passwords()
        };
        assert_eq!(after(&|profile| profile.settle_password(&new)), std::slice::from_ref(&new));
        for proven in [&old, &other] {
            assert_eq!(after(&|profile| profile.settle_password(proven)), changing.passwords());
        }
        assert_eq!(after(&|profile| profile.set_password(&other)), std::slice::from_ref(&other));
        assert_eq!(after(&|profile| profile.drop_password(&new)), std::slice::from_ref(&old));
        assert_eq!(after(&|profile| profile.drop_password(&other)), changing.passwords());
    }
}
