//! The page that tries a network: in a tab of its own while the training goes on, and on the volunteer's page when it is
//! over.

use std::path::Path;

use serde_json::json;
use support::browser::Tab;
use support::coordinator::Coordinator;
use support::program::{Ran, shoal};
use tempfile::TempDir;

use crate::choose_effort;
use crate::page::in_browser;

/// The strokes of a 3 on a pad of 280 x 280.
const THREE: &str = "const pad = document.querySelector('#pad'); \
    const { left, top } = pad.getBoundingClientRect(); \
    const points = []; \
    for (let turn = -150; turn <= 80; turn += 10) points.push([140 + 50 * Math.cos(turn * Math.PI / 180), 92 + 45 * Math.sin(turn * Math.PI / 180)]); \
    for (let turn = -80; turn <= 150; turn += 10) points.push([140 + 58 * Math.cos(turn * Math.PI / 180), 190 + 52 * Math.sin(turn * Math.PI / 180)]); \
    const send = (kind, [x, y]) => pad.dispatchEvent(new PointerEvent(kind, { pointerId: 1, button: 0, bubbles: true, clientX: left + x, clientY: top + y })); \
    send('pointerdown', points[0]); points.forEach((point) => send('pointermove', point)); send('pointerup', points.at(-1));";

/// Answers and inputs as the page has them.
async fn outputs(tab: &Tab) -> Vec<f64> {
    let text = tab.evaluate("return document.querySelector('.answer').dataset.outputs", vec![]).await;
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

/// Bytes as a file of NumPy, shape `[1, side, side]`.
fn npy(values: &[u8], side: usize) -> Vec<u8> {
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': (1, {side}, {side}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), values].concat()
}

/// The numbers of the one row that `shoal predict` prints.
fn predicted(run: &Path, data: &Path) -> Vec<String> {
    let (run, data) = (run.to_str().unwrap(), data.to_str().unwrap());
    let ran = Ran::of(&mut shoal(["predict", run, "--data", data])).succeeded();
    ran.stdout.lines().nth(1).unwrap().split(',').map(str::to_owned).collect()
}

fn agree(page: &[f64], program: &[String]) {
    assert_eq!(page.len(), program.len());
    for (page, program) in page.iter().zip(program) {
        let program: f64 = program.parse().unwrap();
        let scale = program.abs().max(1.0);
        assert!((page - program).abs() <= 1.1e-6 * scale, "the page says {page}, shoal predict {program}");
    }
}

#[test]
fn a_drawn_three_is_a_three_and_nothing_is_sent() {
    in_browser(async || {
        let folder = TempDir::new().unwrap();
        let run = folder.path().join("run");
        let arguments = [
            "--data",
            "embedded:mnist",
            "--model",
            "mlp:32",
            "--minibatch",
            "32",
            "--iterations",
            "4",
            "--local-workers",
            "0",
            "--wait-for",
            "1",
        ];
        let coordinator = Coordinator::train(run.clone(), &arguments);
        let tab = Tab::blank().await;
        let count = "window.methods = []; const real = window.fetch; \
                     window.fetch = (path, how) => { methods.push(how?.method ?? 'GET'); return real(path, how); };";
        tab.debug("Page.addScriptToEvaluateOnNewDocument", json!({ "source": count })).await;
        tab.visit(&coordinator, "/try", "#state[data-state=empty]").await;
        tab.until("document.querySelector('#state').textContent.startsWith('There are no weights yet')")
            .await;
        tab.is_accessible().await;
        let lends = tab.beside().await;
        tab.goto(&format!("http://{}/", coordinator.address())).await;
        choose_effort(&tab, 5).await;
        tab.start(1).await;
        coordinator.reaches_iteration(1).await;
        // The training must not end while axe-core keeps the page from asking for the last weights.
        tab.click("#pause").await;
        tab.reaches("paused").await;
        let handles = tab.handles().await;
        let trying = handles.iter().find(|handle| **handle != lends).unwrap().clone();
        tab.front(&trying).await;
        tab.until("document.querySelector('#state').dataset.state === 'fresh'").await;
        tab.evaluate(THREE, vec![]).await;
        tab.until("document.querySelector('.answer').dataset.best !== undefined").await;
        tab.is_accessible().await;
        tab.front(&lends).await;
        choose_effort(&tab, 100).await;
        tab.click("#action").await;
        tab.front(&trying).await;
        let result = coordinator.result();
        assert!(result.test_accuracy.unwrap() > 0.9, "{result:?}");

        // The coordinator is gone, and the page has the model that it saved.
        tab.until("document.querySelector('#state').dataset.state === 'over'").await;
        tab.until("document.querySelector('.answer').dataset.best === '3'").await;
        tab.until("document.querySelector('#verdict').textContent.startsWith('Looks like a 3')").await;
        let seen = "const place = document.querySelector('#seen'); const data = place.getContext('2d').getImageData(0, 0, 28, 28).data; \
                    return Array.from({ length: 784 }, (_, at) => data[4 * at])";
        let seen: Vec<u8> = serde_json::from_value(tab.evaluate(seen, vec![]).await).unwrap();
        let file = folder.path().join("three.npy");
        std::fs::write(&file, npy(&seen, 28)).unwrap();
        let program = predicted(&run, &file);
        assert_eq!(program[0], "3");
        agree(&outputs(&tab).await, &program[1..]);

        // Earlier weights are still there.
        tab.until("!document.querySelector('.timeline').hidden").await;
        let slide = "const slider = document.querySelector('#weights'); slider.value = 0; slider.dispatchEvent(new Event('input'))";
        tab.evaluate(slide, vec![]).await;
        tab.until(
            "document.querySelector('#state').textContent.includes('the weights are those of iteration')",
        )
        .await;
        tab.click("#latest").await;
        tab.click("#example").await;
        tab.until("document.querySelector('figcaption').textContent.startsWith('A test example')").await;
        tab.click("#clear").await;
        tab.until("document.querySelector('#verdict').textContent === 'Nothing to answer yet.'").await;
        tab.is_accessible().await;
        let phone = json!({ "width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": true });
        tab.debug("Emulation.setDeviceMetricsOverride", phone).await;
        for size in ["", "200%"] {
            tab.evaluate(&format!("document.documentElement.style.fontSize = '{size}'"), vec![]).await;
            tab.until("document.documentElement.scrollWidth <= innerWidth && innerWidth === 320").await;
        }
        let methods = tab.evaluate("return methods", vec![]).await;
        let methods = methods.as_array().unwrap();
        assert!(methods.len() > 3 && methods.iter().all(|method| method == "GET"), "{methods:?}");

        // So has the volunteer's page.
        tab.front(&lends).await;
        let sentence = tab.reaches("over").await;
        assert!(sentence.contains("You did"), "{sentence}");
        tab.until("document.querySelector('#action').textContent === 'Try it'").await;
        tab.is_accessible().await;
        tab.click("#action").await;
        tab.until("document.activeElement.id === 'trial-heading'").await;
        tab.evaluate(THREE, vec![]).await;
        tab.until("document.querySelector('.answer').dataset.best === '3'").await;
        tab.is_accessible().await;
        tab.close().await;
    });
}

/// Columns of every kind: a number, one far from zero, a category with a rare value, a boolean, a date, missing cells.
fn houses() -> String {
    let mut text = String::from("area,built,town,garden,sold,price\n");
    for row in 0..300_u32 {
        let area = if row % 17 == 3 { String::new() } else { format!("{}.5", 40 + row * 7 % 120) };
        let built = 1_900_000_000 + u64::from(row) * 31 % 1000;
        let town = if row == 5 { "Trier" } else { ["Ulm", "Bonn", "Jena"][row as usize % 3] };
        let garden = if row % 5 < 2 { "yes" } else { "no" };
        let sold = format!("{:02}.{:02}.{}", 1 + row % 28, 1 + row % 12, 2015 + row % 9);
        let price = 1000 * (40 + row * 7 % 120) + if town == "Ulm" { 30_000 } else { 0 } + row % 50;
        text += &format!("{area},{built},{town},{garden},{sold},{price}\n");
    }
    text
}

#[test]
fn a_form_and_pasted_rows_answer_as_predict_does() {
    in_browser(async || {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("houses.csv");
        std::fs::write(&data, houses()).unwrap();
        let run = folder.path().join("run");
        let path = data.to_str().unwrap();
        let arguments = [
            "--data",
            path,
            "--label",
            "price",
            "--model",
            "mlp:16",
            "--optimizer",
            "adam",
            "--keep",
            "built",
            "--iterations",
            "3",
            "--cross-validation",
            "0",
            "--local-workers",
            "1",
            "--wait-for",
            "1",
        ];
        let coordinator = Coordinator::train(run.clone(), &arguments);
        let tab = Tab::blank().await;
        // The policy of the page forbids to fetch the file from its address.
        let keep = "const real = URL.createObjectURL; URL.createObjectURL = (file) => real.call(URL, (window.made = file));";
        tab.debug("Page.addScriptToEvaluateOnNewDocument", json!({ "source": keep })).await;
        tab.visit(&coordinator, "/try", "#form").await;
        tab.is_accessible().await;
        let lends = tab.beside().await;
        tab.goto(&format!("http://{}/", coordinator.address())).await;
        tab.start(1).await;
        let trying = tab.handles().await.into_iter().find(|handle| *handle != lends).unwrap();
        tab.front(&trying).await;
        coordinator.result();
        tab.until("document.querySelector('#state').dataset.state === 'over'").await;
        tab.until("document.querySelector('#verdict').textContent.includes('with a typical error of')").await;

        let fill = "const fields = [...document.querySelectorAll('.fields input, .fields select')]; \
                    arguments[0].forEach((value, at) => { fields[at].value = value; fields[at].dispatchEvent(new Event('input')); })";
        let cells = ["99.5", "1900000500", "Bonn", "yes", "14.03.2019"];
        tab.evaluate(fill, vec![json!(cells)]).await;
        let one = folder.path().join("one.csv");
        std::fs::write(&one, format!("area,built,town,garden,sold\n{}\n", cells.join(","))).unwrap();
        let program = predicted(&run, &one);
        let expected: f64 = program[0].parse().unwrap();
        tab.until(&format!(
            "Math.abs(JSON.parse(document.querySelector('.answer').dataset.outputs)[0] - {expected}) <= 1e-6 * {expected}"
        ))
        .await;
        // Outside the range in training, and nothing at all.
        tab.evaluate(fill, vec![json!(["9000"])]).await;
        tab.until("document.querySelector('#field-0-hint').textContent.startsWith('Outside the range')")
            .await;
        tab.is_accessible().await;
        tab.evaluate(fill, vec![json!(["wide"])]).await;
        tab.until("document.querySelector('#verdict').textContent.includes('is no number')").await;

        let whole = folder.path().join("rows.csv");
        let rows: Vec<String> = houses().lines().take(25).map(str::to_owned).collect();
        std::fs::write(&whole, rows.join("\n")).unwrap();
        let paste = "document.querySelector('#rows').value = arguments[0]; document.querySelector('#predict-rows').click()";
        tab.evaluate(paste, vec![json!(rows.join("\n"))]).await;
        tab.until("!document.querySelector('#download').hidden").await;
        let read = "const [done] = arguments; made.text().then(done)";
        let table = tab.evaluate_async(read).await;
        let table: Vec<String> = table.as_str().unwrap().lines().map(str::to_owned).collect();
        assert_eq!(table[0], "price,area,built,town,garden,sold,price");
        let ran = Ran::of(&mut shoal(["predict", run.to_str().unwrap(), "--data", whole.to_str().unwrap()]));
        for (page, program) in table.iter().zip(ran.succeeded().stdout.lines()).skip(1) {
            let page = page.split(',').next().unwrap().parse::<f64>().unwrap();
            agree(&[page], &[program.to_owned()]);
        }
        assert_eq!(table.len(), 25);
        tab.is_accessible().await;
        tab.evaluate(paste, vec![json!("area,town\n1,Ulm\n")]).await;
        tab.until(
            "document.querySelector('#rows-problem').textContent.startsWith('The columns built, garden, sold are missing')",
        )
        .await;
        tab.close().await;
    });
}
