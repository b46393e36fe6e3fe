// The buttons of the scenarios. What the press has changed arrives as any other update (live.js).

const root = document.documentElement, said = document.getElementById("said");

function say(text, wrong) {
  said.textContent = text;
  said.classList.toggle("wrong", Boolean(wrong));
}

async function set(scenario) {
  const answer = await fetch("/scenario/set", {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify({scenario}),
  });
  if (answer.ok) return;
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.error ? `${problem.error}. Expected: ${problem.expected}` : `HTTP status ${answer.status}`);
}

document.addEventListener("click", async event => {
  const name = event.target.closest("button[data-scenario]")?.dataset.scenario;
  if (name === undefined) return;
  say(`Setting ${name}`);
  try {
    await set(name);
  } catch (error) {
    say(`${name} was not set: ${error.message}`, true);
    return;
  }
  say(`${name} is set`);
  if (root.dataset.live !== "live") location.reload();
});

root.dataset.buttons = "work";
