//! Every call of the chain's own pallets, and a few of the SDK's, as a struct.
//!
//! The fields of each struct are the arguments of the call, in order, so that its SCALE encoding
//! is the arguments'. Pallet and call indices are looked up by name in the live metadata when it
//! is submitted.

pub mod attribution;
pub mod compute;
pub mod datanets;
pub mod marketplace;
pub mod settlement;
pub mod stakes;
pub mod system;
pub mod token;

use codec::Encode;

/// A call of the chain. Its encoding is that of its arguments.
pub trait Call: Encode {
    /// Name of the pallet in the runtime.
    const PALLET: &'static str;
    /// Name of the call in the pallet.
    const NAME: &'static str;
}

macro_rules! calls {
    ($pallet:literal: $(
        $(#[$doc:meta])*
        $name:literal $struct:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, codec::Encode)]
        pub struct $struct { $($(#[$field_doc])* pub $field: $type),* }

        impl $crate::calls::Call for $struct {
            const PALLET: &'static str = $pallet;
            const NAME: &'static str = $name;
        }
    )*};
}
pub(crate) use calls;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;
    use tributary_primitives::{ChannelId, DatanetId};

    #[test]
    fn amounts_are_as_wide_as_the_pallets_take_them() {
        let fund = datanets::FundPot { datanet: DatanetId(1), amount: 5 };
        assert_eq!(fund.encode(), [1, 0, 0, 0, 5 << 2]);
        let top_up = marketplace::TopUp { channel: ChannelId(2), amount: 1 };
        assert_eq!(top_up.encode(), [2, 0, 0, 0, 0, 0, 0, 0, 1 << 2]);
        // The least stake of a datanet is not compact.
        let create = datanets::CreateDatanet {
            name: "a".into(),
            policy: tributary_primitives::views::PolicyView::Open,
            licence: "b".into(),
            consent: tributary_primitives::views::Consent {
                train: true,
                commercial: false,
                quote: true,
            },
            min_stake: 7,
        };
        let mut expected = vec![1 << 2, b'a', 0, 1 << 2, b'b', 1, 0, 1, 7];
        expected.extend([0; 15]);
        assert_eq!(create.encode(), expected);
    }

    #[test]
    fn a_transfer_is_encoded_as_wallets_do() {
        let to = Key::from_uri("//Bob").unwrap().account();
        let call = system::TransferKeepAlive {
            to: system::Address::Id(to.clone()),
            amount: 1_000_000_000_000_u128.into(),
        };
        let mut expected = vec![0];
        expected.extend_from_slice(to.as_ref());
        // A compact number above 2^30: its length less four, then its bytes.
        expected.extend([0x07, 0x00, 0x10, 0xa5, 0xd4, 0xe8]);
        assert_eq!(call.encode(), expected);
    }
}
