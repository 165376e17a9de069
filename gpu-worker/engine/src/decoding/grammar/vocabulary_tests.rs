use super::*;
use serde_json::json;
use std::path::Path;

fn tiny() -> tokenizers::Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../base-model/tiny");
    tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).unwrap()
}

/// As Llama 2's: words after a mark, bytes for what no token has.
fn fallback() -> tokenizers::Tokenizer {
    let bytes = (0..=255u8).map(|b| format!("<0x{b:02X}>"));
    let words = ["▁", "a", "b", "ab", "▁ab", "▁▁", "\"", "{", "}", ":", "é", "▁é"];
    let special = ["<unk>", "<s>", "</s>"];
    let all = special.iter().map(|s| (*s).to_owned()).chain(bytes);
    let all = all.chain(words.iter().map(|w| (*w).to_owned()));
    let vocabulary: serde_json::Map<String, Value> =
        all.zip(0u32..).map(|(token, id)| (token, json!(id))).collect();
    let added: Vec<_> = special
        .iter()
        .zip(0u32..)
        .map(|(text, id)| {
            json!({"id": id, "content": text, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    let text = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>",
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
            "byte_fallback": true, "ignore_merges": false, "vocab": vocabulary,
            "merges": ["a b", "▁ ab", "▁ ▁", "▁ é"]},
    });
    text.to_string().parse().unwrap()
}

#[test]
fn token_bytes_are_what_decoding_gives() {
    let texts = [
        "{\"name\": \"Ann\", \"age\": 31}",
        "a  b\n\tab ab é — 漢字 🦊 \u{7f}",
        "[1.5e-7, true,null]",
    ];
    for (name, tokenizer) in [("byte level", tiny()), ("byte fallback", fallback())] {
        let all = token_bytes(&tokenizer).unwrap();
        for text in texts {
            let ids = tokenizer.encode(text, false).unwrap().get_ids().to_vec();
            let joined: Vec<u8> = ids.iter().flat_map(|id| all[*id as usize].clone()).collect();
            let joined = String::from_utf8(joined).unwrap();
            // Both write a blank before a text's first word, and take it away again.
            assert_eq!(joined.strip_prefix(' ').unwrap_or(&joined), text, "{name}");
            assert_eq!(tokenizer.decode(&ids, true).unwrap(), text, "{name}");
        }
        // Every single byte can be written.
        let mut single: Vec<u8> = all.iter().filter(|b| b.len() == 1).map(|b| b[0]).collect();
        single.sort_unstable();
        single.dedup();
        assert!(single.len() >= 255, "{name}: {}", single.len());
    }
}

#[test]
fn special_tokens_are_marked_and_shown_by_name() {
    for (tokenizer, name) in [(tiny(), "<|end|>"), (fallback(), "</s>")] {
        let id = tokenizer.token_to_id(name).unwrap() as usize;
        let bytes = token_bytes(&tokenizer).unwrap();
        assert_eq!(bytes[id], [&[0xff], name.as_bytes()].concat());
        assert_eq!(shown_bytes(&tokenizer)[id], name.as_bytes());
    }
    let fallback = fallback();
    let id = fallback.token_to_id("▁ab").unwrap() as usize;
    assert_eq!(shown_bytes(&fallback)[id], b" ab");
    let newline = fallback.token_to_id("<0x0A>").unwrap() as usize;
    assert_eq!(shown_bytes(&fallback)[newline], b"\n");
}

#[test]
fn unknown_decoders_are_refused_by_name() {
    for (decoder, part) in [
        (json!({"type": "WordPiece", "prefix": "##"}), "WordPiece"),
        (json!({"type": "Fuse"}), "no known kind"),
        (json!({"type": "Replace", "pattern": {"Regex": "a+"}, "content": "b"}), "pattern"),
        (json!({"type": "Sequence", "decoders": [{"type": "CTC"}]}), "CTC"),
        (json!(null), "no decoder"),
    ] {
        let reason = Spelling::of(&decoder).unwrap_err();
        assert!(reason.contains(part), "{reason}");
    }
    let metaspace = json!({"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"});
    let replaced = vec![("_".to_owned(), " ".to_owned())];
    assert_eq!(Spelling::of(&metaspace), Ok(Spelling::Fallback { replaced }));
}
