//! Which texts name a language.

/// Whether a text is built like a language tag (RFC 5646, section 2.1), e.g. `en` or `pt-BR`: letters and digits in groups of up
/// to eight, the first of letters only, 35 characters at most.
pub fn is_language_tag(text: &str) -> bool {
    let group = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let first = text.split('-').next().unwrap_or_default();
    text.len() <= 35
        && first.len() >= 2
        && first.bytes().all(|b| b.is_ascii_alphabetic())
        && text.split('-').all(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn language_tags_are_told_from_other_text() {
        for tag in ["en", "pt-BR", "zh-Hant-TW", "de-1996"] {
            assert!(is_language_tag(tag), "{tag}");
        }
        for text in ["", "e", "e n", "en_US", "en-", "-en", "12", "en-toolongpart", "ü", &"en-a".repeat(9)] {
            assert!(!is_language_tag(text), "{text}");
        }
    }
}
