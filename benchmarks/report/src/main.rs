//! Reads findings, one JSON line each, and writes the guide's chapter `side-by-side.md`, with a plot for each kind of store, to
//! the folder that is its argument.

use std::{collections::BTreeMap, error::Error, fmt::Write as _, io::BufRead};

use plotters::prelude::*;
use workload::{Finding, Workload};

/// The comparisons: this library and others on the same kind of store.
const STORES: [(&str, &str, &[&str]); 3] = [
    ("Memory", "eventcore, memory", &["eventcore, memory, no cache", "eventcore 2.1, memory"]),
    (
        "SQLite and other embedded stores",
        "eventcore, SQLite",
        &["eventcore, SQLite, no cache", "eventcore 2.1, SQLite", "cqrs-es, SQLite", "evento, SQLite", "UmaDB, embedded", "rusqlite by hand"],
    ),
    (
        "PostgreSQL",
        "eventcore, PostgreSQL",
        &[
            "eventcore, PostgreSQL, no cache",
            "eventcore 2.1, PostgreSQL",
            "cqrs-es, PostgreSQL",
            "disintegrate, PostgreSQL",
            "evento, PostgreSQL",
            "tokio-postgres by hand",
        ],
    ),
];

const INTRODUCTION: &str = "\
One workload, a bank, on this library, on other Rust libraries, and in handwritten code on the bare drivers. Each run is checked
afterwards for lost, doubled and torn commands. `benchmarks/run` writes this chapter; `benchmarks/README.md` describes the workload.

The tables show commands per second (the median of all rounds, with the lowest and the highest), the 99th percentile of the time of
one command in milliseconds, and how many times as fast `eventcore` is. A dash means that the library cannot do it, or did not finish.

The code *by hand* is not a library: it folds in SQL, so that no event leaves the database, checks no versions, stores no types, and keeps
no order that a reader could follow. Where it is faster, the difference is the cost of these features. With many clients it is
slower, because every command has a transaction of its own.

`eventcore` caches the states of streams, so a command reads only newer events, also on a stream of 10,000 events. `no cache` is the same
library with `set_capacity(0)`: it reads the stream from the start, in pages of bounded size.

Where two are equally fast, they do the same work: one client on PostgreSQL waits for two round trips and a flush of the disk,
whatever the library.
";

const RUNS: [(Workload, u32, &str); 8] = [
    (Workload::One, 1, "one stream, 1 client"),
    (Workload::One, 8, "one stream, 8 clients"),
    (Workload::One, 64, "one stream, 64 clients"),
    (Workload::Two, 1, "two streams, 1 client"),
    (Workload::Two, 8, "two streams, 8 clients"),
    (Workload::Two, 64, "two streams, 64 clients"),
    (Workload::Hot, 8, "one hot stream, 8 clients"),
    (Workload::Long, 1, "10,000 events, 1 client"),
];

/// The findings of one contender on one workload, of all rounds.
#[derive(Default)]
struct Figures {
    rates: Vec<f64>,
    p99: Vec<f64>,
}

/// Returns the median; of an even number of values, the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

type All = BTreeMap<(String, Workload, u32), Figures>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut all = All::new();
    for line in std::io::stdin().lock().lines() {
        let found: Finding = serde_json::from_str(&line?)?;
        let figures = all.entry((found.contender, found.workload, found.clients)).or_default();
        figures.rates.push(found.commands_per_second);
        figures.p99.push(found.p99);
    }
    let folder = std::env::args().nth(1).ok_or("give the folder to write into")?;
    let mut page = String::from(INTRODUCTION);
    for (number, (store, ours, others)) in STORES.iter().enumerate() {
        let file = format!("{folder}/side-by-side-{}.svg", ["memory", "embedded", "postgres"][number]);
        write!(page, "\n## {store}\n")?;
        for (workload, clients, title) in RUNS {
            let Some(own) = all.get(&(ours.to_string(), workload, clients)) else { continue };
            write!(page, "\n| {title} | commands/s | p99, ms | eventcore is |\n| --- | ---: | ---: | ---: |\n")?;
            row(&mut page, ours, own, "")?;
            for other in *others {
                match all.get(&(other.to_string(), workload, clients)) {
                    // This library as well.
                    Some(figures) if other.ends_with(", no cache") => row(&mut page, other, figures, "")?,
                    Some(figures) => {
                        let ratio = format!("{:.1}×", median(&own.rates) / median(&figures.rates));
                        row(&mut page, other, figures, &ratio)?;
                    }
                    // Measured on the long stream only.
                    None if other.ends_with(", no cache") => {}
                    None => writeln!(page, "| {other} | – | – | |")?,
                }
            }
        }
        plot(&file, store, ours, others, &all)?;
    }
    std::fs::write(format!("{folder}/side-by-side.md"), page)?;
    Ok(())
}

fn row(page: &mut String, name: &str, figures: &Figures, ratio: &str) -> std::fmt::Result {
    let (least, most) = figures.rates.iter().fold((f64::MAX, 0_f64), |(l, m), r| (l.min(*r), m.max(*r)));
    let (rate, p99) = (median(&figures.rates), median(&figures.p99));
    writeln!(page, "| {name} | {rate:.0} ({least:.0}–{most:.0}) | {p99:.2} | {ratio} |")
}

/// Draws bars for each workload, on a logarithmic scale.
fn plot(file: &str, store: &str, ours: &str, others: &[&str], all: &All) -> Result<(), Box<dyn Error>> {
    let names: Vec<&str> = std::iter::once(ours).chain(others.iter().copied()).collect();
    let rates: Vec<f64> = all
        .iter()
        .filter(|((name, ..), _)| names.contains(&name.as_str()))
        .map(|(_, figures)| median(&figures.rates))
        .collect();
    let (least, most) = rates.iter().fold((f64::MAX, 1_f64), |(l, m), r| (l.min(*r), m.max(*r)));
    let root = SVGBackend::new(file, (1000, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(format!("{store}: commands per second"), ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..RUNS.len() as f64, (least / 2.0..most * 2.0).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(RUNS.len() + 1)
        .x_label_formatter(&|x| {
            RUNS.get(x.round() as usize).map_or(String::new(), |(_, _, title)| title.replace(" clients", "").replace(" client", ""))
        })
        .draw()?;
    let width = 0.85 / names.len() as f64;
    for (number, name) in names.iter().enumerate() {
        let colour = Palette99::pick(number).to_rgba();
        let bars = RUNS.iter().enumerate().filter_map(|(run, (workload, clients, _))| {
            let figures = all.get(&((*name).to_owned(), *workload, *clients))?;
            let left = run as f64 + 0.05 + number as f64 * width;
            Some(Rectangle::new([(left, least / 2.0), (left + width * 0.95, median(&figures.rates))], colour.filled()))
        });
        chart
            .draw_series(bars)?
            .label(*name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    chart.configure_series_labels().position(SeriesLabelPosition::UpperRight).background_style(WHITE.mix(0.8)).draw()?;
    root.present()?;
    Ok(())
}
