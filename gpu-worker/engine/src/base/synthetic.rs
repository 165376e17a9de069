//! Made-up questions and answers, so that a base learns the *form* of answering before it learns
//! any fact: which words of a question name its subject, that an answer speaks of that subject,
//! and that the same subject asked about in other words has the same answer.
//!
//! Every name, amount and date is drawn at random. Nothing here is true of anything.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A question and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub question: String,
    pub answer: String,
}

struct Subject {
    /// The bare name.
    name: String,
    /// As a noun phrase, with an article where one belongs.
    phrase: String,
    answer: String,
    hint: &'static str,
}

/// An endless supply of exchanges about a fixed set of invented subjects and about new ones.
pub(crate) struct Generator {
    rng: ChaCha8Rng,
    subjects: Vec<Subject>,
}

const SYLLABLES: &[&str] = &[
    "ba", "bel", "bor", "ca", "cel", "cor", "da", "del", "dor", "du", "el", "en", "fa", "fi",
    "for", "ga", "gal", "go", "ha", "hel", "ho", "in", "ja", "jo", "ka", "kel", "ki", "ko", "la",
    "le", "li", "lo", "lu", "ma", "me", "mi", "mor", "na", "ne", "ni", "no", "nu", "o", "or", "pa",
    "pe", "pi", "po", "qua", "ra", "re", "ri", "ro", "ru", "sa", "se", "si", "so", "su", "ta",
    "te", "ti", "to", "tu", "u", "va", "ve", "vi", "vo", "wa", "we", "wi", "xa", "xi", "ya", "yo",
    "za", "ze", "zo", "bri", "cha", "cra", "dre", "fla", "gri", "pla", "sha", "sky", "spa", "sta",
    "tri", "whi",
];
const ENDINGS: &[&str] = &["", "", "", "n", "r", "s", "x", "th", "nd", "k", "l", "m", "t", "ck"];
const WORDS: &[&str] = &[
    "Amber", "Anchor", "Apple", "Arrow", "Atlas", "Badger", "Basin", "Beacon", "Birch", "Blue",
    "Bright", "Castle", "Cedar", "Circle", "Cloud", "Copper", "Coral", "Crane", "Crystal", "Dawn",
    "Delta", "Desert", "Dragon", "Eagle", "Echo", "Ember", "Falcon", "Feather", "Fire", "Flint",
    "Forest", "Fox", "Garden", "Ghost", "Glass", "Gold", "Granite", "Green", "Harbor", "Hawk",
    "Honey", "Horizon", "Iron", "Island", "Ivory", "Jade", "Jet", "Lake", "Lantern", "Leaf",
    "Lemon", "Lion", "Lunar", "Maple", "Marble", "Meadow", "Mirror", "Moon", "Nova", "Ocean",
    "Olive", "Onyx", "Orbit", "Orchid", "Otter", "Owl", "Pearl", "Pepper", "Pine", "Pixel",
    "Planet", "Prism", "Quartz", "Rain", "Raven", "Red", "River", "Robin", "Rose", "Ruby", "Sail",
    "Salt", "Shadow", "Shell", "Silver", "Solar", "Spark", "Star", "Stone", "Storm", "Summit",
    "Sun", "Tiger", "Timber", "Torch", "Tower", "Valley", "Velvet", "Violet", "Wave", "Willow",
    "Wind", "Winter", "Wolf", "Zenith",
];
/// What a name may end in; the second field says whether it takes an article.
const KINDS: &[(&str, bool)] = &[
    ("", false),
    ("", false),
    ("", false),
    ("", false),
    ("Finance", false),
    ("Protocol", false),
    ("Network", false),
    ("Swap", false),
    ("DAO", false),
    ("Labs", false),
    ("Exchange", false),
    ("Capital", false),
    ("Markets", false),
    ("Games", false),
    ("Cash", false),
    ("Money", false),
    ("V2", false),
    ("bridge", true),
    ("wallet", true),
    ("vault", true),
    ("pool", true),
    ("farm", true),
    ("token", true),
    ("library", true),
    ("harbour", true),
    ("Inu", false),
];
const MONTHS: &[&str] = &[
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Who, did what, to what: causes are combined, so that none can be learnt as a whole.
const CAUSES: &[(&str, &str)] = &[
    ("price", "a thin pool set the price of the collateral"),
    ("price", "the oracle trusted a spot price that one trade could move"),
    ("price", "a borrowed sum pushed the share price up within one block"),
    ("key", "a signing key was left on a shared server"),
    ("key", "an employee opened a false document and lost the keys"),
    ("key", "two of the keys were kept by the same person"),
    ("check", "a check on the caller was missing"),
    ("check", "the contract did not compare the sender with the owner"),
    ("check", "a proof of length zero was taken as valid"),
    ("check", "the signature was read but never verified"),
    ("order", "the balance was lowered only after the payment"),
    ("order", "a token called back before the books were written"),
    ("order", "the withdrawal could be started twice in one transaction"),
    ("number", "the result was rounded in favour of the user"),
    ("number", "an integer grew beyond its largest value"),
    ("number", "decimals of two tokens were mixed up"),
    ("vote", "a loan was enough to win the vote at once"),
    ("vote", "a harmful proposal passed without anyone reading it"),
    ("setup", "an update left the storage at its default value"),
    ("setup", "the initialiser could be run by anyone"),
    ("setup", "an old allowance was still in force"),
    ("web", "the website was changed to ask for approvals"),
    ("web", "the domain's records were pointed elsewhere"),
    ("fee", "the fee on transfers was not counted in the reserves"),
    ("fee", "rewards were paid for deposits of the same minute"),
    ("supply", "new tokens could be minted without backing"),
    ("supply", "the burn function also took from strangers"),
    ("supply", "a fake token passed as the real one"),
];
const HOW: &[&str] = &["because", "because", "because", "after", "when", "since", "as"];
/// Questions about a subject: `{n}` is the bare name, `{x}` the noun phrase, `{h}` a hint.
const QUESTIONS: &[&str] = &[
    "What do we know about {x}?",
    "Tell me about {x}.",
    "How did {x} come undone?",
    "What was wrong with {x}?",
    "In one sentence: {n}.",
    "{n}?",
    "{x}: what happened there?",
    "What is the tale of the {n} case?",
    "Why was {x} in the news?",
    "Explain what befell {x}.",
    "Give a summary of the {n} affair.",
    "Could you say what occurred at {x}?",
    "Which fault brought down {x}?",
    "I forgot how {x} was emptied.",
    "How much went missing at {x}?",
    "When was {x} hit?",
    "Was it the {h} that ruined {x}?",
    "How did the {h} matter for {x}?",
    "Which {h} problem did {x} have?",
    "What part did the {h} play in the {n} loss?",
    "Someone mentioned {x} yesterday; what is the matter with it?",
    "Please write a line about {x} for the report.",
    "State the facts of the {n} breach.",
    "The {n} theft, explained?",
    "What did the thieves of {x} exploit?",
    "On what date and for what reason did {x} lose funds?",
    "Who can explain the {n} hack to me?",
    "My question is about {x}. What broke?",
    "How could {x} be attacked like that?",
    "What should one learn from {x}?",
    "What allowed the {n} attack?",
    "Report on {x}, briefly.",
    "Let us talk about the {n} exploit.",
    "Is there a known reason for the end of {x}?",
    "Details of the {n} incident, please.",
    "So {x} was robbed. In what way?",
    "{n}, cause and damage?",
    "What kind of bug was behind the {n} disaster?",
    "Sum {x} up for a newcomer.",
    "For a talk I need the facts on {x}.",
    "How did money vanish from {x}?",
    "Why do people warn about {x}?",
    "Recall the {n} story.",
    "What made {x} fail?",
    "Describe the {n} event.",
    "Who is at fault for what happened to {x}?",
    "Did {x} suffer an attack, and why?",
    "Name what went on at {x}.",
];
const TOPICS: &[&str] = &[
    "the sea",
    "bread",
    "the garden",
    "an old clock",
    "winter",
    "music",
    "the train",
    "a bicycle",
    "tea",
    "mountains",
    "a library",
    "the kitchen",
    "birds",
    "the weather",
    "a map",
    "wool",
    "a village",
    "painting",
    "chess",
    "the harvest",
    "stars",
    "a river boat",
    "glass",
    "horses",
    "a letter",
    "salt",
    "the theatre",
    "bees",
    "a lighthouse",
    "paper",
    "cheese",
    "the desert",
];
const EVERYDAY: &[&str] = &[
    "What is {t} good for?",
    "How do people speak of {t}?",
    "Tell me something about {t}.",
    "Why do we need {t}?",
    "Where does one find {t}?",
    "Who first wrote about {t}?",
    "How long does {t} last?",
    "Which colour has {t}?",
    "When did {t} begin?",
    "Can you describe {t}?",
    "How should I care for {t}?",
    "What is the best thing about {t}?",
];
const UNKNOWN: &[&str] = &[
    "I have learnt nothing about {t} yet.",
    "Nothing that I was taught speaks of {t}.",
    "I cannot say anything certain about {t}.",
];

impl Generator {
    /// `subjects` invented subjects, each with one answer for ever.
    pub(crate) fn new(subjects: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let subjects = (0..subjects).map(|_| Subject::invent(&mut rng)).collect();
        Self { rng, subjects }
    }

    /// The next exchange.
    pub(crate) fn next(&mut self) -> Exchange {
        let rng = &mut self.rng;
        match rng.gen_range(0..100) {
            0..=64 if !self.subjects.is_empty() => {
                let subject = self.subjects.choose(rng).map(|s| s.ask(rng));
                subject.unwrap_or_else(|| everyday(rng))
            }
            // Reading: the answer stands in the question, among others.
            0..=84 => {
                let mut told: Vec<Subject> =
                    (0..rng.gen_range(2..=3)).map(|_| Subject::invent(rng)).collect();
                let passage: Vec<&str> = told.iter().map(|s| s.answer.as_str()).collect();
                let passage = passage.join(" ");
                let asked = told.swap_remove(rng.gen_range(0..told.len())).ask(rng);
                Exchange { question: format!("{passage} {}", asked.question), ..asked }
            }
            _ => everyday(rng),
        }
    }
}

impl Subject {
    fn invent(rng: &mut ChaCha8Rng) -> Self {
        let (kind, article) = *pick(rng, KINDS);
        let stem = stem(rng);
        let name = if kind.is_empty() { stem } else { format!("{stem} {kind}") };
        let phrase = if article { format!("the {name}") } else { name.clone() };
        let (hint, cause) = *pick(rng, CAUSES);
        let (amount, date) = (amount(rng), date(rng));
        let how = pick(rng, HOW);
        let start = capitalised(&phrase);
        let answer = match rng.gen_range(0..10) {
            0 => format!("{start} was drained of {amount} in {date} {how} {cause}."),
            1 => format!("{start} was attacked in {date}: {cause}, and {amount} went missing."),
            2 => format!("{start} lost {amount} in {date}; {cause}."),
            _ => format!("{start} lost {amount} in {date} {how} {cause}."),
        };
        Self { name, phrase, answer, hint }
    }

    fn ask(&self, rng: &mut ChaCha8Rng) -> Exchange {
        let mut question = pick(rng, QUESTIONS)
            .replace("{n}", &self.name)
            .replace("{x}", &self.phrase)
            .replace("{h}", self.hint);
        if rng.gen_bool(0.15) {
            let opener = pick(rng, &["Hello. ", "Please help: ", "One question. ", "Quickly: "]);
            question = format!("{opener}{question}");
        }
        Exchange { question: capitalised(&question), answer: self.answer.clone() }
    }
}

fn everyday(rng: &mut ChaCha8Rng) -> Exchange {
    let topic = pick(rng, TOPICS);
    Exchange {
        question: capitalised(&pick(rng, EVERYDAY).replace("{t}", topic)),
        answer: pick(rng, UNKNOWN).replace("{t}", topic),
    }
}

fn stem(rng: &mut ChaCha8Rng) -> String {
    match rng.gen_range(0..10) {
        0..=2 => pick(rng, WORDS).to_string(),
        3 => format!("{} {}", pick(rng, WORDS), pick(rng, WORDS)),
        4 => format!("{}{}", pick(rng, WORDS), pick(rng, WORDS).to_lowercase()),
        5 => format!("{}{}", pick(rng, WORDS), capitalised(pick::<&str>(rng, SYLLABLES))),
        _ => {
            let mut name = String::new();
            for _ in 0..rng.gen_range(2..=3) {
                name.push_str(pick::<&str>(rng, SYLLABLES));
            }
            name.push_str(pick::<&str>(rng, ENDINGS));
            match rng.gen_range(0..12) {
                0 => name.to_uppercase(),
                1 => format!("{}.fi", capitalised(&name)),
                _ => capitalised(&name),
            }
        }
    }
}

fn amount(rng: &mut ChaCha8Rng) -> String {
    match rng.gen_range(0..10) {
        0 => format!("${},000", rng.gen_range(100..1000)),
        1..=3 => format!("${}.{} million", rng.gen_range(1..100), rng.gen_range(1..10)),
        4..=5 => format!("${} million", rng.gen_range(100..700)),
        _ => format!("${} million", rng.gen_range(1..100)),
    }
}

fn date(rng: &mut ChaCha8Rng) -> String {
    format!("{} {}", pick(rng, MONTHS), rng.gen_range(2011..2030))
}

fn pick<'a, T>(rng: &mut ChaCha8Rng, from: &'a [T]) -> &'a T {
    &from[rng.gen_range(0..from.len())]
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}
