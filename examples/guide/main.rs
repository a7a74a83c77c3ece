//! The code of README and of the guide, compiled and run.
//!
//! Markdown shows parts of these files, without the scaffolding around them. The test below compares the two, so a chapter
//! cannot show code that does not compile.

mod commands;
mod high_availability;
mod testing;

use std::{fs, path::Path};

/// The files that the chapters show parts of.
const SOURCES: [&str; 3] = [
    include_str!("commands.rs"),
    include_str!("high_availability.rs"),
    include_str!("testing.rs"),
];

/// The chapters, from the root of the repository.
const CHAPTERS: [&str; 4] = [
    "eventcore/docs/commands.md",
    "eventcore/docs/guarantees.md",
    "eventcore/docs/high-availability.md",
    "eventcore/docs/testing.md",
];

/// Lines without indentation and empty lines, which a chapter may choose.
fn lines(text: &str) -> Vec<&str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect()
}

/// The blocks of Rust code in a chapter, each with the number of its first line.
fn blocks(chapter: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut block: Option<(usize, String)> = None;
    let mut is_rust = false;
    for (number, line) in chapter.lines().enumerate() {
        match (line.strip_prefix("```"), block.take()) {
            (Some(_), Some(done)) if is_rust => blocks.push(done),
            (Some(_), Some(_)) => {}
            (Some(language), None) => {
                is_rust = language == "rust";
                block = Some((number + 2, String::new()));
            }
            (None, Some((start, mut text))) => {
                text.push_str(line);
                text.push('\n');
                block = Some((start, text));
            }
            (None, None) => {}
        }
    }
    blocks
}

/// Returns `true` if the source has the block: its parts between lines `// …` in this order, each without a gap.
fn has(source: &str, block: &str) -> bool {
    let source = lines(source);
    let block = lines(block);
    let mut from = 0;
    block
        .split(|line| *line == "// …")
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
    let mut shown = 0;
    for chapter in CHAPTERS {
        let text = fs::read_to_string(root.join(chapter)).unwrap();
        for (line, block) in blocks(&text) {
            assert!(
                SOURCES.iter().any(|source| has(source, &block)),
                "{chapter}:{line}: this code is in no file of examples/guide:\n{block}"
            );
            shown += 1;
        }
    }
    assert!(shown >= CHAPTERS.len(), "{shown}");
}

#[test]
fn code_that_differs_is_found() {
    let chapter = "text\n```rust\nlet a = 1;\n// …\nlet c = 3;\n```\n```text\nlet z = 0;\n```\n";
    let [(line, block)] = &blocks(chapter)[..] else {
        panic!("{:?}", blocks(chapter));
    };
    assert_eq!(*line, 3);
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
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path).unwrap();
                for target in targets(&text) {
                    let file = target.split('#').next().unwrap();
                    if file.is_empty() || file.contains("://") || file.contains("::") {
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
