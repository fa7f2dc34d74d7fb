//! `report.html` in a run directory.

use crate::shoal::Folder;

#[test]
fn a_report_has_the_figures_of_an_evaluation_and_needs_nothing_from_elsewhere() {
    let folder = Folder::new();
    let classes =
        folder.read(Folder::CLASSES).replace("right", "<script>alert(1)</script> & \u{201d}right\u{201d}");
    folder.write("hostile.csv", &classes);
    folder.train(
        "--data hostile.csv --test hostile.csv --label side --model mlp:8 --minibatch 8 --iterations 12 --out run",
    );
    let report = folder.read("run/report.html");
    let evaluated = folder.run("evaluate run --data hostile.csv --json").succeeded().last_json();
    let percent = |share: &serde_json::Value| format!("{:.2} %", 100.0 * share.as_f64().unwrap());
    assert!(report.contains(&format!("The network gets {} of", percent(&evaluated["accuracy"]))), "{report}");
    for class in evaluated["by_class"].as_array().unwrap() {
        assert!(report.contains(&format!("<td>{}</td>", percent(&class["recall"]))), "{class}");
    }
    for row in evaluated["confusion"].as_array().unwrap() {
        let cells = row.as_array().unwrap();
        assert!(cells.iter().all(|found| report.contains(&format!(">{found}</td>"))), "{row}");
    }
    // Two curves, with a line each for the only set kept aside.
    assert_eq!(report.matches("<svg").count(), 2);
    assert!(report.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; \u{201d}right"));
    let worst = report.split_once("<h2>The worst mistakes</h2>");
    let wrong = evaluated["accuracy"].as_f64().unwrap() < 1.0;
    assert_eq!(worst.is_some(), wrong, "mistakes are shown where there are any");
    for markup in ["<script", "http://", "https://", "url(", "src=", "<link"] {
        assert!(!report.contains(markup), "{markup}");
    }
    assert!(report.len() < 2_000_000);
}

#[test]
fn a_report_on_numbers_is_in_the_labels_unit() {
    let folder = Folder::new();
    folder
        .train("--data numbers.csv --test numbers.csv --model linear --minibatch 8 --iterations 5 --out run");
    let report = folder.read("run/report.html");
    let evaluated = folder.run("evaluate run --data numbers.csv").succeeded().stdout;
    assert!(report.contains("<td>price</td>"), "{report}");
    // What the numbers are worth, in their own unit.
    assert!(report.contains("the network misses price by "), "{report}");
    assert!(report.contains("Always answering with their mean would miss it by "), "{report}");
    let (_, cells) = report.split_once("<td>price</td><td>").unwrap();
    let (rmse, _) = cells.split_once("</td>").unwrap();
    assert!(evaluated.contains(rmse), "{rmse} is not in {evaluated}");
    let (_, worst) = report.split_once("<h2>The worst mistakes</h2>").unwrap();
    assert!(worst.contains("<th scope=\"col\">size</th>"), "{worst}");
    assert_eq!(worst.split_once("</tbody>").unwrap().0.matches("<tr><td>").count(), 12);
}
