//! The browser's name, for the coordinator's log and pages.

/// Tokens of user-agent strings and the browsers they stand for. Every browser also claims to be its
/// ancestors, so the more specific tokens come first.
const BROWSERS: [(&str, &str); 9] = [
    ("EdgA/", "Edge"),
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Version/", "Safari"),
];

/// Tokens of user-agent strings and the systems they stand for, again the more specific first.
const SYSTEMS: [(&str, &str); 7] = [
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// "Firefox 145 on Windows", or less if the user-agent string says less.
pub(crate) fn name(user_agent: &str) -> String {
    let browser = BROWSERS.iter().find_map(|(token, name)| {
        let (_, rest) = user_agent.split_once(token)?;
        let version: String = rest.chars().take_while(char::is_ascii_digit).take(6).collect();
        Some(format!("{name} {version}"))
    });
    let system = SYSTEMS.iter().find(|(token, _)| user_agent.contains(token));
    let browser = browser.as_deref().map_or("a browser", str::trim_end);
    match system {
        Some((_, system)) => format!("{browser} on {system}"),
        None => browser.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn browsers_are_told_apart_though_all_claim_to_be_each_other() {
        let webkit = "AppleWebKit/537.36 (KHTML, like Gecko)";
        let chrome = format!("Mozilla/5.0 (X11; Linux x86_64) {webkit} Chrome/142.0.0.0 Safari/537.36");
        assert_eq!(name(&chrome), "Chrome 142 on Linux");
        assert_eq!(name(&format!("{chrome} Edg/142.0.0.0")), "Edge 142 on Linux");
        let safari = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                      Version/18.5 Mobile/15E148 Safari/604.1";
        assert_eq!(name(safari), "Safari 18 on iPhone");
        let firefox = "Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0";
        assert_eq!(name(firefox), "Firefox 145 on Android");
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        assert_eq!(name(""), "a browser");
        assert_eq!(name("Chrome/"), "Chrome");
        assert_eq!(name("something on Linux"), "a browser on Linux");
    }
}
