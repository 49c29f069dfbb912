//! What reading a CRM's call costs: for `cargo xtask bench`, which starts this.
//!
//! `crm_parse <bytes> <times> <batches>` reads a form of so many bytes, a lead with its fields, so many times in each of so many
//! batches, and prints for each batch one JSON line with what one took: `{"us"}`.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]
#![expect(clippy::unwrap_used, reason = "a measurement that can't go on has failed")]

use std::{fmt::Write as _, hint::black_box, time::Instant};

use serde_json::json;
use vendors::http::{HttpClient, Settings};

/// A lead with as many fields as make it so long, encoded as the vendor does.
fn body(bytes: usize) -> String {
    let mut body = String::from(
        "leads%5Bupdate%5D%5B0%5D%5Bid%5D=5001&leads%5Bupdate%5D%5B0%5D%5Bupdated_at%5D=1772532930\
         &account%5Bsubdomain%5D=acme&account%5Bid%5D=31000001",
    );
    for field in 0.. {
        if body.len() >= bytes {
            break;
        }
        let start = format!("&leads%5Bupdate%5D%5B0%5D%5Bcustom_fields%5D%5B{field}%5D");
        write!(
            body,
            "{start}%5Bid%5D={}{start}%5Bname%5D=%D0%93%D0%BE%D1%80%D0%BE%D0%B4{start}%5Bvalues%5D%5B0%5D%5Bvalue%5D=%D0%A2%D1%83%D0%BB%D0%B0",
            88_000 + field
        )
        .unwrap();
    }
    body.truncate(bytes);
    body
}

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).map(|argument| argument.parse().unwrap()).collect();
    let [bytes, times, batches] = arguments[..] else { panic!("crm_parse <bytes> <times> <batches>") };
    let vendors = vendors::all(HttpClient::new(Settings::default()), vendors::Settings::default());
    let hooks = vendors.get("amocrm").and_then(|vendor| vendor.hooks.clone()).unwrap();
    let body = body(bytes);
    assert_eq!(hooks.read(body.as_bytes()).unwrap().events.len(), 1);
    for _ in 0..batches {
        let started = Instant::now();
        for _ in 0..times {
            black_box(hooks.read(black_box(body.as_bytes())).unwrap());
        }
        let each = started.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(times).unwrap());
        println!("{}", json!({ "us": each }));
    }
}
