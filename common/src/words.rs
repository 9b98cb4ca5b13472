//! The words by which a title is found: one rule for everything that has one.

/// Characters of a word that count.
pub const LENGTH: usize = 32;

/// The words of a text: its letters and digits in lower case, cut to [`LENGTH`], each word once, in the order of their first
/// appearance.
pub fn words(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let lower = text.to_lowercase();
    for word in lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let word: String = word.chars().take(LENGTH).collect();
        if !found.contains(&word) {
            found.push(word);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_and_digits_in_lower_case_each_once() {
        assert_eq!(words("Red bike, 26\" — RED_Ölfarbe 100%"), ["red", "bike", "26", "ölfarbe", "100"]);
        assert!(words(" -_%' ").is_empty());
        assert_eq!(words(&format!("{} {}", "x".repeat(99), "x".repeat(40))), ["x".repeat(LENGTH)]);
        assert!(words(&"İ".repeat(190))[0].len() <= 128);
    }
}
