// Shows the invitation in the address to the coordinator, which gives a cookie for it, and opens the page.
const why = document.getElementById("why");
const token = new URLSearchParams(location.hash.slice(1)).get("invite");

const enter = async () => {
  if (!token) return;
  try {
    const answer = await fetch("invite", { method: "POST", body: token });
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
