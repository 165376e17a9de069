//! Why a contract refused, by the names of its errors.

use super::abi::ERRORS;
use ethers::{
    abi::{ethabi::AbiError, ErrorExt, HumanReadableParser, ParamType, Token},
    utils::hex,
};
use std::{collections::HashMap, fmt, sync::LazyLock};

/// `Error(string)`: a `require` with a text.
const TEXT: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
/// `Panic(uint256)`: an overflow, an index out of range, and the like.
const PANIC: [u8; 4] = [0x4e, 0x48, 0x7b, 0x71];

/// Every error of the contracts, by its selector.
static BY_SELECTOR: LazyLock<HashMap<[u8; 4], AbiError>> = LazyLock::new(|| {
    ERRORS
        .iter()
        .filter_map(|text| HumanReadableParser::parse_error(&format!("error {text}")).ok())
        .map(|error| (error.selector(), error))
        .collect()
});

/// Why a contract refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revert {
    /// Name of the error: `Contract_Reason`, `Error`, `Panic`, or its selector if it is unknown;
    /// empty when nothing was said.
    pub name: String,
    /// Its arguments, for people.
    pub detail: String,
}

impl Revert {
    /// Reads what a contract gave back; `message` is what the node said beside it.
    pub fn read(data: &[u8], message: Option<&str>) -> Self {
        let Some((selector, rest)) = data.split_first_chunk::<4>() else {
            return Self { name: String::new(), detail: message.unwrap_or_default().into() };
        };
        let decoded = |types: &[ParamType]| ethers::abi::decode(types, rest).unwrap_or_default();
        match *selector {
            TEXT => Self { name: "Error".into(), detail: list(&decoded(&[ParamType::String])) },
            PANIC => Self { name: "Panic".into(), detail: list(&decoded(&[ParamType::Uint(256)])) },
            known => match BY_SELECTOR.get(&known) {
                Some(error) => {
                    let tokens = error.decode(rest).unwrap_or_default();
                    Self { name: error.name.clone(), detail: list(&tokens) }
                }
                None => {
                    Self { name: format!("0x{}", hex::encode(known)), detail: hex::encode(rest) }
                }
            },
        }
    }

    /// Whether it is one of these errors.
    pub fn is_any(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str())
    }
}

fn list(tokens: &[Token]) -> String {
    let words: Vec<String> = tokens
        .iter()
        .map(|token| match token {
            Token::Uint(number) | Token::Int(number) => number.to_string(),
            Token::Address(address) => format!("{address:?}"),
            Token::FixedBytes(bytes) | Token::Bytes(bytes) => format!("0x{}", hex::encode(bytes)),
            Token::String(text) => text.clone(),
            Token::Bool(value) => value.to_string(),
            other => other.to_string(),
        })
        .collect();
    words.join(", ")
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name.as_str(), self.detail.as_str()) {
            ("", "") => write!(f, "it gave no reason"),
            ("", detail) => write!(f, "{detail}"),
            ("Error", detail) => write!(f, "{detail}"),
            (name, detail) => write!(f, "{name}({detail})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_error_can_be_parsed_and_has_its_own_selector() {
        assert_eq!(BY_SELECTOR.len(), ERRORS.len());
    }

    #[test]
    fn words_of_all_kinds_are_read() {
        let text = ethers::abi::encode(&[Token::String("too early".into())]);
        let read = Revert::read(&[&TEXT[..], &text].concat(), None);
        assert_eq!(read.to_string(), "too early");

        let panic = ethers::abi::encode(&[Token::Uint(0x11.into())]);
        assert_eq!(Revert::read(&[&PANIC[..], &panic].concat(), None).to_string(), "Panic(17)");

        let error = HumanReadableParser::parse_error(&format!("error {}", ERRORS[0])).unwrap();
        let read = Revert::read(&error.selector(), None);
        assert_eq!(read.name, error.name);

        assert_eq!(Revert::read(&[1, 2, 3, 4, 5], None).to_string(), "0x01020304(05)");
        assert_eq!(Revert::read(&[], None).to_string(), "it gave no reason");
        assert_eq!(Revert::read(&[], Some("out of gas")).to_string(), "out of gas");
    }
}
