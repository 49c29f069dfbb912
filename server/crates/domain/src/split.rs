//! Texts that are longer than a messenger takes in one message.

use unicode_segmentation::UnicodeSegmentation as _;

/// Cuts a text into parts of at most `most` characters and gives their lengths in characters. Joined, the parts are the
/// text. A part ends with a sentence where one ends in its second half, else with a word, else between two characters that
/// belong together; inside of one of these only if it is longer than a whole part.
pub fn split(text: &str, most: usize) -> Vec<usize> {
    let most = most.max(1);
    let total = text.chars().count();
    if total <= most {
        return vec![total];
    }
    let graphemes = borders(text.graphemes(true));
    // A space may carry a combining mark, and then the word doesn't end with it.
    let whole = |borders: Vec<usize>| {
        borders.into_iter().filter(|border| graphemes.binary_search(border).is_ok()).collect::<Vec<_>>()
    };
    let sentences = whole(borders(text.split_sentence_bounds()));
    let words = whole(borders(text.split_inclusive(char::is_whitespace)));
    let mut parts = Vec::new();
    let mut from = 0;
    while total - from > most {
        let last = |borders: &[usize], least: usize| {
            let at = borders.partition_point(|border| *border <= from + most);
            at.checked_sub(1).map(|at| borders[at]).filter(|border| *border >= from + least)
        };
        let to = last(&sentences, most.div_ceil(2))
            .or_else(|| last(&words, most.div_ceil(4)))
            .or_else(|| last(&graphemes, 1))
            .unwrap_or(from + most);
        parts.push(to - from);
        from = to;
    }
    parts.push(total - from);
    parts
}

/// Where pieces of a text end, in characters from its beginning.
fn borders<'a>(pieces: impl Iterator<Item = &'a str>) -> Vec<usize> {
    pieces
        .scan(0, |at, piece| {
            *at += piece.chars().count();
            Some(*at)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str, most: usize) -> Vec<String> {
        let mut rest = text.chars();
        split(text, most).into_iter().map(|length| rest.by_ref().take(length).collect()).collect()
    }

    #[test]
    fn parts_end_with_sentences() {
        let text = "One is short. Two is a little longer! Is three? Yes.";
        assert_eq!(parts(text, 40), ["One is short. Two is a little longer! ", "Is three? Yes."]);
        assert_eq!(parts(text, 100), [text]);
        assert_eq!(parts("", 5), [""]);
    }

    #[test]
    fn without_a_sentence_they_end_with_words_and_never_inside_of_a_character() {
        assert_eq!(parts("aaaa bbbb cccc", 10), ["aaaa bbbb ", "cccc"]);
        assert_eq!(parts("aaaabbbbcccc", 5), ["aaaab", "bbbcc", "cc"]);
        // A family is one character to people, and seven to Unicode.
        let family = "👨‍👩‍👧‍👦";
        assert_eq!(parts(&family.repeat(3), 15), [family.repeat(2), family.to_owned()]);
        assert_eq!(parts(family, 3).concat(), family);
        assert_eq!(parts("aaaa bbbb \u{301}cc", 10), ["aaaa ", "bbbb \u{301}cc"]);
        assert_eq!(parts("日本語です。元気ですか。はい。", 8), ["日本語です。", "元気ですか。", "はい。"]);
    }

    proptest! {
        #[test]
        fn joined_they_are_the_text_and_none_is_too_long(
            text in "([a-z]{1,9}[ .!?]{1,2}|\\PC{1,6}|e\u{301}|🇩🇪|👍🏽|\n){0,60}", most in 1_usize..80
        ) {
            let parts = parts(&text, most);
            prop_assert_eq!(parts.concat(), text.clone());
            let whole: Vec<_> = text.graphemes(true).map(|it| it.chars().count()).collect();
            let longest = whole.iter().copied().max().unwrap_or_default();
            let borders = borders(text.graphemes(true));
            let mut at = 0;
            for part in &parts {
                let length = part.chars().count();
                prop_assert!(length <= most && (length > 0 || parts.len() == 1));
                at += length;
                prop_assert!(longest > most || at == 0 || borders.contains(&at), "{part:?} ends inside of a character");
            }
        }
    }
}
