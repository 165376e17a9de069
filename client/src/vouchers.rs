//! Vouchers: signed promises to pay through a channel.

use crate::keys::Key;
use codec::{Decode, Encode};
use tributary_primitives::{
    signing::{Signable, Voucher},
    AccountId, Balance, ChannelId, MultiSignature, H256,
};

/// Name of the HTTP header that carries a voucher.
pub const HEADER: &str = "X-Tributary-Voucher";

/// Why a header is not a voucher.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoucherError {
    /// It is not hexadecimal.
    #[error("the voucher is not hexadecimal; write it as 0x and digits")]
    NotHex,
    /// Its bytes are not a voucher and a signature.
    #[error("the voucher cannot be read: {0}")]
    Malformed(String),
}

/// A voucher with its consumer's signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedVoucher {
    /// The promise.
    pub voucher: Voucher,
    /// Signature by the channel's consumer.
    pub signature: MultiSignature,
}

/// Promises, on the chain of this genesis hash, that `cumulative` units may be taken from the
/// channel in total.
pub fn sign(key: &Key, genesis: &H256, channel: ChannelId, cumulative: Balance) -> SignedVoucher {
    let voucher = Voucher { channel, cumulative };
    let signature = key.sign(&voucher, genesis);
    SignedVoucher { voucher, signature }
}

impl SignedVoucher {
    /// Its form in the HTTP header.
    pub fn header(&self) -> String {
        format!("0x{}", hex::encode(self.encode()))
    }

    /// Reads it from the HTTP header. The signature is not checked.
    pub fn from_header(text: &str) -> Result<Self, VoucherError> {
        let digits = text.trim().strip_prefix("0x").ok_or(VoucherError::NotHex)?;
        let bytes = hex::decode(digits).map_err(|_| VoucherError::NotHex)?;
        let mut rest = bytes.as_slice();
        let signed =
            Self::decode(&mut rest).map_err(|error| VoucherError::Malformed(error.to_string()))?;
        if rest.is_empty() {
            Ok(signed)
        } else {
            Err(VoucherError::Malformed(format!("{} bytes are left over", rest.len())))
        }
    }

    /// Whether `consumer` signed it for the chain of this genesis hash.
    pub fn verify(&self, genesis: &H256, consumer: &AccountId) -> bool {
        self.voucher.verify(genesis, &self.signature, consumer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voucher_is_its_consumers_on_its_chain_for_its_amount() {
        let (anna, ben) = (Key::from_uri("//Anna").unwrap(), Key::from_uri("//Ben").unwrap());
        let (here, there) = (H256::repeat_byte(1), H256::repeat_byte(2));
        let signed = sign(&anna, &here, ChannelId(3), 500);
        assert!(signed.verify(&here, &anna.account()));
        assert!(!signed.verify(&here, &ben.account()));
        assert!(!signed.verify(&there, &anna.account()));
        let mut more = signed.clone();
        more.voucher.cumulative = 501;
        assert!(!more.verify(&here, &anna.account()));
        assert_eq!(SignedVoucher::from_header(&signed.header()).unwrap(), signed);
    }

    #[test]
    fn headers_that_are_no_vouchers_are_refused() {
        let key = Key::from_uri("//Anna").unwrap();
        let header = sign(&key, &H256::zero(), ChannelId(1), 1).header();
        for bad in ["", "abc", "0x1", "0xzz", &header[2..]] {
            assert_eq!(SignedVoucher::from_header(bad), Err(VoucherError::NotHex), "{bad}");
        }
        for bad in ["0x", "0x00", &header[..header.len() - 2], &format!("{header}00")] {
            let error = SignedVoucher::from_header(bad).unwrap_err();
            assert!(matches!(error, VoucherError::Malformed(_)), "{bad}");
        }
    }
}
