//! The dashboard of a training of several processes, in a real Chromium.

use support::browser::Tab;
use tokio::runtime::Runtime;

use crate::cast::{Cast, ENDLESS, Place};

/// The numbers of volunteers in the table of gateways, in increasing order.
const VOLUNTEERS: &str = "[...document.querySelectorAll('#gateways tbody tr')].map((row) => row.cells[1].textContent).sort().join()";

#[test]
fn the_dashboard_shows_the_gateways_that_there_are() {
    let runtime = Runtime::new().unwrap();
    let tab = runtime.block_on(Tab::blank());
    let mut cast = Cast::begin(Place::Folder, ENDLESS);
    cast.reaches(1);
    runtime.block_on(async {
        tab.open_link(&cast.dashboard()).await;
        tab.until("document.querySelector('#gateways')?.checkVisibility()").await;
        // Four volunteers, the fourth at the first gateway again.
        tab.until(&format!("{VOLUNTEERS} === '1,1,2'")).await;
        assert_eq!(tab.text("#gateways-note").await, "This coordinator leads, in term 1.");
        tab.until("document.querySelector('#volunteers-empty').textContent.includes('4 at gateways')").await;
        tab.is_accessible().await;
    });
    cast.kill_gateway(2);
    runtime.block_on(async {
        tab.until(&format!("{VOLUNTEERS} === '1,2'")).await;
        tab.close().await;
    });
}
