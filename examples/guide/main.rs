//! The code of README and of the guide, compiled and run.
//!
//! Markdown shows parts of these files, without the scaffolding around them. The test below compares the two, so a chapter
//! cannot show code that does not compile.

mod automations;
mod commands;
mod compiler_errors;
mod consistency;
mod high_availability;
mod long_streams;
mod postgres;
mod projections;
mod readme;
mod subscriptions;
mod testing;

use std::{fs, path::Path};

/// The files that the chapters show parts of.
const SOURCES: [&str; 11] = [
    include_str!("automations.rs"),
    include_str!("commands.rs"),
    include_str!("compiler_errors.rs"),
    include_str!("consistency.rs"),
    include_str!("high_availability.rs"),
    include_str!("long_streams.rs"),
    include_str!("postgres.rs"),
    include_str!("projections.rs"),
    include_str!("readme.rs"),
    include_str!("subscriptions.rs"),
    include_str!("testing.rs"),
];

/// The chapters that show messages of rustc.
const MESSAGES: [&str; 2] = ["README.md", "eventcore/docs/compiler-errors.md"];

/// The languages of code blocks. An empty one would be Rust to rustdoc.
const LANGUAGES: [&str; 6] = ["rust", "sh", "sql", "text", "toml", "yaml"];

/// The README and all chapters, from the root of the repository.
fn chapters() -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../eventcore/docs");
    let names = fs::read_dir(docs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "md"));
    let chapters = names.map(|name| format!("eventcore/docs/{name}"));
    chapters.chain(["README.md".to_owned()]).collect()
}

/// Lines without indentation and empty lines, which a chapter may choose.
fn lines(text: &str) -> Vec<&str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect()
}

/// The language of each code block in a chapter, with the number of the line that names it.
fn languages(chapter: &str) -> Vec<(usize, &str)> {
    chapter
        .lines()
        .zip(1..)
        .filter_map(|(line, number)| Some((number, line.strip_prefix("```")?)))
        .step_by(2)
        .collect()
}

/// The blocks of one language in a chapter, each with the number of its first line.
fn blocks(chapter: &str, language: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut block: Option<(usize, String)> = None;
    let mut is_wanted = false;
    for (number, line) in chapter.lines().enumerate() {
        match (line.strip_prefix("```"), block.take()) {
            (Some(_), Some(done)) if is_wanted => blocks.push(done),
            (Some(_), Some(_)) | (None, None) => {}
            (Some(of_block), None) => {
                is_wanted = of_block == language;
                block = Some((number + 2, String::new()));
            }
            (None, Some((start, mut text))) => {
                text.push_str(line);
                text.push('\n');
                block = Some((start, text));
            }
        }
    }
    blocks
}

/// Returns `true` if the source has the block: its parts between lines `// …` or `…` in this order, each without a gap.
fn has(source: &str, block: &str) -> bool {
    let source = lines(source);
    let block = lines(block);
    let mut from = 0;
    block
        .split(|line| ["// …", "…"].contains(line))
        .filter(|part| !part.is_empty())
        .all(|part| {
            let found = source
                .iter()
                .enumerate()
                .skip(from)
                .find(|(start, _)| source.get(*start..start + part.len()) == Some(part));
            found.is_some_and(|(start, _)| {
                from = start + part.len();
                true
            })
        })
}

#[test]
fn chapters_show_code_that_compiles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let chapters = chapters();
    let mut shown = 0;
    for chapter in &chapters {
        let text = fs::read_to_string(root.join(chapter)).unwrap();
        // A block of Rust code under another name, such as `rust,ignore`, would not be compared.
        for (line, language) in languages(&text) {
            assert!(
                LANGUAGES.contains(&language),
                "{chapter}:{line}: a code block in `{language}`; known are {LANGUAGES:?}"
            );
        }
        for (line, block) in blocks(&text, "rust") {
            assert!(
                SOURCES.iter().any(|source| has(source, &block)),
                "{chapter}:{line}: this code is in no file of examples/guide:\n{block}"
            );
            shown += 1;
        }
    }
    assert!(shown >= chapters.len(), "{shown}");
}

#[test]
fn chapters_show_messages_that_rustc_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let printed: Vec<_> = ["ui-tests/fail", "ui-tests/attack"]
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|file| file.extension().is_some_and(|end| end == "stderr"))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    for chapter in MESSAGES {
        let text = fs::read_to_string(root.join(chapter)).unwrap();
        let shown = blocks(&text, "text");
        assert!(shown.len() > 1, "{chapter}: {}", shown.len());
        for (line, block) in shown {
            assert!(
                printed.iter().any(|message| has(message, &block)),
                "{chapter}:{line}: this message is in no .stderr file of ui-tests:\n{block}"
            );
        }
    }
}

#[test]
fn code_that_differs_is_found() {
    let chapter = "text\n```rust\nlet a = 1;\n// …\nlet c = 3;\n```\n```text\nlet z = 0;\n```\n";
    let [(line, block)] = &blocks(chapter, "rust")[..] else {
        panic!("{:?}", blocks(chapter, "rust"));
    };
    assert_eq!(*line, 3);
    assert_eq!(languages(chapter), [(2, "rust"), (7, "text")]);
    assert!(has(
        "fn f() {\n    let a = 1;\n    let b = 2;\n    let c = 3;\n}",
        block
    ));
    assert!(!has("let c = 3;\nlet a = 1;", block));
    assert!(!has("let a = 1;", block));
}

/// Links from one file of the repository to another, in all of its Markdown.
#[test]
fn links_between_files_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = vec![root.clone()];
    let mut checked = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                let text = fs::read_to_string(&path).unwrap();
                for target in targets(&text) {
                    let file = target.split('#').next().unwrap();
                    if file.is_empty() || file.contains("://") {
                        continue;
                    }
                    let there = path.parent().unwrap().join(file).exists();
                    assert!(there, "{}: the link {target} leads nowhere", path.display());
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 10, "{checked}");
}

/// The targets of links: `[text](target)` and `[text]: target` on a line of its own.
fn targets(markdown: &str) -> Vec<&str> {
    let inline = markdown
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    let named = markdown.lines().filter_map(|line| {
        let (name, target) = line.split_once("]: ")?;
        name.starts_with('[').then_some(target)
    });
    inline.chain(named).collect()
}
