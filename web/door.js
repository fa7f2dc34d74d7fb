// Shows the token in the address to the coordinator, which gives a cookie for it, and opens the page: an invitation
// to help, or the operator's right to the dashboard.
const why = document.getElementById("why");
const given = new URLSearchParams(location.hash.slice(1));
const right = ["invite", "operator"].find((name) => given.get(name));

const enter = async () => {
  if (!right) return;
  try {
    const answer = await fetch(right, { method: "POST", body: given.get(right) });
    if (answer.ok) {
      // Without the token, so that nobody reads it in the history.
      location.replace(location.pathname);
    } else {
      why.textContent = await answer.text();
    }
  } catch {
    why.textContent = "The coordinator does not answer. Check the link, or try again later.";
  }
};

addEventListener("hashchange", () => location.reload());
enter();
