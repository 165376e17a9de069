//! Calls of the pallet Datanets.

use super::calls;
use codec::{Decode, Encode};
use tributary_primitives::{
    signing::{ContributionOffer, Retirement},
    views::{Consent, PolicyView, Text},
    Balance, ContributionId, DatanetId, MultiSignature,
};

/// What a datanet's pot pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Sponsorship {
    /// Whether it pays at all.
    pub enabled: bool,
    /// Most calls that it pays for in one period.
    pub max_per_period: u32,
}

calls! { "Datanets":
    /// Makes a datanet, owned by the signer.
    "create_datanet" CreateDatanet {
        /// Its name: 1 to 64 of `a-z`, `0-9` and `-`, used by no other.
        name: Text,
        /// How contributions are accepted.
        policy: PolicyView,
        /// Licence of its records, as an SPDX expression.
        licence: Text,
        /// What may be done with its records.
        consent: Consent,
        /// Stake that a contribution needs, in units.
        min_stake: Balance,
    }
    /// Contributes a shard; the signer is the payout account.
    "contribute" Contribute {
        /// The offer.
        offer: ContributionOffer,
    }
    /// Contributes a shard without an account; the datanet's pot pays.
    "contribute_signed" ContributeSigned {
        /// The offer.
        offer: ContributionOffer,
        /// Signature by its payout key.
        signature: MultiSignature,
    }
    /// Contributes a shard for somebody else; the signer pays.
    "submit_for" SubmitFor {
        /// The offer.
        offer: ContributionOffer,
        /// Signature by its payout key.
        signature: MultiSignature,
    }
    /// Votes on a contribution to a curated datanet.
    "vote" Vote {
        /// The contribution.
        contribution: ContributionId,
        /// Whether to accept it.
        aye: bool,
    }
    /// Takes a contribution out of later versions.
    "retire_contribution" RetireContribution {
        /// The contribution.
        contribution: ContributionId,
    }
    /// Takes a contribution out of later versions without an account; the datanet's pot pays.
    "retire_signed" RetireSigned {
        /// The wish.
        retirement: Retirement,
        /// Signature by the contribution's payout key.
        signature: MultiSignature,
    }
    /// Cuts a version.
    "cut_version" CutVersion {
        /// The datanet.
        datanet: DatanetId,
    }
    /// Changes how contributions are accepted.
    "set_policy" SetPolicy {
        /// The datanet.
        datanet: DatanetId,
        /// The new policy.
        policy: PolicyView,
    }
    /// Changes what the pot pays for.
    "set_sponsorship" SetSponsorship {
        /// The datanet.
        datanet: DatanetId,
        /// The new terms.
        sponsorship: Sponsorship,
    }
    /// Puts OPEN into the pot.
    "fund_pot" FundPot {
        /// The datanet.
        datanet: DatanetId,
        /// How much, in units.
        #[codec(compact)]
        amount: Balance,
    }
    /// Takes OPEN out of the pot.
    "withdraw_pot" WithdrawPot {
        /// The datanet.
        datanet: DatanetId,
        /// How much, in units.
        #[codec(compact)]
        amount: Balance,
    }
    /// Puts a contribution that waits for curators under review, once its datanet is open.
    "reschedule" Reschedule {
        /// The contribution.
        contribution: ContributionId,
    }
}
